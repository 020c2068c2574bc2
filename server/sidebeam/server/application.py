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
from grpc_reflection.v1alpha import reflection

from sidebeam.bundle import Bundle, BundleError, PromptBuilder, Tokenizer, open_catalog
from sidebeam.catalog import Catalog
from sidebeam.knowledge.tokenizer import tokenizer_fingerprint
from sidebeam.server.admission.admission import Admission
from sidebeam.server.config.config import Config, ServerConfig
from sidebeam.server.fleet.fleet import Fleet
from sidebeam.server.interception.decode_interceptor import DecodeInterceptor
from sidebeam.server.interception.error_interceptor import ErrorInterceptor
from sidebeam.server.interception.request_interceptor import RequestInterceptor
from sidebeam.server.interception.tenant_interceptor import TenantInterceptor
from sidebeam.server.knowledge.knowledge_service import KnowledgeService
from sidebeam.server.knowledge.text_loop import TextLoop
from sidebeam.server.knowledge.text_validation import TextRules
from sidebeam.server.lifecycle import background
from sidebeam.server.lifecycle.listening import ListenError, listen
from sidebeam.server.lifecycle.socket_folder import SocketFolderError, socket_folder
from sidebeam.server.recommendation.guesses import Guesses
from sidebeam.server.recommendation.loop import Loop
from sidebeam.server.recommendation.ranking import Ranking
from sidebeam.server.recommendation.recommendation_service import RecommendationService
from sidebeam.server.recommendation.validation import Rules
from sidebeam.server.refusals.findings import PromptRules
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
from sidebeam.worker.v1 import tree_pb2

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
    """One front server. Opening it reads the bundle and what secures it; raises BundleError, TlsError, TenantsError."""

    def __init__(self, bundle: Bundle, config: Config, sockets: Path, tracing: Tracing | None) -> None:
        self._config = config
        self._security = Security(config)
        self._bundle = bundle
        self._tokenizer = Tokenizer.open(bundle.tokenizer)
        self._catalog = None if bundle.items is None else open_catalog(bundle, self._tokenizer)
        self._rules: Rules | None = None
        self._text_rules: TextRules | None = None
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
            "" if self._catalog is None else self._catalog.version,
            tokenizer_fingerprint(bundle.tokenizer),
            _pools(bundle, config),
            self._describe,
            self._update,
            self._give_up,
        )

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises StartError if that is not possible."""
        server = self._server()
        await self._publish()
        settings = self._config.server
        address = listen(server, settings.listen, self._security.credentials, settings.socket_mode)
        async with AsyncExitStack() as stack:
            self._expose(stack)
            await self._answer_probes(stack)
            stack.enter_context(self._security.kept(self._give_up))
            await server.start()
            structlog.get_logger().info("listening", address=address)
            self._on_signals()
            stack.push_async_callback(server.stop, None)
            await stack.enter_async_context(self._fleet)
            announcing = background.begin("the health service", self._announce(address), self._give_up)
            stack.callback(announcing.cancel)
            await self._ended
            await self._drain(server)

    def _server(self) -> grpc.aio.Server:
        limits = self._config.server
        server = grpc.aio.server(
            interceptors=[
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
                ("grpc.keepalive_time_ms", 60_000),
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
                ("grpc.keepalive_permit_without_calls", 1),
                *_connection_age(limits),
            ),
        )
        admission = Admission(self._config.admission, self._config.limits.max_in_flight, self._fleet.slots)
        self._observe(admission, server)
        self._add_recommendations(server, admission)
        self._add_texts(server, admission)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        health = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
        names = [*self._services, health, reflection.SERVICE_NAME]
        if self._config.telemetry.status == "on":
            names.append(STATUS)
        reflection.enable_server_reflection(names, server)
        return server

    def _add_recommendations(self, server: grpc.aio.Server, admission: Admission) -> None:
        if self._catalog is None:
            add_absent(server, RECOMMENDATION, "the sidecar's bundle has no [catalog]")
            return
        ranking = Ranking(self._catalog, PromptBuilder(self._bundle.prompt, self._tokenizer, self._catalog))
        scoring = SCORINGS[self._bundle.scoring]
        guesses = Guesses(self._config.draft, self._fleet.has_spare_cores)
        loop = Loop(self._fleet.replicas, self._fleet.draft, self._catalog, ranking, scoring, self._config, guesses)
        service = RecommendationService(loop, admission, lambda: self._rules, ranking, self._config)
        recommendation_pb2_grpc.add_RecommendationServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
        self._services.append(RECOMMENDATION.full_name)

    def _add_texts(self, server: grpc.aio.Server, admission: Admission) -> None:
        if self._bundle.texts is None:
            add_absent(server, KNOWLEDGE, "the sidecar's bundle has no [texts]")
            return
        attempts = self._config.supervision.request_attempts
        loop = TextLoop(self._fleet.replicas, self._fleet.learner, self._tokenizer, attempts)
        service = KnowledgeService(loop, admission, lambda: self._text_rules, self._config)
        knowledge_pb2_grpc.add_KnowledgeServiceServicer_to_server(service, server)  # type: ignore[no-untyped-call]
        self._services.append(KNOWLEDGE.full_name)
        self._metrics.expect("Generate", "", "exact")
        self._metrics.expect_texts()

    def _observe(self, admission: Admission, server: grpc.aio.Server) -> None:
        """Let metrics and status look at everything."""
        scoring = self._bundle.scoring
        condition = Condition(self._fleet, admission, self._catalog, scoring, lambda: self._draining)
        self._metrics.add(condition.samples)
        if self._catalog is not None:
            self._metrics.expect("Recommend", "beam", "strict")
            self._metrics.expect_depths(self._catalog.depth - 1)
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

    def _describe(self, info: tree_pb2.WorkerInfo) -> None:
        """Take a target's limits into account; replicas may differ, and any of them must hold every prompt."""
        if self._catalog is not None:
            self._rules = self._rules or self._rules_of(self._catalog, info)
            shortest = min(self._rules.max_prompt_tokens, info.max_prompt_tokens)
            self._rules = replace(self._rules, max_prompt_tokens=shortest)
        if self._bundle.texts is not None:
            rules = self._text_rules_of(info)
            if (before := self._text_rules) is not None:
                shortest = min(before.of_prompts.max_tokens, rules.of_prompts.max_tokens)
                prompts = replace(rules.of_prompts, max_tokens=shortest)
                rules = replace(
                    rules, of_prompts=prompts, max_new_tokens=min(before.max_new_tokens, rules.max_new_tokens)
                )
            self._text_rules = rules

    def _rules_of(self, catalog: Catalog, info: tree_pb2.WorkerInfo) -> Rules:
        return Rules(
            catalog=catalog,
            prompts=PromptBuilder(self._bundle.prompt, self._tokenizer, catalog),
            defaults=self._bundle.defaults,
            limits=self._config.limits,
            vocab_size=info.vocab_size,
            max_prompt_tokens=info.max_prompt_tokens,
        )

    def _text_rules_of(self, info: tree_pb2.WorkerInfo) -> TextRules:
        prompts = PromptRules(
            self._tokenizer.encode,
            self._config.limits.max_prompt_chars,
            info.texts.max_prompt_tokens,
            info.vocab_size,
        )
        missing = "it has no pools" if self._config.draft.mode == "auto" else "it drafts nothing"
        unable = "" if self._fleet.learner is not None else f"this sidecar cannot learn, for {missing}"
        return TextRules(prompts, info.texts.max_new_tokens, unable)

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
                version = None if self._catalog is None else self._catalog.version
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


async def serve(bundle: Path, config: Config) -> None:
    """Open a bundle and serve it. Raises BundleError or StartError."""
    settings = config.telemetry
    try:
        tracing = open_tracing(settings.traces, "front", settings.trace_share)
    except TracingError as error:
        raise StartError(str(error), 2) from error
    try:
        with socket_folder() as sockets:
            await Application(Bundle.open(bundle), config, sockets, tracing).run()
    except (TlsError, TenantsError, SocketFolderError, ListenError) as error:
        raise StartError(str(error), 2) from error
    finally:
        if tracing is not None:
            tracing.close()
