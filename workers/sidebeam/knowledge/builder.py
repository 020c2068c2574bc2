"""Pools from texts that were generated before."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from sidebeam.grouping import GroupingError, read_groups
from sidebeam.knowledge.error import KnowledgeError
from sidebeam.knowledge.folder import Writer
from sidebeam.knowledge.layout import TOKEN_LIMIT
from sidebeam.knowledge.segment import Segment
from sidebeam.knowledge.tokenizer import TextTokenizer
from sidebeam.training.progress import ProgressBar

Ints = npt.NDArray[np.int32]

BATCH = 256  # texts that are tokenized at once


@dataclass(frozen=True, slots=True)
class Built:
    """What was made of the texts."""

    texts: int
    tokens: int
    nbytes: int
    replaced: int  # texts that a later line of the same entity took the place of
    groups: dict[str, int]  # texts by group
    ungrouped: int  # texts of entities that no group holds
    without_text: int  # entities of groups that have no text


def build_pools(
    texts: Path,
    groups: Path | None,
    tokenizer: TextTokenizer,
    out: Path,
    progress: ProgressBar,
    *,
    fingerprint: str,
    eos: int | None,
) -> Built:
    """Makes the global pool and one for each group, in place of those that `out` may hold.

    A line of `texts` is {"entity": "7", "text": "..."} or, exact, {"entity": "7", "tokens": [5, 6]}; of two lines of
    one entity the later counts. `groups` is {"7": "<group>", ...}. Each text is cut at the first `eos` and ended with
    it.

    Raises `KnowledgeError` naming the line of bad input, `PoolError` while another process writes, `OSError` for a
    full disk; then `out` is as it was.
    """
    group_of = _groups(groups) if groups is not None else {}
    with Writer(out) as writer:
        by_entity, lines = _read_texts(texts, tokenizer, eos, progress)
        members: dict[str, dict[str, Ints]] = {}
        for entity, tokens in by_entity.items():
            if entity in group_of:
                members.setdefault(group_of[entity], {})[entity] = tokens
        progress.begin("indexing", 1 + len(members))
        everybody = Segment.build(by_entity)
        progress.advance(1, "pools/s")
        made: dict[str, Segment] = {}
        for name, texts_of in members.items():
            made[name] = Segment.build(texts_of)
            progress.advance(1, "pools/s")
        writer.replace(fingerprint, eos, everybody, made)
    grouped = sum(map(len, members.values()))
    return Built(
        texts=len(by_entity),
        tokens=everybody.n_tokens,
        nbytes=everybody.nbytes + sum(segment.nbytes for segment in made.values()),
        replaced=lines - len(by_entity),
        groups={name: len(texts_of) for name, texts_of in sorted(members.items())},
        ungrouped=len(by_entity) - grouped,
        without_text=len(group_of) - grouped,
    )


def _read_texts(
    path: Path, tokenizer: TextTokenizer, eos: int | None, progress: ProgressBar
) -> tuple[dict[str, Ints], int]:
    """Tokens by entity, and how many lines there were."""
    found: dict[str, Ints] = {}
    lines = 0
    try:
        with path.open("rb") as file:
            total = sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))
        progress.begin("reading texts", total)
        batch: list[tuple[str, str | Ints]] = []
        for entry in _entries(path):
            batch.append(entry)
            if len(batch) == BATCH:
                found |= _tokenized(batch, tokenizer, eos)
                progress.advance(len(batch), "texts/s")
                lines, batch = lines + len(batch), []
        found |= _tokenized(batch, tokenizer, eos)
        progress.advance(len(batch), "texts/s")
    except OSError as error:
        raise KnowledgeError(f"{path}: cannot be read: {error.strerror}") from None
    if not found:
        raise KnowledgeError(f"{path}: holds no texts; pools need at least one")
    return found, lines + len(batch)


def _tokenized(batch: list[tuple[str, str | Ints]], tokenizer: TextTokenizer, eos: int | None) -> dict[str, Ints]:
    encoded = iter(tokenizer.encode([told for _, told in batch if isinstance(told, str)]))
    found = {}
    for entity, told in batch:
        tokens = np.array(next(encoded), np.int32) if isinstance(told, str) else told
        if eos is not None:
            end = int(np.argmax(np.append(tokens, eos) == eos))
            tokens = np.append(tokens[:end], np.int32(eos))
        found[entity] = tokens
    return found


def _entries(path: Path) -> Iterator[tuple[str, str | Ints]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip() and (entry := _entry(f"{path}, line {number}", line)) is not None:
                yield entry


def _entry(place: str, line: bytes) -> tuple[str, str | Ints] | None:
    """What a line holds; None where `sidebeam knowledge generate` wrote down why there is no text."""
    try:
        raw = json.loads(line)
    except ValueError as error:
        raise KnowledgeError(f"{place}: not JSON: {error}") from None
    if not isinstance(raw, dict) or not _is_name(raw.get("entity")):
        raise KnowledgeError(
            f'{place}: must be {{"entity": "<id>", "text": "..."}}; given {line.decode()[:80].strip()}'
        )
    entity, text, tokens = raw["entity"], raw.get("text"), raw.get("tokens")
    if "error" in raw and text is None and tokens is None:
        return None
    if isinstance(text, str) and (tokens is None or type(tokens) is int):  # which counts them
        if not _is_name(text or "empty"):
            raise KnowledgeError(f"{place}: text is not valid Unicode")
        return entity, text
    if text is None and isinstance(tokens, list) and all(type(t) is int and 0 <= t < TOKEN_LIMIT for t in tokens):
        return entity, np.array(tokens, np.int32)
    raise KnowledgeError(f"{place}: must have a text, or tokens from 0 to {TOKEN_LIMIT - 1:,}, and not both")


def _groups(path: Path) -> Mapping[str, str]:
    try:
        return read_groups(path)
    except GroupingError as error:
        raise KnowledgeError(str(error)) from None


def _is_name(value: object) -> bool:
    """A string that is not empty and can be encoded: JSON may hold halves of characters."""
    if not isinstance(value, str) or not value:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
