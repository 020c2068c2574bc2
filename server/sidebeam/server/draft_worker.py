"""The draft worker as the loop sees it: trees, or nothing. Whatever goes wrong here is nothing, never an error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc

from sidebeam.server.worker_link import WorkerLink
from sidebeam.worker.v1 import draft_pb2

SERVICE = "sidebeam.worker.v1.DraftService"

ProposeCall = grpc.aio.StreamStreamCall[draft_pb2.ProposeRequest, draft_pb2.ProposeResponse]
Answer = asyncio.Future[draft_pb2.ProposeResponse | None]


class DraftWorker:
    """Opens sessions while the worker is up. `pause_s` is how long none is waited for after one was too late."""

    def __init__(self, link: WorkerLink, pause_s: float) -> None:
        self.link = link
        self._pause_s = pause_s
        self._paused_until = 0.0
        self._propose: Callable[[], ProposeCall] = link.channel.stream_stream(  # type: ignore[assignment]
            f"/{SERVICE}/Propose",
            request_serializer=draft_pb2.ProposeRequest.SerializeToString,
            response_deserializer=draft_pb2.ProposeResponse.FromString,
        )

    @property
    def is_prompt(self) -> bool:
        """Whether the worker is up and has not been late lately."""
        return self.link.is_ready and asyncio.get_running_loop().time() >= self._paused_until

    def was_late(self) -> None:
        """Do not wait for this worker for a while."""
        self._paused_until = asyncio.get_running_loop().time() + self._pause_s

    def open(self, prompt: list[int], excluded_leaves: bytes) -> DraftSession:
        """A session; nothing is sent before its first question."""
        return DraftSession(self._propose, prompt, excluded_leaves)


class DraftSession:
    """One request's drafts: questions are sent one after the other, each is answered by a tree or by None."""

    def __init__(self, propose: Callable[[], ProposeCall], prompt: list[int], excluded_leaves: bytes) -> None:
        self.draft_ns = 0
        self._propose = propose
        self._prompt = prompt
        self._excluded_leaves = excluded_leaves
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
            question.prompt.extend(self._prompt)
            question.excluded_leaves = self._excluded_leaves
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

    def _end(self) -> None:
        self._ended = True
        for answer in self._answers:
            if not answer.done():
                answer.set_result(None)
