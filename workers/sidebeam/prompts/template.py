"""Prompt templates: TOML files that a user can copy and edit."""

from __future__ import annotations

import difflib
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from sidebeam.prompts import substitution
from sidebeam.prompts.error import PromptError

EntityKind = Literal["user", "item"]
KINDS: tuple[EntityKind, ...] = ("user", "item")

SHIPPED = Path(__file__).parent / "templates"
HISTORY, ID, COUNT, ATTRIBUTES = "history", "id", "count", "attributes"


@dataclass(frozen=True, slots=True)
class Template:
    """How an entity becomes a prompt.

    `prompt` of a user has the field `{history}`, and may have `{id}` and `{count}`, the items shown. `prompt` of an
    item, and `entry`, one item of a history, may have `{id}`, any attribute's name, and `{attributes}`, all of them
    with their names except those that stand there by themselves. `missing` stands in for an attribute that an item does
    not have, `nothing` for an empty history; None: the item is an error, the user is left out.
    """

    place: str  # names the template in errors
    kind: EntityKind
    prompt: str
    entry: str = '"{title}"'
    separator: str = ", "
    max_history: int = 30
    missing: str | None = None
    nothing: str | None = None

    def __post_init__(self) -> None:
        if self.max_history < 1:
            raise PromptError(f"{self.place}, max_history: must be at least 1; given {self.max_history}")
        asked = list(substitution.fields(self.prompt))
        if self.kind == "user":
            if HISTORY not in asked:
                raise PromptError(f"{self.place}, prompt: must hold {{{HISTORY}}}")
            for name in asked:
                if name not in (HISTORY, ID, COUNT):
                    raise PromptError(
                        f"{self.place}, prompt: no field {name!r}; a user's prompt has {HISTORY}, {ID} and {COUNT}, "
                        "an item's attributes go into entry"
                    )

    @property
    def item_fields(self) -> tuple[tuple[str, str], ...]:
        """The keys and fields that are about one item."""
        key, text = ("entry", self.entry) if self.kind == "user" else ("prompt", self.prompt)
        return tuple((key, name) for name in dict.fromkeys(substitution.fields(text)))


def open_template(kind: EntityKind, folder: Path | None = None) -> Template:
    """The template `<kind>.toml` of a folder, or the one that comes with the package.

    Raises `PromptError` naming file, key and value for a file that cannot be read, and for bad or unknown keys.
    """
    path = (SHIPPED if folder is None else folder) / f"{kind}.toml"
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PromptError(f"{path}: cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PromptError(f"{path}: {error}") from None
    known = {field.name: str(field.type) for field in fields(Template) if field.name not in ("place", "kind")}
    for key, value in raw.items():
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
            raise PromptError(f"{path}: unknown key {key!r}; {hint}")
        expected = int if known[key] == "int" else str
        if type(value) is not expected:
            raise PromptError(f"{path}, {key}: must be of type {expected.__name__}; given {value!r}")
    if "prompt" not in raw:
        raise PromptError(f"{path}: the key 'prompt' is missing")
    return Template(str(path), kind, **raw)


def copy_templates(folder: Path) -> list[Path]:
    """Writes the templates of the package into a folder, to be edited; returns their paths.

    Raises `PromptError` if one of them is there already, or cannot be written.
    """
    targets = [folder / f"{kind}.toml" for kind in KINDS]
    for target in targets:
        if target.exists():
            raise PromptError(f"{target}: there already; take it away, or name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for target in targets:
            target.write_bytes((SHIPPED / target.name).read_bytes())
    except OSError as error:
        raise PromptError(f"{folder}: cannot be written to: {error.strerror}") from None
    return targets
