"""From LC-Rec's JSON index and a tokenizer to a compiled catalog, kept in the user's cache."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from sidebeam.bundle.bundle import Bundle, BundleError
from sidebeam.bundle.tokenizer import Tokenizer
from sidebeam.catalog import Catalog

SHOWN = 5  # problems of one kind named in a message; the rest are counted
COMPILED_SUFFIX = ".catalog"


def cache_folder() -> Path:
    """Where compiled catalogs live: $XDG_CACHE_HOME/sidebeam, by default ~/.cache/sidebeam."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "sidebeam"


def catalogs_folder() -> Path:
    """Where, in there."""
    return cache_folder() / "catalogs"


def compiled_name(bundle: Bundle, raw: bytes) -> str:
    """What the compiled file of these items is called: other items or another tokenizer, another name."""
    digest = hashlib.sha256(raw)
    digest.update((bundle.tokenizer / "tokenizer.json").read_bytes())
    return f"{digest.hexdigest()[:32]}{COMPILED_SUFFIX}"


def compile_index(bundle: Bundle, raw: bytes, tokenizer: Tokenizer) -> Catalog:
    """Compile `{"<item id>": ["<a_47>", ...], ...}`. Raises BundleError naming what does not fit."""
    name = bundle.items.name if bundle.items else ""
    repeated: list[str] = []

    def pairs(entries: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(entries)
        if len(found) != len(entries):
            repeated.extend(key for key, n in Counter(key for key, _ in entries).items() if n > 1)
        return found

    try:
        index = json.loads(raw, object_pairs_hook=pairs)
    except ValueError as error:
        raise BundleError(bundle.root, [f"{name}: not JSON: {error}"]) from error
    problems = _shape_problems(name, index)
    if repeated:
        problems.append(f"{name}: {_some(repeated)} stand more than once")
    if problems:
        raise BundleError(bundle.root, problems)
    spelled = list(index.values())
    vocabulary = {token: tokenizer.token_id(token) for token in {token for sid in spelled for token in sid}}
    missing = sorted(token for token, token_id in vocabulary.items() if token_id is None)
    if missing:
        raise BundleError(bundle.root, [f"tokenizer: {_some(missing)} of {name} are not in the vocabulary"])
    sids = np.array([[vocabulary[token] for token in sid] for sid in spelled], np.int64)
    return Catalog.build(list(index), sids)


def _shape_problems(name: str, index: object) -> list[str]:
    if not isinstance(index, dict):
        return [f"{name}: must be one object of item id to SID tokens; given a {type(index).__name__}"]
    if not index:
        return [f"{name}: holds no items"]
    crooked = [
        item for item, sid in index.items() if not (isinstance(sid, list) and all(isinstance(t, str) for t in sid))
    ]
    if crooked:
        return [f"{name}: the SIDs of items {_some(crooked)} are not lists of tokens"]
    length = Counter(len(sid) for sid in index.values()).most_common(1)[0][0]
    uneven = [f"{item} ({len(sid)})" for item, sid in index.items() if len(sid) != length]
    if uneven:
        return [f"{name}: all SIDs must be of one length; most have {length} tokens, but not items {_some(uneven)}"]
    return [f"{name}: SIDs are empty"] if length == 0 else []


def _some(names: list[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    return shown if len(names) <= SHOWN else f"{shown} and {len(names) - SHOWN} more"
