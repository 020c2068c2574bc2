"""What decides the texts of a job: whoever continues it must mean the same ones."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from sidebeam.bundle import Bundle
from sidebeam.texts import Relaxed, Sampled, Verification
from sidebeam.writing.error import WritingError

Term = str | int | float | bool | None
Terms = Mapping[str, Term]  # by the option that says so

DIGITS = 16  # of a fingerprint
OPTIONS = {"top_k": "sample_top_k"}  # of `Sampled`, where the command calls it otherwise


def terms_of(bundle: Bundle, prompts: str, verification: Verification, max_new_tokens: int, dtype: str) -> Terms:
    """Of a job; `prompts` is its file's SHA-256. How fast and where it runs, and what is drafted, is left out.

    Raises `WritingError` for a file of the bundle that cannot be read.
    """
    return {
        "bundle": _fingerprint(bundle),
        "prompts": prompts[:DIGITS],
        "max_new_tokens": max_new_tokens,
        "dtype": dtype,
        "verification": type(verification).__name__.lower(),
        **_options(verification),
    }


def check(now: Terms, then: Terms, path: Path) -> None:
    """Raises `WritingError`, naming `path` and every option that differs, unless both are the same."""
    changed = [
        f"--{name.replace('_', '-')} was {_shown(then.get(name))}, is {_shown(now.get(name))}"
        for name in dict.fromkeys([*now, *then])
        if now.get(name) != then.get(name)
    ]
    if changed:
        raise WritingError(f"{path}: the texts there were begun with other options: {'; '.join(changed)}")


def _options(verification: Verification) -> dict[str, Term]:
    if not isinstance(verification, Relaxed | Sampled):
        return {}
    given = {OPTIONS.get(name, name): value for name, value in asdict(verification).items()}
    return {name: None if value == math.inf else value for name, value in given.items()}  # JSON has no infinity


def _shown(term: Term) -> str:
    return "not given" if term is None else str(term)


def _fingerprint(bundle: Bundle) -> str:
    settings = [path for name in ("config.json", "generation_config.json") if (path := bundle.target / name).is_file()]
    digest = hashlib.sha256()
    for path in (*settings, *sorted(bundle.target.glob("*.safetensors")), bundle.tokenizer / "tokenizer.json"):
        try:
            with path.open("rb") as file:
                digest.update(f"{path.name}\0".encode() + hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise WritingError(f"{path}: cannot be read: {error.strerror}") from None
    return digest.hexdigest()[:DIGITS]
