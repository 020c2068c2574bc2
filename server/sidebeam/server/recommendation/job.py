"""A request that has been found good, in the words of the workers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from sidebeam.server.config.config import Config
from sidebeam.server.recommendation.edition import Edition
from sidebeam.telemetry.request_record import RequestRecord
from sidebeam.v1 import recommendation_pb2

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Job:
    """What the loop works on. `draft` has a mode and a drafter, and in mode explicit beams and length, too."""

    record: RequestRecord  # what is learned on the way goes there
    config: Config  # those settings and this catalog that were in force when it came
    edition: Edition
    request_id: str
    prompt: list[int]
    top_k: int
    search: recommendation_pb2.Search
    sampling: recommendation_pb2.Sampling | None  # nothing left open; None for strict verification
    excluded_items: Ints | None  # ascending, without repeats
    excluded_leaves: bytes  # ascending little-endian uint32
    draft: recommendation_pb2.DraftSettings
    prompt_ns: int
    admission_ns: int
    arrived_ns: int  # time.perf_counter_ns
    final_only: bool  # nobody wants the events before the answer
    best_so_far: bool  # at the deadline, the caller takes what there is
    deadline: float  # of the event loop's clock, seconds
