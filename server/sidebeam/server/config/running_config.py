"""The settings that are in force, and what of other ones can take their place."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from typing import Any

from sidebeam.server.config.config import Config, Rule


class RunningConfig:
    """`now` is replaced as a whole; who needs two settings that fit each other reads it once."""

    def __init__(self, config: Config) -> None:
        self.now = config


@dataclass(frozen=True, slots=True)
class Change:
    """`config` is `before` with all that may change while running as it `read`; names are `section.key`."""

    config: Config
    taken: tuple[str, ...]  # names of what changed
    left: tuple[str, ...]  # names of what would have, and needs a restart

    @classmethod
    def between(cls, before: Config, read: Config) -> Change:
        """What reading these settings changes."""
        taken: list[str] = []
        left: list[str] = []
        sections = {}
        for section in dataclasses.fields(Config):
            old, new = getattr(before, section.name), getattr(read, section.name)
            values = {}
            for field in dataclasses.fields(old):
                if getattr(old, field.name) == getattr(new, field.name):
                    continue
                if _is_live(field):
                    values[field.name] = getattr(new, field.name)
                (taken if _is_live(field) else left).append(f"{section.name}.{field.name}")
            sections[section.name] = replace(old, **values)
        return cls(Config(**sections), tuple(taken), tuple(left))


def live_keys() -> list[str]:
    """Names of all settings that may change while running."""
    return [
        f"{section.name}.{field.name}"
        for section in dataclasses.fields(Config)
        for field in dataclasses.fields(getattr(Config(), section.name))
        if _is_live(field)
    ]


def _is_live(field: dataclasses.Field[Any]) -> bool:
    rule: Rule = field.metadata.get("rule", Rule())
    return rule.live
