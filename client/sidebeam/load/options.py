"""What the command line asks for, checked."""

from __future__ import annotations

import argparse
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidebeam.command.connection import Connection, ConnectionOptionError
from sidebeam.command.connection import connection as connection_of
from sidebeam.load.caller import Metadata
from sidebeam.load.error import LoadError
from sidebeam.load.rule import KNEE, Rule
from sidebeam.load.step import StepPlan

MOST_RATE = 10_000.0
MOST_ARRIVALS = 1_000_000  # of a step; about 0.3 GB of the client's memory
MOST_DURATION_S = 86_400.0
MOST_CONCURRENCY = 1_000
MOST_STEPS = 20
MOST_TIMEOUT_MS = 600_000.0
MOST_IN_FLIGHT = 100_000
MOST_CONNECTIONS = 100

_KEY = re.compile(r"[a-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class Options:
    """A run as it was asked for; every number is within its limits."""

    connection: Connection
    mix: Path | None
    interactions: Path | None
    top_k: int | None
    final_only: bool
    steps: tuple[StepPlan, ...]
    timeout_ms: float
    connections: int
    metadata: Metadata
    seed: int
    slo_ms: float | None
    rules: tuple[Rule, ...]
    report: Path | None
    settings: dict[str, Any]

    @classmethod
    def read(cls, args: argparse.Namespace) -> Options:
        """Check what argparse has read. Raises LoadError naming the option, the value and the limit."""
        _check_asking(args)
        connection = _connection(args)
        for option, low, high in LIMITS:
            _check(option, getattr(args, option.strip("-").replace("-", "_")), low, high)
        rules = tuple(Rule.parse(text) for text in args.fail_if)
        for rule in rules:
            if rule.needs_slo and args.slo_ms is None:
                raise LoadError(f"--fail-if {rule.text!r}: {rule.figure} needs --slo-ms, which says what is good")
            if rule.figure == KNEE and args.sweep is None:
                raise LoadError(f"--fail-if {rule.text!r}: a knee needs --sweep")
        metadata = _metadata(args, connection)
        settings = {name: _plain(value) for name, value in vars(args).items() if name != "metadata"}
        settings["metadata_keys"] = [key for key, _ in metadata]  # values may be secrets
        return cls(
            connection=connection,
            mix=args.mix,
            interactions=args.interactions,
            top_k=args.top_k,
            final_only=args.final_only,
            steps=_steps(args),
            timeout_ms=args.timeout_ms,
            connections=args.connections,
            metadata=metadata,
            seed=args.seed,
            slo_ms=args.slo_ms,
            rules=rules,
            report=args.report,
            settings=settings,
        )


# Option, what it must be above or at least (a whole number: at least), and the most.
LIMITS: Sequence[tuple[str, float, float]] = (
    ("--rate", 0.0, MOST_RATE),
    ("--concurrency", 1, MOST_CONCURRENCY),
    ("--duration-s", 0.0, MOST_DURATION_S),
    ("--timeout-ms", 0.0, MOST_TIMEOUT_MS),
    ("--slo-ms", 0.0, MOST_TIMEOUT_MS),
    ("--max-in-flight", 1, MOST_IN_FLIGHT),
    ("--connections", 1, MOST_CONNECTIONS),
    ("--top-k", 1, 2**32 - 1),
)


def _check(option: str, value: float | None, low: float, high: float) -> None:
    if value is None:
        return
    whole = isinstance(low, int)
    if math.isfinite(value) and (low <= value if whole else low < value) and value <= high:
        return
    least = f"at least {low}" if whole else f"above {low:g}"
    raise LoadError(f"{option} must be {least} and at most {high:g}; given {value:g}")


def _check_asking(args: argparse.Namespace) -> None:
    if args.mix is None and args.interactions is None:
        raise LoadError("nothing to ask: give --mix FILE with requests, --interactions FILE with histories, or both")
    for option, value in (("--top-k", args.top_k is not None), ("--final-only", args.final_only)):
        if value and args.mix is not None:
            raise LoadError(f"{option} goes with --interactions alone; in a --mix each request says it itself")


def _connection(args: argparse.Namespace) -> Connection:
    if not args.address.strip() or any(letter.isspace() for letter in args.address):
        raise LoadError(f"--address must be HOST:PORT or unix:/path; given {args.address!r}")
    try:
        return connection_of(args)
    except ConnectionOptionError as error:
        raise LoadError(str(error)) from error


def _steps(args: argparse.Namespace) -> tuple[StepPlan, ...]:
    if not 0 <= args.warm_up_s <= MOST_DURATION_S:
        raise LoadError(f"--warm-up-s must be at least 0 and at most {MOST_DURATION_S:g}; given {args.warm_up_s:g}")
    if args.concurrency is not None and args.arrivals is not None:
        raise LoadError("--arrivals goes with an open loop; --concurrency asks again as soon as it is answered")
    rates: list[float | None] = list(_sweep(args.sweep)) if args.sweep is not None else [args.rate]
    for rate in rates:
        total = (rate or 0.0) * (args.duration_s + args.warm_up_s)
        if total > MOST_ARRIVALS:
            raise LoadError(
                f"a rate of {rate:g} for --duration-s {args.duration_s:g} and --warm-up-s {args.warm_up_s:g} makes "
                f"{total:,.0f} arrivals; at most {MOST_ARRIVALS:,} are kept"
            )
    return tuple(
        StepPlan(
            rate=rate,
            concurrency=args.concurrency,
            arrivals=args.arrivals or "poisson",
            warm_up_s=args.warm_up_s,
            duration_s=args.duration_s,
            max_in_flight=args.max_in_flight,
            seed=f"{args.seed} {i}",
        )
        for i, rate in enumerate(rates)
    )


def _sweep(text: str) -> list[float]:
    try:
        rates = [float(word) for word in text.split(",")]
    except ValueError:
        raise LoadError(f"--sweep must be rates with commas between them, such as 10,20,40; given {text!r}") from None
    if not 2 <= len(rates) <= MOST_STEPS:
        raise LoadError(f"--sweep must have 2 to {MOST_STEPS} rates; given {len(rates)}")
    for rate in rates:
        _check("--sweep: each rate", rate, 0.0, MOST_RATE)
    if any(rate >= following for rate, following in itertools.pairwise(rates)):
        raise LoadError(f"--sweep must have ascending rates; given {text!r}")
    return rates


def _metadata(args: argparse.Namespace, connection: Connection) -> Metadata:
    pairs = list(connection.metadata)
    for text in args.metadata:
        key, sign, value = text.partition("=")
        if not sign or not _KEY.fullmatch(key) or key.startswith("grpc-") or key.endswith("-bin"):
            allowed = "lower-case letters, digits, '-', '_' and '.', neither 'grpc-...' nor '...-bin'"
            raise LoadError(f"--metadata must be KEY=VALUE with a key of {allowed}; given {text!r}")
        if key == "x-request-id":
            raise LoadError("--metadata x-request-id: each request gets an id of its own; reports name the slowest")
        if key in dict(connection.metadata):
            raise LoadError(f"--metadata {key} and --token-file both say who asks; give one of them")
        if not value.isascii() or not value.isprintable() or value != value.strip():
            raise LoadError(
                f"--metadata {key}: a value must be printable ASCII without spaces around it; given {value!r}"
            )
        pairs.append((key, value))
    return tuple(pairs)


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value
