"""The bundle: the folder that a user brings, described by its `sidebeam.toml`."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from sidebeam.bundle.prompt import HISTORY, PromptFormat

BUNDLE_FILE = "sidebeam.toml"
PICKLES = frozenset({".bin", ".pt", ".pth", ".pkl", ".ckpt"})

KEYS: dict[str, dict[str, type]] = {
    "target": {"path": str},
    "draft": {"path": str, "scoring": str},
    "tokenizer": {"path": str},
    "catalog": {"items": str, "scoring": str},
    "prompt": {"template": str, "item_separator": str, "max_history": int},
    "texts": {"pools": str, "max_new_tokens": int},
    "defaults": {"top_k": int, "draft_beams": int},
}


class BundleError(ValueError):
    """The folder is not a usable bundle; `problems` lists everything that is wrong with it."""

    def __init__(self, root: Path, problems: list[str]) -> None:
        self.problems = problems
        super().__init__(f"{root} is not a usable bundle: " + "; ".join(problems))


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a request gets that does not say."""

    top_k: int = 20
    draft_beams: int = 40


@dataclass(frozen=True, slots=True)
class Texts:
    """What a bundle that writes texts brings beside its target. `pools`: earlier texts, if there are any."""

    pools: Path | None = None
    max_new_tokens: int = 256


