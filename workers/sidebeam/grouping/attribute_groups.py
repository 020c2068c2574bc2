"""Groups by attributes: entities with the same values; a group that is too large is split by the next attribute."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from sidebeam.grouping.attributes import Attributes
from sidebeam.grouping.error import GroupingError

LARGEST = 2000  # entities of a group; LASER's pools are of 500 to 5000 texts
SMALLEST = 2
BANDS = ("low", "middle", "high")
ESCAPED = {"%": "%25", "/": "%2F", "=": "%3D"}
LEAST_COVERAGE = 0.5  # of an attribute that is chosen without being asked for
LEAST_SHARING = 5.0  # entities per value of such an attribute, on average


@dataclass(frozen=True, slots=True)
class AttributeSplit:
    """How attribute groups are cut.

    `by`: attributes, the first one splits all entities, each later one the groups that are then still larger than
    `largest`. Empty: chosen by `usable_attributes`. Values of fewer than `smallest` entities join the rest. Raises
    `GroupingError` for a limit below 1.
    """

    by: tuple[str, ...] = ()
    largest: int = LARGEST
    smallest: int = SMALLEST

    def __post_init__(self) -> None:
        for name in ("largest", "smallest"):
            if getattr(self, name) < 1:
                raise GroupingError(f"--{name} must be at least 1; given {getattr(self, name)}")


def attribute_groups(attributes: Attributes, split: AttributeSplit) -> dict[str, str]:
    """The group of every entity that has attributes, named like `brand=Hearth/price=high`.

    Entities without a value, and those whose value is too rare, share a group such as `brand=Hearth/rest of price`.
    Of a list the first value counts; numbers with many values become low, middle and high thirds of all entities. The
    name depends on values alone, so the same group has the same name in every run. Raises `GroupingError` for an
    attribute that no entity has, and where none could be chosen.
    """
    by = split.by or usable_attributes(attributes)
    if not by:
        raise GroupingError(
            "no attribute has shared values for at least half of the entities, so none can be chosen; name some with "
            f"--by. There are {', '.join(sorted(_names(attributes))) or 'none'}"
        )
    values = {name: _labels(attributes, name) for name in by}
    for name, labels in values.items():
        if not labels:
            known = ", ".join(sorted(_names(attributes))) or "none"
            raise GroupingError(f"--by must name attributes of the file; given {name!r}, there are {known}")
    groups: dict[str, str] = {}
    _divide(list(attributes), "", tuple(by), values, split, groups)
    return {entity: groups[entity] for entity in attributes}


def usable_attributes(attributes: Attributes) -> tuple[str, ...]:
    """Attributes that most entities have and share, first the one that says most about the others; ties by name.

    That is mutual information with all others, per bit of its own: a category comes before a price band.
    """
    usable: dict[str, Mapping[str, str]] = {}
    for name in sorted(_names(attributes)):
        labels = _labels(attributes, name)
        distinct = len(set(labels.values()))
        covers = len(labels) >= LEAST_COVERAGE * len(attributes)
        if covers and distinct >= 2 and len(labels) >= LEAST_SHARING * distinct:
            usable[name] = labels
    told = {
        name: sum(_shared_bits(own, other) for other in usable.values() if other is not own) / _bits(own.values())
        for name, own in usable.items()
    }
    return tuple(sorted(usable, key=lambda name: -told[name]))


def _divide(
    members: Sequence[str],
    prefix: str,
    by: Sequence[str],
    values: Mapping[str, Mapping[str, str]],
    split: AttributeSplit,
    groups: dict[str, str],
) -> None:
    name, *further = by
    labels = values[name]
    sizes = Counter(labels[member] for member in members if member in labels)
    buckets: defaultdict[str, list[str]] = defaultdict(list)
    for member in members:
        label = labels.get(member)
        kept = label is not None and sizes[label] >= split.smallest
        buckets[f"{_escaped(name)}={_escaped(label)}" if label and kept else f"rest of {_escaped(name)}"].append(member)
    for step, bucket in buckets.items():
        group = f"{prefix}/{step}" if prefix else step
        if len(bucket) > split.largest and further:
            _divide(bucket, group, further, values, split, groups)
        else:
            groups.update(dict.fromkeys(bucket, group))


def _labels(attributes: Attributes, name: str) -> dict[str, str]:
    """The value of one attribute as text, for entities that have it."""
    given = {entity: values[name] for entity, values in attributes.items() if name in values}
    numbers = {entity: value for entity, value in given.items() if isinstance(value, float)}
    banded = len(set(numbers.values())) > len(BANDS)
    edges = np.quantile(np.array(list(numbers.values())), [1 / 3, 2 / 3]) if banded else np.empty(0)
    labels = {}
    for entity, value in given.items():
        match value:
            case tuple():
                labels[entity] = value[0]
            case float():
                labels[entity] = BANDS[int(np.searchsorted(edges, value))] if banded else f"{value:g}"
            case _:
                labels[entity] = value
    return labels


def _bits(values: Iterable[object]) -> float:
    """The entropy of values."""
    counts = np.array(list(Counter(values).values()), dtype=np.float64)
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


def _shared_bits(one: Mapping[str, str], other: Mapping[str, str]) -> float:
    """The mutual information of two attributes, over entities that have both."""
    pairs = [(label, other[entity]) for entity, label in one.items() if entity in other]
    if not pairs:
        return 0.0
    return _bits(first for first, _ in pairs) + _bits(second for _, second in pairs) - _bits(pairs)


def _names(attributes: Attributes) -> dict[str, None]:
    return dict.fromkeys(name for values in attributes.values() for name in values)


def _escaped(text: str) -> str:
    """Text without the characters that have a meaning in a group's name."""
    return "".join(ESCAPED.get(letter, letter) for letter in text)
