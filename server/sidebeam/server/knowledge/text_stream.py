"""What one caller is sent of its text: each token once and in order, then the Summary."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from sidebeam.bundle import Tokenizer
from sidebeam.server.knowledge.text_job import TextJob
from sidebeam.v1 import knowledge_pb2 as pb
from sidebeam.v1 import recommendation_pb2
from sidebeam.worker.v1 import target_pb2

Write = Callable[[pb.GenerateResponse], Awaitable[None]]

UNFINISHED = "\N{REPLACEMENT CHARACTER}"  # what tokenizers make of the first bytes of a character


class TextChanged(Exception):
    """A text that was begun once more came out otherwise than what the caller has of it."""


class TextStream:
    """Turns a target's words into the caller's. A text that is begun once more repeats tokens; the caller sees none."""

    def __init__(self, job: TextJob, tokenizer: Tokenizer, write: Write) -> None:
        self.sent: list[int] = []  # tokens
        self._job = job
        self._tokenizer = tokenizer
        self._write = write
        self._seen = 0  # tokens that this worker has written
        self._read = ""  # what was sent reads as

    def restart(self) -> None:
        """The next piece is the text's first again."""
        self._seen = 0

    async def piece(self, piece: target_pb2.TextPiece) -> None:
        """Send what is new. Raises TextChanged if what was sent is not what is written now."""
        known = min(len(piece.tokens), len(self.sent) - self._seen)
        if list(piece.tokens[:known]) != self.sent[self._seen : self._seen + known]:
            raise TextChanged
        self._seen += len(piece.tokens)
        new = list(piece.tokens[known:])
        if not new:
            return
        self.sent += new
        read = self._tokenizer.decode(self.sent[:-1] if piece.ended else self.sent)
        await self._write(pb.GenerateResponse(piece=pb.Piece(token_ids=new, text=self._new(read.rstrip(UNFINISHED)))))

    async def summary(self, result: target_pb2.TextResult) -> pb.Summary:
        """Send the end, and before it what pieces held back."""
        job = self._job
        text = self._tokenizer.decode(result.tokens[:-1] if result.stop == pb.TEXT_STOP_END else result.tokens)
        if not job.summary_only and (rest := self._new(text)):
            await self._write(pb.GenerateResponse(piece=pb.Piece(text=rest)))
        summary = pb.Summary(
            text=text,
            token_ids=result.tokens,
            stop=result.stop,
            passes=result.passes,
            rows=result.rows,
            tiers=result.tiers,
            relaxed=result.relaxed,
            divergence=result.divergence,
            verification=job.verification,
            sampling=job.sampling,
            draft_note=result.draft_note,
            pools_version=result.pools_version,
            request_id=job.request_id,
            times=recommendation_pb2.StageTimes(
                prompt_ns=job.prompt_ns,
                admission_ns=job.admission_ns,
                draft_ns=result.draft_ns,
                queue_ns=result.queue_ns,
                pass_ns=result.pass_ns,
                search_ns=result.host_ns,
                total_ns=time.perf_counter_ns() - job.arrived_ns,
            ),
        )
        await self._write(pb.GenerateResponse(summary=summary))
        return summary

    def _new(self, read: str) -> str:
        """What a longer reading adds to what was sent."""
        new = read[len(self._read) :]
        self._read += new
        return new
