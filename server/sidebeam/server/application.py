"""The sidecar as a whole: opened, started, drained and stopped in order."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from sidebeam.bundle import Bundle, BundleError, Tokenizer
from sidebeam.knowledge.tokenizer import tokenizer_fingerprint
from sidebeam.server.admission.admission import Admission
from sidebeam.server.config.config import Config, ServerConfig
from sidebeam.server.config.config_sources import ConfigSource
from sidebeam.server.config.running_config import RunningConfig
from sidebeam.server.fleet.fleet import Fleet
from sidebeam.server.interception.decode_interceptor import DecodeInterceptor
from sidebeam.server.interception.error_interceptor import ErrorInterceptor
from sidebeam.server.interception.method_table import MethodTable
from sidebeam.server.interception.request_interceptor import RequestInterceptor
from sidebeam.server.interception.tenant_interceptor import TenantInterceptor
from sidebeam.server.knowledge.knowledge_service import KnowledgeService
from sidebeam.server.knowledge.text_loop import TextLoop
from sidebeam.server.lifecycle import background
from sidebeam.server.lifecycle.listening import ListenError, listen
from sidebeam.server.lifecycle.reloads import Reloads
from sidebeam.server.lifecycle.seen_files import SeenFiles
from sidebeam.server.lifecycle.socket_folder import SocketFolderError, socket_folder
from sidebeam.server.lifecycle.watch import watch
from sidebeam.server.recommendation.edition import Edition
from sidebeam.server.recommendation.editions import Editions
from sidebeam.server.recommendation.guesses import Guesses
from sidebeam.server.recommendation.loop import Loop
from sidebeam.server.recommendation.recommendation_service import RecommendationService
from sidebeam.server.reload.catalog_reload import CatalogReload
from sidebeam.server.reload.config_reload import ConfigReload
from sidebeam.server.reload.upkeep import Upkeep
from sidebeam.server.rulebook import Rulebook
from sidebeam.server.security.security import Security
from sidebeam.server.security.tenants_file import TenantsError
from sidebeam.server.status.absent_service import add_absent
from sidebeam.server.status.condition import Condition
from sidebeam.server.status.health_service import HealthService
from sidebeam.server.status.status_service import StatusService
from sidebeam.telemetry.metrics import Metrics
from sidebeam.tls import TlsError
from sidebeam.tracing import Tracing, TracingError, open_tracing
from sidebeam.v1 import knowledge_pb2, knowledge_pb2_grpc, recommendation_pb2_grpc, status_pb2, status_pb2_grpc
from sidebeam.v1 import recommendation_pb2 as pb

RECOMMENDATION = pb.DESCRIPTOR.services_by_name["RecommendationService"]
KNOWLEDGE = knowledge_pb2.DESCRIPTOR.services_by_name["KnowledgeService"]
STATUS = status_pb2.DESCRIPTOR.services_by_name["StatusService"].full_name
LIVENESS = "liveness"
SCORINGS = {"raw": pb.SCORING_RAW, "catalog": pb.SCORING_CATALOG}
STATES = health_pb2.HealthCheckResponse.ServingStatus


class StartError(RuntimeError):
    """The sidecar cannot serve; `code` is the process's exit code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class Application:
    """One front server. Opening it reads the bundle and what secures it; raises BundleError, TlsError, TenantsError.

    `source` is where the settings can be read again; None: they stay.
    """

    def __init__(
        self, bundle: Bundle, config: Config, source: ConfigSource | None, sockets: Path, tracing: Tracing | None
    ) -> None:
        self._config = config  # as it was at the start, for what never changes
        self._running = RunningConfig(config)
        self._source = source
        self._reloads = Reloads()
        self._security = Security(config, self._reloads)
        self._bundle = bundle
        self._sockets = sockets
        self._tokenizer = Tokenizer.open(bundle.tokenizer)
        self._items = SeenFiles([] if bundle.items is None else [bundle.items])
        self._editions = None if bundle.items is None else Editions(Edition.first(bundle, self._tokenizer, sockets))
        self._services: list[str] = []  # of the bundle's, by their full names
        self._metrics = Metrics()
        self._tracing = tracing
        self._health = HealthService()
        self._state_changed = asyncio.Event()
        self._draining = False
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._fleet = Fleet(
            bundle,
            config,
            sockets,
            lambda: [] if self._editions is None else self._editions.files,
            tokenizer_fingerprint(bundle.tokenizer),
            _pools(bundle, config),
            lambda info: self._rules.describe(info),
            self._update,
            self._give_up,
        )
        missing = "it has no pools" if config.draft.mode == "auto" else "it drafts nothing"
        unable = "" if self._fleet.learner is not None else f"this sidecar cannot learn, for {missing}"
        self._rules = Rulebook(bundle, self._tokenizer, self._editions, self._running, unable)
        self._admission = Admission(config.admission, config.limits.max_in_flight, self._fleet.slots)
        self._upkeep = self._kept_up()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises StartError if that is not possible."""
        server = self._server()
        await self._publish()
        settings = self._config.server
        address = listen(server, settings.listen, self._security.credentials, settings.socket_mode)
        async with AsyncExitStack() as stack:
            self._expose(stack)
            await self._answer_probes(stack)
            await server.start()
            structlog.get_logger().info("listening", address=address)
            self._on_signals()
            stack.push_async_callback(server.stop, None)
            watching = background.begin("the gRPC server", watch(server), self._give_up)
            stack.callback(watching.cancel)
            await stack.enter_async_context(self._fleet)
            stack.enter_context(self._upkeep)
            announcing = background.begin("the health service", self._announce(address), self._give_up)
            stack.callback(announcing.cancel)
            await self._ended
            watching.cancel()
            await self._drain(server)

    def _server(self) -> grpc.aio.Server:
        limits = self._config.server
        server = grpc.aio.server(
            interceptors=[
                MethodTable(),
                ErrorInterceptor(),
                RequestInterceptor(RECOMMENDATION.full_name, self._metrics, self._tracing),
                RequestInterceptor(KNOWLEDGE.full_name, self._metrics, self._tracing),
                TenantInterceptor(self._security.identity),
                DecodeInterceptor(),
            ],
            options=(
                ("grpc.so_reuseport", 0),  # else a second server would take half of this one's callers
                ("grpc.max_receive_message_length", limits.max_request_bytes),
                ("grpc.max_send_message_length", 64 << 20),
                # Two limits in gRPC: between them it refuses at random.
                ("grpc.max_metadata_size", limits.max_metadata_bytes),
                ("grpc.absolute_max_metadata_size", limits.max_metadata_bytes),
                ("grpc.max_concurrent_streams", limits.max_streams),
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
                ("grpc.keepalive_permit_without_calls", 1),
                *_connection_age(limits),
            ),
        )
        self._observe(server)
        self._add_recommendations(server)
        self._add_texts(server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        health = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
        names = [*self._services, health, reflection.SERVICE_NAME]
        if self._config.telemetry.status == "on":
            names.append(STATUS)
        reflection.enable_server_reflection(names, server)
        return server

    def _kept_up(self) -> Upkeep:
        """What follows all that may change while the front runs."""
        upkeep = Upkeep(lambda: self._now.server.reload_interval_s, self._give_up)
        for each in self._security.kept:
            upkeep.add(each.name, each.look_apart)
        if self._source is not None and self._source.file is not None:
            told = self._reloads.of("config")
            config = ConfigReload(self._source, self._source.file, self._running, self._configure, told)
            upkeep.add("config", config.look)
        if self._editions is not None:
            told, edit = self._reloads.of("catalog"), self._rules.renew
            parts = (self._bundle, self._tokenizer, self._items, self._editions, self._fleet, self._sockets)
            upkeep.add("catalog", CatalogReload(*parts, edit, told).look)
        return upkeep

    @property
    def _now(self) -> Config:
        """The settings in force."""
        return self._running.now

    def _configure(self, config: Config) -> None:
        """Put settings in force, all at once."""
        self._running.now = config
        self._rules.renew()
        self._admission.configure(config.admission, config.limits.max_in_flight)

    def _add_recommendations(self, server: grpc.aio.Server) -> None:
        if self._editions is None:
            add_absent(server, RECOMMENDATION, "the sidecar's bundle has no [catalog]")
            return
        guesses = Guesses(self._fleet.has_spare_cores)
        loop = Loop(self._fleet.replicas, self._fleet.draft, SCORINGS[self._bundle.scoring], guesses)
        rules = lambda: self._rules.items  # noqa: E731
        service = RecommendationService(loop, self._admission, rules, self._editions, self._running)
        recommendation_pb2_grpc.add_RecommendationServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
        self._services.append(RECOMMENDATION.full_name)

    def _add_texts(self, server: grpc.aio.Server) -> None:
        if self._bundle.texts is None:
            add_absent(server, KNOWLEDGE, "the sidecar's bundle has no [texts]")
            return
        attempts = self._config.supervision.request_attempts
        loop = TextLoop(self._fleet.replicas, self._fleet.learner, self._tokenizer, attempts)
        service = KnowledgeService(loop, self._admission, lambda: self._rules.texts, self._running)
        knowledge_pb2_grpc.add_KnowledgeServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
        self._services.append(KNOWLEDGE.full_name)
        self._metrics.expect("Generate", "", "exact")
        self._metrics.expect_texts()

    def _observe(self, server: grpc.aio.Server) -> None:
        """Let metrics and status look at everything."""
        scoring, draining = self._bundle.scoring, lambda: self._draining
        condition = Condition(self._fleet, self._admission, self._editions, scoring, self._reloads, draining)
        self._metrics.add(condition.samples)
        if self._editions is not None:
            self._metrics.expect("Recommend", "beam", "strict")
            self._metrics.expect_depths(self._editions.current.catalog.depth - 1)
        for worker in condition.workers():
            if worker.kind == status_pb2.WORKER_KIND_TARGET:
                self._metrics.expect_worker(worker.name)
        if self._config.telemetry.status == "on":
            service = StatusService(condition, self._metrics)
            status_pb2_grpc.add_StatusServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]

    def _expose(self, stack: AsyncExitStack) -> None:
        """Serve metrics, if asked to, until the stack is left."""
        if not self._config.telemetry.listen:
            return
        from sidebeam.telemetry.exposition import AddressError, exposed

        try:
            address = stack.enter_context(exposed(self._metrics, self._config.telemetry.listen))
        except AddressError as error:
            raise StartError(str(error), 2) from error
        structlog.get_logger().info("metrics_listening", address=address)

    async def _answer_probes(self, stack: AsyncExitStack) -> None:
        """Tell health, and nothing else, at an address of its own, if asked to, until the stack is left."""
        if not self._config.server.health_listen:
            return
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", 1024)))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        address = listen(server, self._config.server.health_listen)
        await server.start()
        stack.push_async_callback(server.stop, None)
        structlog.get_logger().info("health_listening", address=address)

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
                version = None if self._editions is None else self._editions.current.catalog.version
                structlog.get_logger().info(
                    "serving", address=address, services=self._services, catalog_version=version
                )
                print(f"sidebeam: serving on {address}", flush=True)

    async def _publish(self) -> None:
        serving = self._fleet.replicas.any_ready and not self._draining
        self._health.set(("", *self._services), STATES.SERVING if serving else STATES.NOT_SERVING)
        self._health.set((LIVENESS,), STATES.SERVING)

    def _on_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)

    def _hang_up(self) -> None:
        if not self._upkeep.hang_up():
            self._stop(signal.SIGHUP)

    def _stop(self, number: int) -> None:
        """The first signal drains, the second ends everything at once."""
        if self._ended.done():
            self._fleet.kill()
            os._exit(128 + number)
        self._ended.set_result(None)

    async def _drain(self, server: grpc.aio.Server) -> None:
        limits = self._now.server
        structlog.get_logger().info("draining", delay_s=limits.drain_delay_s, timeout_s=limits.drain_timeout_s)
        self._draining = True
        await self._publish()
        await asyncio.sleep(limits.drain_delay_s)
        await server.stop(limits.drain_timeout_s)
        structlog.get_logger().info("drained")


def _connection_age(settings: ServerConfig) -> tuple[tuple[str, int], ...]:
    if not settings.max_connection_age_s:
        return ()
    return (
        ("grpc.max_connection_age_ms", max(1, round(settings.max_connection_age_s * 1000))),
        ("grpc.max_connection_age_grace_ms", round(settings.connection_grace_s * 1000)),
    )


def _pools(bundle: Bundle, config: Config) -> Path | None:
    """Where earlier texts are, if anywhere. Raises BundleError if they would be of no use."""
    if bundle.texts is None:
        if config.texts.pools:
            raise BundleError(bundle.root, [f"it has no [texts], so pools are of no use; given {config.texts.pools}"])
        return None
    return Path(config.texts.pools).resolve() if config.texts.pools else bundle.texts.pools


async def serve(bundle: Path, config: Config, source: ConfigSource | None = None) -> None:
    """Open a bundle and serve it; `source` is where `config` came from. Raises BundleError or StartError."""
    settings = config.telemetry
    try:
        tracing = open_tracing(settings.traces, "front", settings.trace_share)
    except TracingError as error:
        raise StartError(str(error), 2) from error
    try:
        with socket_folder() as sockets:
            await Application(Bundle.open(bundle), config, source, sockets, tracing).run()
    except (TlsError, TenantsError, SocketFolderError, ListenError) as error:
        raise StartError(str(error), 2) from error
    finally:
        if tracing is not None:
            tracing.close()
