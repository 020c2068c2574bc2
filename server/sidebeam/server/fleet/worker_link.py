"""The front's connection to one worker, and what it knows about that worker's state."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import grpc
import structlog

from sidebeam.line import MAX_MESSAGE_BYTES
from sidebeam.server.config.config import SupervisionConfig
from sidebeam.worker.v1 import tree_pb2

PROBE_S = 1.0  # one Describe while a worker starts; it is asked again until it answers
PAUSE_S = 0.1  # between two of them
SILENT_S = 0.5  # for an answer that takes no pass: whoever needs longer is sent nothing new while others do not

CHANNEL_OPTIONS = (
    # A restarted worker is back within moments: look for it often.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 500),
    # Notices a remote host that vanished without a word.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.enable_http_proxy", 0),
)


class WorkerLink:
    """One channel, for as long as the front lives; the worker behind it may come and go.

    `watch` asks the worker what it is until it answers, and then keeps asking whether it still does. `accept` prepares
    it for requests and says whether it will do; `changed` is called whenever `is_ready` changes.
    """

    def __init__(
        self,
        name: str,
        address: str,
        service: str,
        config: SupervisionConfig,
        accept: Callable[[str, tree_pb2.WorkerInfo], Awaitable[bool]],
        changed: Callable[[], None],
    ) -> None:
        self.name = name
        self.address = address
        self.info: tree_pb2.WorkerInfo | None = None
        self.channel = grpc.aio.insecure_channel(address, options=CHANNEL_OPTIONS)
        self.in_flight = 0
        self.times_up = 0
        self.exits = 0  # of a local worker's processes
        self.last_info: tree_pb2.WorkerInfo | None = None  # stays when the worker is lost
        self._config = config
        self._accept = accept
        self._changed = changed
        self._lost = asyncio.Event()
        self._asked_at: float | None = None  # the heartbeat that is not answered, by the event loop's clock
        self._describe = self.channel.unary_unary(
            f"/{service}/Describe",
            request_serializer=tree_pb2.DescribeRequest.SerializeToString,
            response_deserializer=tree_pb2.DescribeResponse.FromString,
        )

    @property
    def is_ready(self) -> bool:
        """Whether requests may be sent."""
        return self.info is not None

    @property
    def is_silent(self) -> bool:
        """Whether a heartbeat has waited for its answer for so long that the worker may hang."""
        return self._asked_at is not None and asyncio.get_running_loop().time() - self._asked_at > SILENT_S

    @property
    def restarts(self) -> int:
        """How often the worker came back, or was started again."""
        return max(self.exits, self.times_up - 1)

    def lose(self, seen: tree_pb2.WorkerInfo | None) -> None:
        """Take the worker for gone until it answers again, unless it is a later one than was `seen`."""
        if self.info is not None and self.info is seen:
            self.info = None
            self._lost.set()
            structlog.get_logger().warning("worker_lost", worker=self.name)
            self._changed()

    async def watch(self, hung: Callable[[], None]) -> None:
        """Follow the worker's state for ever. `hung` is called when a ready worker stops answering."""
        while True:
            info = await self._probe()
            if info is None or not await self._accept(self.name, info):
                await asyncio.sleep(PAUSE_S)
                continue
            self._lost.clear()
            self.times_up += 1
            self.info = self.last_info = info
            structlog.get_logger().info(
                "worker_up",
                worker=self.name,
                slots=info.slots,
                kv_bytes=info.kv_bytes,
                prompt_max=info.max_prompt_tokens,
            )
            self._changed()
            await self._follow(hung)

    async def close(self) -> None:
        """Close the channel; calls that still use it are cancelled."""
        await self.channel.close()

    async def _probe(self) -> tree_pb2.WorkerInfo | None:
        try:
            response = await self._describe(tree_pb2.DescribeRequest(), timeout=PROBE_S, wait_for_ready=True)
        except grpc.aio.AioRpcError:
            return None
        return response.info

    async def _follow(self, hung: Callable[[], None]) -> None:
        """Return once the worker is lost."""
        while not self._lost.is_set():
            try:
                async with asyncio.timeout(self._config.heartbeat_interval_s):
                    await self._lost.wait()
                return
            except TimeoutError:
                pass
            self._asked_at = asyncio.get_running_loop().time()
            try:
                await self._describe(tree_pb2.DescribeRequest(), timeout=self._config.heartbeat_timeout_s)
            except grpc.aio.AioRpcError as error:
                if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                    structlog.get_logger().error("worker_hangs", worker=self.name)
                    hung()
                self.lose(self.info)
            finally:
                self._asked_at = None
