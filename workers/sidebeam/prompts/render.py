"""From interactions and attributes to prompts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from sidebeam.grouping import Attributes, UserLog
from sidebeam.grouping.attributes import Value
from sidebeam.prompts.error import PromptError
from sidebeam.prompts.substitution import filled
from sidebeam.prompts.template import ATTRIBUTES, COUNT, HISTORY, ID, Template

NONE_KNOWN = "nothing"  # what {attributes} says of an item without any


def user_prompts(template: Template, logs: Iterable[UserLog], attributes: Attributes) -> Iterator[tuple[str, str]]:
    """The user and the prompt, for every user with known items, or for all where the template says `nothing`.

    Only `train`, and of it the `max_history` latest items, are shown. Raises `PromptError` naming template, field,
    item and user for an attribute that no item has, or that one of the items lacks.
    """
    check_fields(template, attributes)
    entries: dict[str, str] = {}
    for log in logs:
        recent = log.train[-template.max_history :]
        if not recent and template.nothing is None:
            continue
        for item in recent:
            if item not in entries:
                entries[item] = filled(template.entry, _values(template, item, attributes, f" of user {log.user!r}"))
        history = template.separator.join(entries[item] for item in recent) if recent else template.nothing or ""
        yield log.user, filled(template.prompt, {HISTORY: history, COUNT: str(len(recent)), ID: log.user}).strip()


def item_prompts(template: Template, items: Iterable[str], attributes: Attributes) -> Iterator[tuple[str, str]]:
    """The item and the prompt. Raises `PromptError` as `user_prompts` does."""
    check_fields(template, attributes)
    for item in items:
        yield item, filled(template.prompt, _values(template, item, attributes, "")).strip()


def check_fields(template: Template, attributes: Attributes) -> None:
    """Raises `PromptError` for a field that no item has a value for."""
    names = {name for values in attributes.values() for name in values}
    for key, field in template.item_fields:
        if field not in names | {ID, ATTRIBUTES}:
            known = ", ".join([ID, ATTRIBUTES, *sorted(names)])
            raise PromptError(f"{template.place}, {key}: no item has {field!r}; there are {known}")


def _values(template: Template, item: str, attributes: Attributes, whose: str) -> dict[str, str]:
    """The value of every field about an item; `whose` says in errors where it was met."""
    own = attributes.get(item, {})
    asked = [field for _, field in template.item_fields]
    values: dict[str, str] = {ID: item, ATTRIBUTES: _listed(own, asked)}
    for name in asked:
        if name in own:
            values[name] = _spelled(own[name])
        elif name not in values:
            if template.missing is None:
                raise PromptError(
                    f"{template.place}: item {item!r}{whose} has no {name}; give it one, or say in the template what "
                    'stands in for it, such as missing = "unknown"'
                )
            values[name] = template.missing
    return values


def _listed(own: Mapping[str, Value], asked: Iterable[str]) -> str:
    named = {name: value for name, value in own.items() if name not in set(asked)}
    return ", ".join(f"{name}: {_spelled(value)}" for name, value in named.items()) or NONE_KNOWN


def _spelled(value: Value) -> str:
    """A value as it stands in a prompt, on one line."""
    match value:
        case tuple():
            text = ", ".join(value)
        case float():
            text = f"{value:.15g}"
        case _:
            text = value
    return " ".join(text.split())
