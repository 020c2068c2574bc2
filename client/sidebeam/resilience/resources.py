"""What a sidecar holds: memory and file descriptors of each of its processes, and KV slots."""

from __future__ import annotations

from dataclasses import dataclass

from sidebeam.resilience.process import family
from sidebeam.v1 import status_pb2 as pb

MEBI = 1 << 20


@dataclass(frozen=True, slots=True)
class Resources:
    """By process: "front", and workers by their names. `slots` are those that hold a request."""

    resident_mib: dict[str, float]
    open_files: dict[str, int]
    slots: int

    @classmethod
    def of(cls, front: int, status: pb.GetStatusResponse) -> Resources:
        """Of the sidecar whose front has that process number, at this moment. Raises OSError if a process ended."""
        processes = family(front)
        return cls(
            {name: process.resident_bytes / MEBI for name, process in processes.items()},
            {name: process.open_files for name, process in processes.items()},
            slots_in_use(status),
        )


def slots_in_use(status: pb.GetStatusResponse) -> int:
    """Of all workers, as the front counts them."""
    return sum(worker.in_flight for worker in status.workers)
