"""All pools of a deployment: read by many sessions at once, changed by one writer."""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt

from sidebeam.knowledge.calibration import GLOBAL, GROUP, TIERS, Calibration, Tier
from sidebeam.knowledge.error import KnowledgeError, PoolError
from sidebeam.knowledge.folder import MANIFEST, Manifest, Writer
from sidebeam.knowledge.journal import Change, append, read_journal
from sidebeam.knowledge.pool import Layer, Pool
from sidebeam.knowledge.pool_file import read_segment
from sidebeam.knowledge.segment import Segment
from sidebeam.knowledge.session import Indexes, Session
from sidebeam.knowledge.tokens import tokens_of

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class State:
    """Everything at one moment; never changed."""

    everybody: Pool
    groups: Mapping[str, Pool]

    def changed(self, changes: Iterable[Change]) -> State:
        """After some changes, in their order."""
        latest = {change.entity: change for change in changes}
        texts = {entity: change.tokens for entity, change in latest.items()}
        names = {change.group for change in latest.values() if change.group is not None and change.tokens is not None}
        groups = {}
        for name in sorted({*self.groups, *names}):
            here = {e: change.tokens if change.group == name else None for e, change in latest.items()}
            groups[name] = self.groups.get(name, Pool()).changed(here)
        return State(self.everybody.changed(texts), groups)

    @property
    def snapshot(self) -> State:
        """Without all changes since the snapshots were made."""
        groups = {name: pool.snapshot for name, pool in self.groups.items() if pool.base is not None}
        return State(self.everybody.snapshot, groups)

    def indexes(self, group: str | None, tiers: Collection[Tier]) -> Indexes:
        """What a session searches of these tiers."""
        pool = self.groups.get(group, Pool()) if group is not None and "group" in tiers else Pool()
        everybody = self.everybody if "global" in tiers else Pool()
        layers = [(layer, GROUP) for layer in pool.layers] + [(layer, GLOBAL) for layer in everybody.layers]
        return Indexes.of([(layer.segment.index, layer.table, tier) for layer, tier in layers])


