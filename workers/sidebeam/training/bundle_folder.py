"""Writing the parts of a bundle: each folder and file appears whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sidebeam.bundle import Bundle, BundleError, PromptFormat
from sidebeam.training.error import TrainingError

MANIFEST = "sidebeam.toml"

Fill = Callable[[Path], None]


@dataclass(frozen=True, slots=True)
class BundleFolder:
    """The folder that `--out` names. Training puts its models into `target` and `draft` there."""

    root: Path

    @property
    def target(self) -> Path:
        """The target's model folder."""
        return self.root / "target"

    @property
    def draft(self) -> Path:
        """The draft's model folder."""
        return self.root / "draft"

    def check_manifest(self, prompt: PromptFormat, vocab_size: int) -> None:
        """Raises `TrainingError` if a manifest stands there that would serve a target trained here in another way."""
        path = self.root / MANIFEST
        if not path.exists():
            return
        try:
            manifest = tomllib.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise TrainingError(f"{path}: {error}") from None
        wanted: dict[str, dict[str, Any]] = {
            "target": {"path": "target"},
            "catalog": {"items": "items.json"},
            "prompt": asdict(prompt),
        }
        usual = {**wanted, "prompt": asdict(PromptFormat())}  # what a manifest that says nothing means
        for section, values in wanted.items():
            for key, value in values.items():
                given = _section(manifest, section).get(key, usual[section][key])
                if given != value:
                    raise TrainingError(f"{path}: {section}.{key} must be {value!r} for this target. Given: {given!r}")
        if _section(manifest, "tokenizer").get("path", "target") != "target":
            raise TrainingError(f"{path}: [tokenizer] names another tokenizer than the target's; take it out")
        if "draft" in manifest and (size := self._draft_size()) not in (None, vocab_size):
            raise TrainingError(
                f"{path}: [draft] has a vocabulary of {size} tokens, this target one of {vocab_size}; take it out, "
                "and train a new draft afterwards"
            )

    def write_target(self, fill: Fill, items: Path, prompt: PromptFormat) -> None:
        """Makes a bundle of a target: its folder by `fill`, the items, and a manifest unless one stands there."""
        _write_folder(self.target, fill)
        copy = self.root / "items.json"
        if not copy.exists() or not copy.samefile(items):
            _write_file(copy, items.read_bytes())
        if not (self.root / MANIFEST).exists():
            _write_file(self.root / MANIFEST, _manifest(prompt).encode())

    def write_draft(self, fill: Fill) -> None:
        """Adds a draft: its folder by `fill`, and its section to the manifest, whose other lines stay as they are."""
        _write_folder(self.draft, fill)
        path = self.root / MANIFEST
        text = path.read_text(encoding="utf-8")
        if "draft" not in tomllib.loads(text):
            _write_file(path, f'{text.rstrip()}\n\n[draft]\npath = "draft"\n'.encode())

    def open_for_draft(self) -> Bundle:
        """The bundle as it stands.

        Raises `TrainingError` where there is no target, or a draft trained here would not fit the bundle.
        """
        try:
            bundle = Bundle.open(self.root)
        except BundleError as error:
            if all(problem.startswith("draft:") for problem in error.problems):
                raise TrainingError(
                    f"{self.root / MANIFEST}: [draft] names a model that is not there. Take the section out; "
                    "it comes back with the trained draft"
                ) from None
            raise TrainingError(f"a draft needs the bundle of its target in --out: {error}") from None
        if bundle.draft not in (None, self.root.resolve() / "draft"):
            raise TrainingError(f"{self.root / MANIFEST}: draft.path must be 'draft'. Given: '{bundle.draft}'")
        if bundle.draft_scoring != "catalog":
            raise TrainingError(
                f"{self.root / MANIFEST}: draft.scoring must be 'catalog' for a draft trained here. "
                f"Given: {bundle.draft_scoring!r}"
            )
        return bundle

    def _draft_size(self) -> int | None:
        try:
            return int(json.loads((self.draft / "config.json").read_text(encoding="utf-8"))["vocab_size"])
        except (OSError, ValueError, KeyError):
            return None  # whoever opens the bundle will say more


def _manifest(prompt: PromptFormat) -> str:
    return f"""[target]
path = "target"

[catalog]
items = "items.json"
scoring = "raw"

[prompt]
template = {_quoted(prompt.template)}
item_separator = {_quoted(prompt.item_separator)}
max_history = {prompt.max_history}

[defaults]
top_k = 20
draft_beams = 40
"""


def _section(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    section = manifest.get(name, {})
    return section if isinstance(section, dict) else {}


def _quoted(text: str) -> str:
    """A TOML string: JSON's, but for the one control character that JSON leaves as it is."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _write_file(path: Path, content: bytes) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)


def _write_folder(path: Path, fill: Fill) -> None:
    """Fills a folder beside `path` and moves it there; an older one leaves only when the new one is complete."""
    partial, old = (path.with_name(f".{path.name}.{state}") for state in ("partial", "old"))
    for left in (partial, old):
        shutil.rmtree(left, ignore_errors=True)
    partial.mkdir(parents=True)
    fill(partial)
    if path.exists():
        path.rename(old)
    partial.rename(path)
    shutil.rmtree(old, ignore_errors=True)
