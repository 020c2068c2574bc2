"""The binary router: entities that did much are grouped by what they did, the others by what they are (LASER, 3.3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sidebeam.grouping.error import GroupingError

GLOBAL = "global"
"""The group of all entities that no other group takes."""

THRESHOLD = 10


@dataclass(frozen=True, slots=True)
class Router:
    """Groups by entity, of both kinds, and how many interactions each entity has.

    Raises `GroupingError` for a threshold below 0.
    """

    collaborative: Mapping[str, str] = field(default_factory=dict)
    attribute: Mapping[str, str] = field(default_factory=dict)
    interactions: Mapping[str, int] = field(default_factory=dict)
    threshold: int = THRESHOLD

    def __post_init__(self) -> None:
        if self.threshold < 0:
            raise GroupingError(f"--threshold must be at least 0; given {self.threshold}")

    def route(self, entity: str) -> str:
        """The entity's group.

        Collaborative from `threshold` interactions on, where there is such a group; else that of its attributes;
        else `GLOBAL`, as for an entity that nobody has seen.
        """
        if entity in self.collaborative and self.interactions.get(entity, 0) >= self.threshold:
            return self.collaborative[entity]
        return self.attribute.get(entity, GLOBAL)

    def groups(self, entities: Iterable[str]) -> dict[str, str]:
        """The group of each entity, in the order given."""
        return {entity: self.route(entity) for entity in entities}
