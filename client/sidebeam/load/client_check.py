"""Whether the client itself kept up: a late client blames its own delay on the server."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from sidebeam.load.distribution import Distribution
from sidebeam.load.pacer import Pacer

PROBE_S = 0.01
# Up to so late is the machine's ordinary noise, whatever is measured; beyond it, a tenth of the latency is too much.
FLOOR_MS = {50: 1.0, 99: 5.0}
SHARE = 0.1
MOST_CPU = 0.9  # of one core: Python runs on one, and then calls wait for each other


class LoopProbe:
    """Asks the running event loop every 10 ms to note the time, and knows how late it did."""

    def __init__(self) -> None:
        self.late_s: list[float] = []
        start = time.perf_counter()
        self._pacer = Pacer((start + i * PROBE_S for i in itertools.count(1)), self._note)
        self._cpu_s, self._started = time.process_time(), start

    def __enter__(self) -> Self:
        self._pacer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pacer.__exit__(kind, error, trace)

    @property
    def cpu(self) -> float:
        """Cores that this process has kept busy since the probe was made."""
        return (time.process_time() - self._cpu_s) / self.elapsed_s

    @property
    def elapsed_s(self) -> float:
        """Since the probe was made."""
        return time.perf_counter() - self._started

    def restart(self) -> None:
        """Forget what was before, such as a warm-up."""
        self.late_s.clear()
        self._cpu_s, self._started = time.process_time(), time.perf_counter()

    def _note(self, due: float) -> None:
        self.late_s.append(time.perf_counter() - due)


@dataclass(frozen=True, slots=True)
class ClientCheck:
    """How late the client was, in milliseconds, and why the figures must not be trusted, if so.

    `loop_lag` is how late the event loop did what was due, `send_lag` how late requests were sent (open loop only),
    `cpu` the cores that the client kept busy.
    """

    loop_lag: Distribution
    send_lag: Distribution | None
    cpu: float
    reasons: tuple[str, ...]

    @property
    def trusted(self) -> bool:
        """Whether the client was fast enough."""
        return not self.reasons

    @classmethod
    def of(
        cls, loop_lag: Distribution, send_lag: Distribution | None, cpu: float, latency: Distribution
    ) -> ClientCheck:
        """Judge the lags against the `latency` that was measured with them."""
        reasons = [*_late("its event loop ran", loop_lag, latency)]
        if send_lag is not None:
            reasons += _late("requests were sent", send_lag, latency)
        if cpu > MOST_CPU:
            reasons.append(f"it kept {cpu:.2f} of its one core busy; above {MOST_CPU:g} its calls wait for each other")
        return cls(loop_lag, send_lag, cpu, tuple(reasons))


def _late(what: str, lag: Distribution, latency: Distribution) -> Sequence[str]:
    found = []
    for percent, floor_ms in FLOOR_MS.items():
        late_ms = lag.percentile(percent)
        most_ms = max(floor_ms, SHARE * (latency.percentile(percent) or 0.0))
        if late_ms is not None and late_ms > most_ms:
            found.append(f"p{percent} {late_ms:.1f} ms, at most {most_ms:.1f} ms may be")
    return [f"{what} late ({'; '.join(found)})"] if found else []
