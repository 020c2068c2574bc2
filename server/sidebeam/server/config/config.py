"""What an operator can set: one frozen dataclass for each section of the file. Every default says why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Rule:
    """What a value must satisfy beyond its type."""

    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    live: bool = False  # whether a change is taken over while the sidecar runs; others need a restart


def _within(default: float, low: float, high: float | None = None, *, live: bool = False) -> Any:
    return field(default=default, metadata={"rule": Rule(low, high, live=live)})


def _one_of(default: str, *choices: str, live: bool = False) -> Any:
    return field(default=default, metadata={"rule": Rule(choices=choices, live=live)})


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """The public endpoint."""

    # A sidecar serves its own host or pod: nothing else can reach the loopback address.
    listen: str = "127.0.0.1:50051"
    # A history and 100,000 exclusions of ten characters take about 1.2 MB.
    max_request_bytes: int = _within(4 << 20, 1024, 256 << 20)
    # For callers that set none: a hundred times what an answer takes, so it ends only what is lost.
    default_deadline_s: float = _within(10.0, 0.001, live=True)
    # What is kept of a deadline to send what is known by then: the way to the caller, on a host whose cores are busy.
    cut_margin_ms: float = _within(12.0, 0.0, 10_000.0, live=True)
    # Of one request; ours are some hundred bytes. A token of an identity provider may take some thousand.
    max_metadata_bytes: int = _within(16 << 10, 1024, 1 << 20)
    # Calls at a time on one connection; a client lets the ones above wait, on its side. A watcher of health takes one.
    max_streams: int = _within(1000, 1, 1_000_000)
    # Who may connect to a Unix socket that is listened on: the owner alone, or its group, for a pod whose containers
    # have different users.
    socket_mode: str = _one_of("600", "600", "660", "666")
    # After about this time a connection is ended, and its client looks up the address again; 0: never, for a sidecar's
    # only caller is local. Behind a headless Service clients find new replicas only so.
    max_connection_age_s: float = _within(0.0, 0.0, 86_400.0)
    # For the calls on it to finish: twice the longest default deadline.
    connection_grace_s: float = _within(120.0, 0.0, 86_400.0)
    # HOST:PORT where health alone is told, without TLS; empty: none. Kubernetes' probes speak no TLS.
    health_listen: str = ""
    # How often the files of certificates, tenants, catalog and settings are looked at: a changed secret or ConfigMap
    # comes to a pod within a minute.
    reload_interval_s: float = _within(10.0, 0.05, live=True)
    # What endpoints need to learn of NOT_SERVING; a sidecar's only caller is local, and needs nothing.
    drain_delay_s: float = _within(0.0, 0.0, live=True)
    # Longer than the default deadline would keep streams open that no one reads any more.
    drain_timeout_s: float = _within(10.0, 0.0, live=True)


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Files in PEM form. Certificates and keys that are changed later are taken over without a restart."""

    # With those between it and its authority, if there are any; empty: no TLS, for a sidecar's callers are its own pod.
    certificate: str = ""
    # Of the certificate, without a passphrase.
    key: str = ""
    # Callers must show a certificate that one of these has signed; empty: they need none.
    client_ca: str = ""


@dataclass(frozen=True, slots=True)
class TenantsConfig:
    """On whose behalf calls are made."""

    # Tokens' hashes and certificates' names of each tenant; only they are let in. Empty: everybody is, under the name
    # of the client certificate, if there is one.
    file: str = ""


@dataclass(frozen=True, slots=True)
class TargetConfig:
    """The target workers."""

    # One process batches all requests; more of them pay only with more devices.
    replicas: int = _within(1, 1, 64)
    # 0: the cores that this process may use (its affinity, its container's CPU limit), less one for the front, shared
    # among the replicas. A pass is compute-bound on a CPU; with the front's core, too, overload would slow all of it.
    threads: int = _within(0, 0, 1024)
    # Requests that hold KV at once: enough to fill a pass, little enough to bound memory.
    slots: int = _within(16, 1, 4096)
    device: str = "cpu"
    # Answers equal transformers' own in float32; bfloat16 is what GPUs are fast in.
    dtype: str = _one_of("float32", "float32", "bfloat16", "float16")
    # 0: the model's positions, up to 512. KV memory grows with it.
    max_prompt_tokens: int = _within(0, 0)
    # Accelerate's max_memory as JSON, {"0": "20GiB", "cpu": "64GiB"}; empty: all on `device`.
    max_memory: str = ""
    # Workers run elsewhere, as host:port or unix:/path; with any, none is started here.
    addresses: list[str] = field(default_factory=list)
    # A draft asked for between passes; a pass of tens of rows takes about as long.
    draft_wait_ms: float = _within(20.0, 0.0, 10_000.0)


@dataclass(frozen=True, slots=True)
class DraftConfig:
    """The draft worker."""

    # off: no draft worker is started, and nothing is drafted for any request.
    mode: str = _one_of("auto", "auto", "off")
    # The draft is small: more threads cost more in hand-over than they save.
    threads: int = _within(1, 1, 1024)
    slots: int = _within(16, 1, 4096)
    device: str = "cpu"
    dtype: str = _one_of("float32", "float32", "bfloat16", "float16")
    # A worker run elsewhere; with it, none is started here.
    address: str = ""
    # Before the first pass: some times what a draft takes. A later one does not pay any more.
    first_wait_ms: float = _within(50.0, 0.0, 10_000.0, live=True)
    # After a draft that was too late, none is waited for this long: a worker that hangs costs little.
    pause_ms: float = _within(1000.0, 0.0, live=True)
    # Drafts are hints, target passes are not: where cores are scarce the target goes first, once drafts are served.
    nice: int = _within(10, 0, 19)
    # auto: always where a core is left for the draft worker; else a guess would slow down the target, and is made
    # only for a request that comes after quiet_ms without any.
    provisional: str = _one_of("auto", "auto", "always", "off", live=True)
    # Some times what an answer takes: callers that wait for each other's answers never leave such a gap.
    quiet_ms: float = _within(100.0, 0.0, live=True)
    # Guesses that are made at a time; under load drafts for first passes go before them.
    provisional_streams: int = _within(1, 1, 4096, live=True)