@dataclass(frozen=True, slots=True)
class Bundle:
    """Where the parts are and how they fit. Paths are absolute.

    It recommends items, writes texts, or does both: `items` None means texts alone, `texts` None items alone. `scoring`
    is the target's and so the answers'; a draft's own only ranks its beams.
    """

    root: Path
    target: Path
    draft: Path | None
    tokenizer: Path
    items: Path | None
    scoring: Literal["raw", "catalog"]
    prompt: PromptFormat
    defaults: Defaults
    texts: Texts | None = None
    draft_scoring: Literal["raw", "catalog"] = "catalog"

    @classmethod
    def open(cls, folder: Path | str, catalog: Path | None = None) -> Bundle:
        """Read `sidebeam.toml` and see that every file it needs is there.

        `catalog` is a compiled one that takes the place of `catalog.items`, whatever became of that file.
        Raises BundleError with all problems at once.
        """
        root = Path(folder).resolve()
        if not root.is_dir():
            raise BundleError(root, ["no such folder"])
        file = root / BUNDLE_FILE
        if not file.is_file():
            raise BundleError(root, [f"{BUNDLE_FILE} is missing"])
        try:
            raw = tomllib.loads(file.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BundleError(root, [f"{BUNDLE_FILE}: {error}"]) from error
        problems = _unknown_or_mistyped(raw)
        if problems:
            raise BundleError(root, problems)
        bundle = cls._from_toml(root, raw)
        if catalog is not None and bundle.items is not None:
            bundle = replace(bundle, items=catalog)
        problems = _bad_values(bundle) + _missing_files(bundle) + _foreign_code(bundle) or _unlike_vocabularies(bundle)
        if problems:
            raise BundleError(root, problems)
        return bundle

    @classmethod
    def _from_toml(cls, root: Path, raw: Mapping[str, Any]) -> Bundle:
        def path(section: str, default: str | None, key: str = "path") -> Path | None:
            value = raw.get(section, {}).get(key, default)
            return None if value is None else root / value

        target = path("target", "target") or root
        texts = raw.get("texts")
        return cls(
            root=root,
            target=target,
            draft=path("draft", None),
            tokenizer=path("tokenizer", None) or target,
            items=path("catalog", "items.json" if texts is None or "catalog" in raw else None, "items"),
            scoring=raw.get("catalog", {}).get("scoring", "raw"),
            prompt=PromptFormat(**raw.get("prompt", {})),
            defaults=Defaults(**raw.get("defaults", {})),
            texts=None if texts is None else Texts(**{**texts, "pools": path("texts", None, "pools")}),
            draft_scoring=raw.get("draft", {}).get("scoring", "catalog"),
        )


def _unknown_or_mistyped(raw: Mapping[str, Any]) -> list[str]:
    problems = []
    for section, values in raw.items():
        if section not in KEYS:
            problems.append(f"{BUNDLE_FILE}: unknown section [{section}]{_nearest(section, KEYS)}")
            continue
        if not isinstance(values, dict):
            problems.append(f"{BUNDLE_FILE}: [{section}] must be a section; given {values!r}")
            continue
        for key, value in values.items():
            expected = KEYS[section].get(key)
            if expected is None:
                problems.append(f"{BUNDLE_FILE}: unknown key {section}.{key}{_nearest(key, KEYS[section])}")
            elif type(value) is not expected:
                problems.append(f"{BUNDLE_FILE}: {section}.{key} must be of type {expected.__name__}; given {value!r}")
    return problems


def _nearest(word: str, known: Mapping[str, Any]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"


def _bad_values(bundle: Bundle) -> list[str]:
    problems = []
    for key, scoring in (("catalog.scoring", bundle.scoring), ("draft.scoring", bundle.draft_scoring)):
        if scoring not in ("raw", "catalog"):
            problems.append(f"{BUNDLE_FILE}: {key} must be 'raw' or 'catalog'; given {scoring!r}")
    if bundle.prompt.template.count(HISTORY) != 1:
        problems.append(
            f"{BUNDLE_FILE}: prompt.template must hold {HISTORY} exactly once; given {bundle.prompt.template!r}"
        )
    for name, value in (
        ("prompt.max_history", bundle.prompt.max_history),
        ("defaults.top_k", bundle.defaults.top_k),
        ("defaults.draft_beams", bundle.defaults.draft_beams),
        ("texts.max_new_tokens", 1 if bundle.texts is None else bundle.texts.max_new_tokens),
    ):
        if value < 1:
            problems.append(f"{BUNDLE_FILE}: {name} must be at least 1; given {value}")
    return problems


def _missing_files(bundle: Bundle) -> list[str]:
    needed = [(bundle.tokenizer / "tokenizer.json", "tokenizer")]
    if bundle.items is not None:
        needed.append((bundle.items, "catalog.items"))
    models = [(bundle.target, "target")] + ([(bundle.draft, "draft")] if bundle.draft else [])
    problems = []
    for folder, part in models:
        needed.append((folder / "config.json", part))
        weights = ("model.safetensors", "model.safetensors.index.json")
        if folder.is_dir() and not any((folder / name).is_file() for name in weights):
            pickles = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLES)
            known = f"; {pickles[0]} is never opened: loading it may run code" if pickles else ""
            problems.append(f"{part}: {_below(bundle.root, folder)} holds no {weights[0]} (nor {weights[1]}){known}")
    for file, part in needed:
        if not file.is_file():
            instead = " (a bundle that writes texts has a section [texts])" if file == bundle.items else ""
            problems.append(f"{part}: {_below(bundle.root, file)} is missing{instead if bundle.texts is None else ''}")
    return problems


def _foreign_code(bundle: Bundle) -> list[str]:
    """What asks for code that comes with a model. None is ever run: such a model would not be the one that is meant."""
    models = [("target", bundle.target)] + ([("draft", bundle.draft)] if bundle.draft else [])
    files = [(part, folder / "config.json") for part, folder in models]
    problems = []
    for part, file in (*files, ("tokenizer", bundle.tokenizer / "tokenizer_config.json")):
        try:
            asked = json.loads(file.read_text(encoding="utf-8"))["auto_map"]
        except (OSError, ValueError, KeyError, TypeError):  # missing and unreadable files have their own words
            continue
        named = ", ".join(map(str, asked.values() if isinstance(asked, dict) else (asked,)))
        problems.append(
            f"{part}: auto_map in {_below(bundle.root, file)} asks for code of its own ({named}); "
            "only models of transformers itself are run"
        )
    return problems


def _unlike_vocabularies(bundle: Bundle) -> list[str]:
    """A draft speaks the target's token ids or nothing it says can be verified."""
    sizes = {}
    problems = []
    for part, folder in (("target", bundle.target), ("draft", bundle.draft)):
        if folder is None:
            continue
        try:
            sizes[part] = int(json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"])
        except (ValueError, KeyError, TypeError) as error:
            problems.append(f"{part}: {_below(bundle.root, folder)}/config.json states no vocab_size: {error!r}")
    if len(set(sizes.values())) > 1:
        problems.append(f"draft: its vocabulary has {sizes['draft']} tokens; the target's has {sizes['target']}")
    return problems


def _below(root: Path, path: Path) -> str:
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