class Pools:
    """Open pools. Sessions may be opened from any thread; each keeps the state that it found.

    `learn` and `delete` queue changes, `commit` writes them and makes them seen: from any one thread, since it takes
    milliseconds. A reader's process sees others' changes after `refresh`.
    """

    def __init__(
        self, folder: Path, manifest: Manifest, state: State, end: int, writer: Writer | None, calibration: Calibration
    ) -> None:
        self.folder = folder
        self.calibration = calibration
        self._manifest, self._state, self._end, self._writer = manifest, state, end, writer
        self._queue: list[Change] = []
        self._queue_lock, self._write_lock = threading.Lock(), threading.Lock()

    @classmethod
    def open(
        cls, folder: Path | str, fingerprint: str, *, write: bool = False, calibration: Calibration | None = None
    ) -> Self:
        """Maps the pools of a folder; `write` makes this the one writer.

        Raises `PoolError` naming the file if there is none, if it is damaged, or of another tokenizer, or if another
        process writes.
        """
        root = Path(folder)
        if not root.is_dir():
            raise PoolError(f"{root}: no such folder")
        writer = Writer(root).__enter__() if write else None
        try:
            manifest, state, end = _read(root, fingerprint)
        except BaseException:
            if writer is not None:
                writer.__exit__(None, None, None)
            raise
        return cls(root, manifest, state, end, writer, calibration or Calibration())

    @classmethod
    def create(cls, folder: Path | str, fingerprint: str, eos: int | None) -> Self:
        """Empty pools in a new folder, open for writing: everything in them will be learned."""
        root = Path(folder)
        writer = Writer(root).__enter__()
        try:
            if (root / MANIFEST).exists():
                raise PoolError(f"{root}: there are pools already")
            manifest = writer.replace(fingerprint, eos, None, {})
            _, end = read_journal(root / manifest.journal)
        except BaseException:
            writer.__exit__(None, None, None)
            raise
        return cls(root, manifest, State(Pool(), {}), end, writer, Calibration())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Lets another process write; queued changes are dropped. Open sessions go on."""
        if self._writer is not None:
            self._writer.__exit__(None, None, None)
            self._writer = None

    @property
    def eos(self) -> int | None:
        """The token that ends a text."""
        return self._manifest.eos

    @property
    def version(self) -> str:
        """Of what sessions see: it differs whenever that does."""
        return f"{self._manifest.generation}.{self._end}"

    @property
    def fingerprint(self) -> str:
        """Of the tokenizer."""
        return self._manifest.fingerprint

    @property
    def groups(self) -> list[str]:
        """Names of the groups that have texts."""
        return [name for name, pool in self._state.groups.items() if pool.n_texts]

    @property
    def n_texts(self) -> int:
        """Texts in the global pool."""
        return self._state.everybody.n_texts

    @property
    def nbytes(self) -> int:
        """Bytes of all pools, mapped ones as well."""
        return self._state.everybody.nbytes + sum(pool.nbytes for pool in self._state.groups.values())

    def session(
        self,
        prompt: npt.ArrayLike,
        entity: str | None = None,
        group: str | None = None,
        tiers: Collection[Tier] = TIERS,
    ) -> Session:
        """Drafts for one text, from `tiers`. An unknown entity or group has no tier of its own; the others remain."""
        state = self._state
        told = state.everybody.find(entity) if entity is not None and "entity" in tiers else None
        return Session(
            prompt,
            state.indexes(group, tiers),
            self.calibration.weights,
            () if told is None else told,
            None if entity is None else partial(self.learn, entity, group=group),
            lookup="request" in tiers,
        )

    def text(self, entity: str) -> Ints | None:
        """An entity's tokens, None if it has no text."""
        return self._state.everybody.find(entity)

    def group_of(self, entity: str) -> str | None:
        """The group that holds an entity's text, None if there is none."""
        groups = self._state.groups
        return next((name for name, pool in groups.items() if pool.find(entity) is not None), None)

    def count(self, tokens: npt.ArrayLike, group: str | None = None) -> int:
        """How often tokens stand one after another in the global pool, or in a group's."""
        pool = self._state.everybody if group is None else self._state.groups.get(group, Pool())
        return pool.count(tokens_of(tokens))

    def learn(self, entity: str, tokens: npt.ArrayLike, group: str | None = None) -> None:
        """Queues a finished text, which replaces the entity's earlier one. What follows the first EOS is left out."""
        given = tokens_of(tokens)
        ends = np.flatnonzero(given == self.eos) if self.eos is not None else given[:0]
        if len(ends):
            given = given[: int(ends[0]) + 1]
        if len(given):
            self._enqueue(Change(entity, group, given))

    def delete(self, entity: str) -> None:
        """Queues that an entity's text goes, from all pools."""
        self._enqueue(Change(entity, None, None))

    def commit(self) -> int:
        """Writes queued changes and makes them seen by sessions opened from now on. Returns how many there were.

        Raises `PoolError` for pools that are not open for writing, `OSError` if the disk does not take them: they stay
        queued, and files and pools are as they were.
        """
        with self._write_lock:
            self._need_writer()
            with self._queue_lock:
                changes, self._queue = self._queue, []
            if not changes:
                return 0
            try:
                state = self._state.changed(changes)
                self._end = append(self.folder / self._manifest.journal, self._end, changes)
            except BaseException:
                with self._queue_lock:
                    self._queue = changes + self._queue
                raise
            self._state = state
            return len(changes)

    def compact(self) -> None:
        """Makes new snapshots of all that counts. Raises as `commit` does, everything as it was."""
        with self._write_lock:
            writer = self._need_writer()
            everybody = _compacted(self._state.everybody)
            groups = {name: made for name, pool in self._state.groups.items() if (made := _compacted(pool)) is not None}
            self._manifest = writer.replace(self.fingerprint, self.eos, everybody, groups)
            _, self._state, self._end = _read(self.folder, self.fingerprint)

    def refresh(self) -> bool:
        """Takes over what another process has written since; whether there was anything. Raises `PoolError`."""
        with self._write_lock:
            if Manifest.read(self.folder) == self._manifest:
                changes, end = read_journal(self.folder / self._manifest.journal)
                if end == self._end:
                    return False
                self._state, self._end = self._state.snapshot.changed(changes), end
            else:
                self._manifest, self._state, self._end = _read(self.folder, self.fingerprint)
            return True

    def _need_writer(self) -> Writer:
        if self._writer is None:
            raise PoolError(f"{self.folder}: these pools are not open for writing")
        return self._writer

    def _enqueue(self, change: Change) -> None:
        if not change.entity:
            raise KnowledgeError("entity must not be empty")
        self._need_writer()
        with self._queue_lock:
            self._queue.append(change)


def _compacted(pool: Pool) -> Segment | None:
    if pool.base is not None and not pool.added and not pool.base.gone:
        return pool.base.segment
    texts = dict(pool.texts())
    return Segment.build(texts) if texts else None


def _read(root: Path, fingerprint: str) -> tuple[Manifest, State, int]:
    manifest = Manifest.read(root)
    while True:
        if manifest.fingerprint != fingerprint:
            made = manifest.fingerprint
            raise PoolError(f"{root}: made with another tokenizer, of fingerprint {made}; this one's is {fingerprint}")
        try:
            base = Pool() if manifest.everybody is None else _base(root / manifest.everybody, fingerprint)
            groups = {name: _base(root / file, fingerprint) for name, file in manifest.groups.items()}
            changes, end = read_journal(root / manifest.journal)
            return manifest, State(base, groups).changed(changes), end
        except PoolError:
            newer = Manifest.read(root)
            if newer == manifest:
                raise
            manifest = newer  # the writer replaced the files while they were read


def _base(path: Path, fingerprint: str) -> Pool:
    return Pool(Layer(read_segment(path, fingerprint)))
