"""The sidecar as a whole: opened, started, drained and stopped in order."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection

from sidebeam.bundle import Bundle, PromptBuilder, Tokenizer, open_catalog
from sidebeam.server.admission import Admission
from sidebeam.server.config import Config
from sidebeam.server.fleet import Fleet
from sidebeam.server.guesses import Guesses
from sidebeam.server.loop import Loop
from sidebeam.server.ranking import Ranking
from sidebeam.server.recommendation_service import RecommendationService
from sidebeam.server.request_interceptor import RequestInterceptor
from sidebeam.server.socket_folder import socket_folder
from sidebeam.server.validation import Rules
from sidebeam.v1 import recommendation_pb2 as pb
from sidebeam.v1 import recommendation_pb2_grpc
from sidebeam.worker.v1 import tree_pb2

SERVICE = pb.DESCRIPTOR.services_by_name["RecommendationService"].full_name
LIVENESS = "liveness"
SCORINGS = {"raw": pb.SCORING_RAW, "catalog": pb.SCORING_CATALOG}
STATES = health_pb2.HealthCheckResponse.ServingStatus


class StartError(RuntimeError):
    """The sidecar cannot serve; `code` is the process's exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Application:
    """One front server. Opening it reads the bundle; raises BundleError."""

    def __init__(self, bundle: Bundle, config: Config, sockets: Path) -> None:
        self._config = config
        self._bundle = bundle
        self._tokenizer = Tokenizer.open(bundle.tokenizer)
        self._catalog = open_catalog(bundle, self._tokenizer)
        self._prompts = PromptBuilder(bundle.prompt, self._tokenizer, self._catalog)
        self._rules: Rules | None = None
        self._health = HealthServicer()
        self._state_changed = asyncio.Event()
        self._draining = False
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._fleet = Fleet(bundle, config, sockets, self._catalog.version, self._describe, self._update, self._give_up)

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises StartError if that is not possible."""
        server = self._server()
        await self._publish()
        address = self._bind(server)
        await server.start()
        structlog.get_logger().info("listening", address=address)
        async with AsyncExitStack() as stack:
            self._on_signals()
            stack.push_async_callback(server.stop, None)
            await stack.enter_async_context(self._fleet)
            announcing = asyncio.create_task(self._announce(address))
            stack.callback(announcing.cancel)
            await self._ended
            await self._drain(server)

    def _server(self) -> grpc.aio.Server:
        limits = self._config.server
        server = grpc.aio.server(
            interceptors=[RequestInterceptor(SERVICE)],
            options=(
                ("grpc.so_reuseport", 0),  # else a second server would take half of this one's callers
                ("grpc.max_receive_message_length", limits.max_request_bytes),
                ("grpc.max_send_message_length", 64 << 20),
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
                ("grpc.keepalive_permit_without_calls", 1),
            ),
        )
        ranking = Ranking(self._catalog, self._prompts)
        scoring = SCORINGS[self._bundle.scoring]
        guesses = Guesses(self._config.draft, self._fleet.has_spare_cores)
        loop = Loop(self._fleet.replicas, self._fleet.draft, self._catalog, ranking, scoring, self._config, guesses)
        admission = Admission(self._config.admission, self._config.limits.max_in_flight)
        service = RecommendationService(loop, admission, lambda: self._rules, ranking, self._config)
        recommendation_pb2_grpc.add_RecommendationServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = (SERVICE, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
        return server

    def _bind(self, server: grpc.aio.Server) -> str:
        """Returns the address with the port that was really bound."""
        asked = self._config.server.listen
        try:
            port = server.add_insecure_port(asked)
        except RuntimeError as error:
            raise StartError(f"cannot listen on {asked}: the address is in use, or not one of this host", 2) from error
        return asked if asked.startswith("unix:") else f"{asked.rpartition(':')[0]}:{port}"

    def _describe(self, info: tree_pb2.WorkerInfo) -> None:
        """Take a target's limits into account; replicas may differ, and any of them must hold every prompt."""
        if self._rules is None:
            self._rules = Rules(
                catalog=self._catalog,
                prompts=self._prompts,
                defaults=self._bundle.defaults,
                limits=self._config.limits,
                vocab_size=info.vocab_size,
                max_prompt_tokens=info.max_prompt_tokens,
            )
        shortest = min(self._rules.max_prompt_tokens, info.max_prompt_tokens)
        self._rules = replace(self._rules, max_prompt_tokens=shortest)

    def _update(self) -> None:
        self._state_changed.set()

    def _give_up(self, message: str, code: int) -> None:
        if not self._ended.done():
            self._ended.set_exception(StartError(message, code))

    async def _announce(self, address: str) -> None:
        """Keep the health service true; say once that requests are taken."""
        announced = False
        while True:
            await self._state_changed.wait()
            self._state_changed.clear()
            await self._publish()
            if self._fleet.replicas.any_ready and not announced:
                announced = True
                gc.collect()
                gc.freeze()  # what is loaded by now stays: keep the collector from walking it
                structlog.get_logger().info("serving", address=address, catalog_version=self._catalog.version)
                print(f"sidebeam: serving on {address}", flush=True)

    async def _publish(self) -> None:
        serving = self._fleet.replicas.any_ready and not self._draining
        for name in ("", SERVICE):
            await self._health.set(name, STATES.SERVING if serving else STATES.NOT_SERVING)
        await self._health.set(LIVENESS, STATES.SERVING)

    def _on_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)

    def _stop(self, number: int) -> None:
        """The first signal drains, the second ends everything at once."""
        if self._ended.done():
            self._fleet.kill()
            os._exit(128 + number)
        self._ended.set_result(None)

    async def _drain(self, server: grpc.aio.Server) -> None:
        limits = self._config.server
        structlog.get_logger().info("draining", delay_s=limits.drain_delay_s, timeout_s=limits.drain_timeout_s)
        self._draining = True
        await self._publish()
        await asyncio.sleep(limits.drain_delay_s)
        await server.stop(limits.drain_timeout_s)
        structlog.get_logger().info("drained")


async def serve(bundle: Path, config: Config) -> None:
    """Open a bundle and serve it. Raises BundleError or StartError."""
    with socket_folder() as sockets:
        await Application(Bundle.open(bundle), config, sockets).run()