@dataclass(frozen=True, slots=True)
class TextsConfig:
    """Texts about users and items, of bundles that have [texts]."""

    # A folder of earlier texts to draft from; empty: the bundle's, if it names one. Made by the first text learned.
    pools: str = ""
    # For callers that set none: a text takes tens of passes where an answer takes a few.
    default_deadline_s: float = _within(60.0, 0.001, live=True)


@dataclass(frozen=True, slots=True)
class LimitsConfig:
    """What one request may ask for."""

    # A beam of 1,000 fills several passes; beyond that a batch job is meant.
    max_top_k: int = _within(1000, 1, live=True)
    # The bundle's max_history is used; callers may send longer ones, but not without bound.
    max_history_items: int = _within(10_000, 1, live=True)
    # Sixteen characters for each of 4,096 tokens; tokenizing that many takes some tens of milliseconds.
    max_prompt_chars: int = _within(65_536, 1, live=True)
    # A user's whole past, or a shop's out-of-stock list; bounded by max_request_bytes as well.
    max_excluded_items: int = _within(500_000, 0, live=True)
    # A KV slot holds 640 tree nodes: three levels of 200.
    max_draft_beams: int = _within(200, 1, live=True)
    # Sixteen times the slots of one replica: the last in line waits for about sixteen answers.
    max_in_flight: int = _within(256, 1, live=True)


@dataclass(frozen=True, slots=True)
class AdmissionConfig:
    """Who may come in, and how many at a time."""

    # Far above what a replica answers: it stops callers that ran away, not callers that are many.
    requests_per_second: int = _within(1000, 1, 1_000_000, live=True)
    # For each tenant that a certificate or a token names; 0: only the ceiling of all.
    tenant_requests_per_second: int = _within(0, 0, 1_000_000, live=True)
    # Requests that are worked on at once; fewer where deadlines are missed. 0: the KV slots of all target workers.
    max_concurrent: int = _within(0, 0, 65_536, live=True)
    # For the rate ceilings and a permit together. Waiting longer than an answer takes helps no one.
    max_wait_ms: float = _within(100.0, 0.0, live=True)


@dataclass(frozen=True, slots=True)
class SupervisionConfig:
    """How workers are watched and restarted."""

    # A worker that answers nothing for this long hangs; the longest pass takes about a second.
    heartbeat_timeout_s: float = _within(15.0, 0.1)
    heartbeat_interval_s: float = _within(2.0, 0.05)
    # The first restart is at once, a crash loop slows down to one in 30 s.
    restart_first_s: float = _within(0.1, 0.0)
    restart_most_s: float = _within(30.0, 0.1)
    # A worker that ran this long was not in a crash loop.
    stable_after_s: float = _within(60.0, 0.0)
    # A target that never became ready after so many starts is given up, and the front with it.
    start_attempts: int = _within(3, 1)
    # What a worker gets to end by itself before it is killed.
    stop_grace_s: float = _within(5.0, 0.0)
    # How often a request may be replayed: one that kills its worker must not kill them all.
    request_attempts: int = _within(3, 1)


@dataclass(frozen=True, slots=True)
class LogConfig:
    """Logs, on stderr."""

    format: str = _one_of("auto", "auto", "console", "json")
    level: str = _one_of("info", "debug", "info", "warning", "error")


@dataclass(frozen=True, slots=True)
class TelemetryConfig:
    """What is told about the sidecar while it runs, beside its logs."""

    # HOST:PORT of Prometheus' /metrics; empty: none. Off, for a port that nobody asked for is one too many.
    listen: str = ""
    # An OTLP collector's gRPC address, http://127.0.0.1:4317; empty: no traces. Needs the extra `tracing`.
    traces: str = ""
    # Of requests whose caller says nothing about it; a caller's own traceparent decides for its request.
    trace_share: float = _within(1.0, 0.0, 1.0)
    # Whether StatusService answers: callers who may ask for items may also see workers and load.
    status: str = _one_of("on", "on", "off")


@dataclass(frozen=True, slots=True)
class Config:
    """Everything. Sections are named as in the file and in the environment, `SIDEBEAM_SECTION__KEY`."""

    server: ServerConfig = field(default_factory=ServerConfig)
    tls: TlsConfig = field(default_factory=TlsConfig)
    tenants: TenantsConfig = field(default_factory=TenantsConfig)
    target: TargetConfig = field(default_factory=TargetConfig)
    draft: DraftConfig = field(default_factory=DraftConfig)
    texts: TextsConfig = field(default_factory=TextsConfig)
    limits: LimitsConfig = field(default_factory=LimitsConfig)
    admission: AdmissionConfig = field(default_factory=AdmissionConfig)
    supervision: SupervisionConfig = field(default_factory=SupervisionConfig)
    log: LogConfig = field(default_factory=LogConfig)
    telemetry: TelemetryConfig = field(default_factory=TelemetryConfig)
