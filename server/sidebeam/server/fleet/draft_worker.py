"""The draft worker as the loop sees it: trees, or nothing. Whatever goes wrong here is nothing, never an error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc

from sidebeam.server.fleet.worker_link import WorkerLink
from sidebeam.worker.v1 import draft_pb2

SERVICE = "sidebeam.worker.v1.DraftService"

ProposeCall = grpc.aio.StreamStreamCall[draft_pb2.ProposeRequest, draft_pb2.ProposeResponse]
Answer = asyncio.Future[draft_pb2.ProposeResponse | None]


class DraftWorker:
    """Opens sessions while the worker is up."""

    def __init__(self, link: WorkerLink) -> None:
        self.link = link
        self._paused_until = 0.0
        self.late = 0
        self._propose: Callable[[], ProposeCall] = link.channel.stream_stream(  # type: ignore[assignment]
            f"/{SERVICE}/Propose",
            request_serializer=draft_pb2.ProposeRequest.SerializeToString,
            response_deserializer=draft_pb2.ProposeResponse.FromString,
        )

    @property
    def is_prompt(self) -> bool:
        """Whether the worker is up, with a draft model, and has not been late lately."""
        info = self.link.info
        return info is not None and info.vocab_size > 0 and asyncio.get_running_loop().time() >= self._paused_until

    def was_late(self, pause_s: float) -> None:
        """Do not wait for this worker for a while."""
        self.late += 1
        self._paused_until = asyncio.get_running_loop().time() + pause_s

    def open(self, subject: draft_pb2.ProposeRequest) -> DraftSession:
        """A session about `subject`, which its first question will say, too; nothing is sent before that."""
        return DraftSession(self._propose, subject, self.link)


class DraftSession:
    """One request's drafts: questions are sent one after the other, each is answered by a tree or by None."""

    def __init__(self, propose: Callable[[], ProposeCall], subject: draft_pb2.ProposeRequest, link: WorkerLink) -> None:
        self.draft_ns = 0
        self._propose = propose
        self._subject = subject
        self._link = link
        self._questions: asyncio.Queue[tuple[draft_pb2.ProposeRequest, Answer]] = asyncio.Queue()
        self._answers: list[Answer] = []
        self._task: asyncio.Task[None] | None = None
        self._ended = False

    def ask(self, question: draft_pb2.ProposeRequest) -> Answer:
        """Ask for a draft. The future never raises, and is not to be cancelled."""
        answer: Answer = asyncio.get_running_loop().create_future()
        if self._ended:
            answer.set_result(None)
            return answer
        if self._task is None:
            question.MergeFrom(self._subject)
            self._task = asyncio.create_task(self._converse())
        self._answers.append(answer)
        self._questions.put_nowait((question, answer))
        return answer

    def close(self) -> None:
        """End the session; what is still unanswered is answered with None."""
        self._end()
        if self._task is not None:
            self._task.cancel()

    async def _converse(self) -> None:
        call = self._propose()
        self._link.in_flight += 1
        try:
            while True:
                question, answer = await self._questions.get()
                await call.write(question)
                response = await call.read()
                if not isinstance(response, draft_pb2.ProposeResponse):
                    return
                self.draft_ns += response.draft_ns
                answer.set_result(response)
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # gone, or it refused: the target does without
        finally:
            self._end()
            call.cancel()
            self._link.in_flight -= 1

    def _end(self) -> None:
        self._ended = True
        for answer in self._answers:
            if not answer.done():
                answer.set_result(None)
