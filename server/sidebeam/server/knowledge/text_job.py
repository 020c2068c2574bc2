"""A text that has been found good to write, in the words of the workers."""

from __future__ import annotations

from dataclasses import dataclass

from sidebeam.telemetry.request_record import RequestRecord
from sidebeam.v1 import knowledge_pb2


@dataclass(frozen=True, slots=True)
class TextJob:
    """What the text loop works on; nothing is left open but a relaxed text's most divergence."""

    record: RequestRecord  # what is learned on the way goes there
    request_id: str
    prompt: list[int]
    entity_id: str  # empty: nobody's
    group: str  # empty: the entity's, if the pools know one
    max_new_tokens: int
    verification: knowledge_pb2.TextVerification
    relaxation: knowledge_pb2.Relaxation | None  # of relaxed texts
    sampling: knowledge_pb2.TextSampling | None  # of sampled texts
    draft: knowledge_pb2.TextDraftSettings
    learn: bool
    summary_only: bool  # nobody wants pieces
    prompt_ns: int
    admission_ns: int
    arrived_ns: int  # time.perf_counter_ns
    deadline: float  # of the event loop's clock, seconds
