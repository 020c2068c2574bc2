"""Writing the parts of a bundle: each folder and file appears whole or not at all."""

from __future__ import annotations

import os
import shutil
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sidebeam.bundle import Bundle, BundleError
from sidebeam.training.error import TrainingError

MANIFEST = "sidebeam.toml"
BARE_HISTORY = "{history}"

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

    def write_target(self, fill: Fill, items: Path, max_history: int) -> None:
        """Makes a bundle of a target: its folder by `fill`, the items, and a manifest unless one stands there."""
        _write_folder(self.target, fill)
        copy = self.root / "items.json"
        if not copy.exists() or not copy.samefile(items):
            _write_file(copy, items.read_bytes())
        if not (self.root / MANIFEST).exists():
            _write_file(self.root / MANIFEST, _manifest(max_history).encode())

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
        prompt = bundle.prompt
        if prompt.template != BARE_HISTORY or prompt.item_separator:
            raise TrainingError(
                f"{self.root / MANIFEST}: a draft is trained on bare histories: prompt.template must be "
                f"{BARE_HISTORY!r} and prompt.item_separator ''. Given: {prompt.template!r}, {prompt.item_separator!r}"
            )
        return bundle


def _manifest(max_history: int) -> str:
    return f"""[target]
path = "target"

[catalog]
items = "items.json"
scoring = "raw"

[prompt]
template = "{BARE_HISTORY}"        # the tokenizer puts <s> in front
item_separator = ""
max_history = {max_history}

[defaults]
top_k = 20
draft_beams = 40
"""


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
