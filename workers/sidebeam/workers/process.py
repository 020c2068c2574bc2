"""The life of a worker process: a quiet environment, a gRPC server once the model is warm, and a prompt end."""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

import grpc
import structlog
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer

from sidebeam.cores import give_way
from sidebeam.line import MAX_MESSAGE_BYTES
from sidebeam.logs import configure
from sidebeam.tracing import Tracing, TracingError, open_tracing

UNFIT = 2  # exit code: bundle, model or flags do not fit; starting again cannot help
STOP_GRACE_S = 1.0  # the front has drained its requests before it stops a worker
LIVENESS = "liveness"  # what the front's health service calls the process alone, too

T = TypeVar("T")

Drain = Callable[[], Awaitable[None]]
"""Has what is served beside the gRPC server end in peace."""

Register = Callable[[grpc.aio.Server, Callable[[], None]], Drain | None]
"""Adds a service to a server; the second argument ends the process, for a service that cannot go on."""


def prepare(args: argparse.Namespace) -> None:
    """Set what must be set before torch is imported; watch the lifeline from here on."""
    os.environ["OMP_NUM_THREADS"] = str(args.threads)
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    configure(args.log_format, args.log_level, args.name)
    if args.lifeline:
        threading.Thread(target=_follow_parent, name="lifeline", daemon=True).start()


def load(work: Callable[[], T], thread: ThreadPoolExecutor) -> T:
    """What `work` loads and warms up in that thread. If it fails, the log says why, and SystemExit is raised."""
    try:
        return thread.submit(work).result()
    except ValueError as error:  # of the bundle, the model or the flags: they are worded for users
        structlog.get_logger().error("worker_unfit", reason=str(error))
        raise SystemExit(UNFIT) from error
    except Exception as error:
        structlog.get_logger().exception("worker_failed")
        raise SystemExit(1) from error


@contextmanager
def traced(args: argparse.Namespace) -> Iterator[Tracing | None]:
    """This process's tracing, if its flags ask for it; what is left is sent when the block ends.

    Raises SystemExit, after a word in the log, if there can be none.
    """
    try:
        tracing = open_tracing(args.traces, args.name, 1.0)  # the front decides: it says what belongs to which trace
    except TracingError as error:
        structlog.get_logger().error("worker_unfit", reason=str(error))
        raise SystemExit(UNFIT) from error
    try:
        yield tracing
    finally:
        if tracing is not None:
            tracing.close()


def serve(args: argparse.Namespace, register: Register) -> int:
    """Serve until SIGTERM or until the service gives up. Returns the exit code."""
    return asyncio.run(_serve(args.listen, args.nice, register))


async def _serve(listen: str, nice: int, register: Register) -> int:
    stop = asyncio.Event()
    failed = False

    def fail() -> None:
        nonlocal failed
        failed = True
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    options = (
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 5_000),
    )
    server = grpc.aio.server(options=options)
    drain = register(server, fail)
    health = await _healthy(server)
    log = structlog.get_logger()
    try:
        _bind(server, listen)
    except (OSError, RuntimeError) as error:
        log.error("cannot_listen", address=listen, reason=str(error))
        return UNFIT
    await server.start()
    give_way(nice)  # not before: a worker that starts is waited for
    gc.freeze()  # the model's objects never become garbage: keep the collector from walking them
    log.info("worker_ready", address=listen)
    await stop.wait()
    await health.enter_graceful_shutdown()
    if drain is not None:
        with suppress(TimeoutError):
            await asyncio.wait_for(drain(), STOP_GRACE_S)
    await server.stop(STOP_GRACE_S)
    log.info("worker_stopped")
    return 1 if failed else 0


async def _healthy(server: grpc.aio.Server) -> HealthServicer:
    """Tell Kubernetes' probes. A worker listens only once its model is loaded and warm, so it serves from the start."""
    health = HealthServicer()
    for name in ("", LIVENESS):
        await health.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    return health


def _bind(server: grpc.aio.Server, listen: str) -> None:
    if not listen.startswith("unix:"):
        server.add_insecure_port(listen)
        return
    path = Path(listen.removeprefix("unix:"))
    with own_socket(path):
        server.add_insecure_port(listen)


@contextmanager
def own_socket(path: Path) -> Iterator[None]:
    """For the block that binds a Unix socket there: only the owner may connect to it. Raises OSError."""
    path.unlink(missing_ok=True)  # of a process that was killed
    mask = os.umask(0o177)
    try:
        yield
    finally:
        os.umask(mask)


def _follow_parent() -> None:
    """The parent holds the other end of standard input; the kernel closes it however the parent dies."""
    while os.read(0, 1024):
        pass
    os._exit(0)
