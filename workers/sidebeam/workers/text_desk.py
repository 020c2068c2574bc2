"""What a target worker writes texts with: the writer, the pools as they are now, and the words of the wire."""

from __future__ import annotations

import numpy as np

from sidebeam.texts import TextPiece, TextRequest, TextResult
from sidebeam.worker.v1 import target_pb2, tree_pb2
from sidebeam.workers import text_wire
from sidebeam.workers.pool_shelf import PoolShelf
from sidebeam.workers.replayed import ReplayedDrafter, replayed
from sidebeam.writing.pool_drafter import PoolDrafter
from sidebeam.writing.writer import Asked, Writer


class TextDesk:
    """Belongs to the event loop; the writer's engine does not, and is not touched here.

    `shelf` None: no pools are named, and texts are drafted from themselves.
    """

    def __init__(self, writer: Writer, shelf: PoolShelf | None, fingerprint: str) -> None:
        self.shelf = shelf
        self._writer = writer
        self._fingerprint = fingerprint
        self._ends = frozenset(writer.engine.vocabulary.ends)

    def describe(self) -> tree_pb2.TextInfo:
        """The limits of texts."""
        return tree_pb2.TextInfo(
            tokenizer=self._fingerprint,
            max_prompt_tokens=self._writer.max_prompt_tokens,
            max_new_tokens=self._writer.max_new_tokens,
        )

    def open(self, message: target_pb2.WriteRequest) -> OpenText:
        """A text to be written. Raises ValueError for a message that none can be made of."""
        pools = None if self.shelf is None else self.shelf.pools
        entity, group = message.entity_id or None, message.group or None
        if group is None and entity is not None and pools is not None:
            group = pools.group_of(entity)
        self._writer.pools = pools
        request = self._writer.request(
            Asked(
                prompt=np.array(message.prompt, np.int64),
                entity=entity,
                group=group,
                verification=text_wire.verification(message),
                max_new_tokens=message.max_new_tokens,
                drafting=text_wire.drafting(message),
            )
        )
        if message.written:
            request = replayed(request, np.array(message.written, np.int64))
        drafts = text_wire.drafting(message).mode != "off"
        note = self.shelf.problem if self.shelf is not None and drafts else ""
        version = pools.version if pools is not None and drafts else ""
        return OpenText(request, self._ends, f"pools: {note}" if note else "", version)


class OpenText:
    """One text between the engine and the caller. `version` is the pools' when it was opened."""

    def __init__(self, request: TextRequest, ends: frozenset[int], note: str, version: str) -> None:
        self.request = request
        self._ends = ends
        self._note = note
        self._version = version

    def response(self, event: TextPiece | TextResult) -> target_pb2.WriteResponse:
        """An event as a message; the drafter is told of the result."""
        if isinstance(event, TextPiece):
            return text_wire.piece(event, self._ends)
        drafter = self.request.drafter
        inner = drafter.inner if isinstance(drafter, ReplayedDrafter) else drafter
        if isinstance(inner, PoolDrafter):
            inner.finish(event.tokens)
        notes = (self._note, f"drafting was given up: {event.draft_error}" if event.draft_error else "")
        return text_wire.result(event, "; ".join(filter(None, notes)), self._version)
