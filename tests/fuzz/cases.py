"""What is sent: a method, a payload, metadata and the time that its caller has."""

from __future__ import annotations

from dataclasses import dataclass, replace
from random import Random

from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2
from hypothesis import strategies as st

from sidebeam.v1 import knowledge_pb2, status_pb2
from sidebeam.v1 import recommendation_pb2 as pb
from tests.fuzz.encodings import encodings, mutant

Metadata = tuple[tuple[str, str | bytes], ...]

HISTORY = pb.ItemHistory(item_ids=["i3", "i17", "i40"])
EXPLICIT = pb.DRAFT_MODE_EXPLICIT


@dataclass(frozen=True, slots=True)
class Method:
    """`open_ended`: it never ends by itself, so that its caller must leave. `codes` are those it may end with."""

    path: str
    request: type[Message]
    codes: frozenset[str]
    streams_requests: bool = False
    streams_responses: bool = False
    open_ended: bool = False


def _codes(*names: str) -> frozenset[str]:
    # Callers leave, and their deadlines pass; a message over the limit, or metadata, never reaches a method.
    return frozenset({"OK", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "CANCELLED", *names})


RECOMMEND = Method(
    "/sidebeam.v1.RecommendationService/Recommend", pb.RecommendRequest, _codes(), streams_responses=True
)
GENERATE = Method(
    "/sidebeam.v1.KnowledgeService/Generate", knowledge_pb2.GenerateRequest, _codes(), streams_responses=True
)
STATUS = Method("/sidebeam.v1.StatusService/GetStatus", status_pb2.GetStatusRequest, _codes())
CHECK = Method("/grpc.health.v1.Health/Check", health_pb2.HealthCheckRequest, _codes("NOT_FOUND"))
WATCH = Method(
    "/grpc.health.v1.Health/Watch", health_pb2.HealthCheckRequest, _codes(), streams_responses=True, open_ended=True
)
REFLECT = Method(
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    reflection_pb2.ServerReflectionRequest,
    _codes(),
    streams_requests=True,
    streams_responses=True,
)
ABSENT = frozenset({"UNIMPLEMENTED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "CANCELLED"})
NOWHERE = Method("/sidebeam.v1.NoService/None", pb.RecommendRequest, ABSENT)
UNFILLED = Method("/sidebeam.v1.RecommendationService/Other", pb.RecommendRequest, ABSENT)

GOOD: dict[Method, list[Message]] = {
    RECOMMEND: [
        pb.RecommendRequest(history=HISTORY),
        pb.RecommendRequest(prompt="<a_1><b_2>", top_k=60, final_only=True),
        pb.RecommendRequest(tokens=pb.TokenPrompt(token_ids=[1, 4, 9]), search=pb.SEARCH_EXACT, top_k=3),
        pb.RecommendRequest(history=HISTORY, excluded_item_ids=["i1", "i2"], on_deadline=pb.ON_DEADLINE_BEST_SO_FAR),
        pb.RecommendRequest(history=HISTORY, draft=pb.DraftSettings(mode=EXPLICIT, beams=9, length=2)),
        pb.RecommendRequest(
            history=HISTORY, verification=pb.VERIFICATION_RELAXED, sampling=pb.Sampling(temperature=2, top_k=9, seed=1)
        ),
    ],
    GENERATE: [
        knowledge_pb2.GenerateRequest(prompt="<a_1><b_2>", max_new_tokens=3),
        knowledge_pb2.GenerateRequest(prompt="<c_3>", entity_id="u1", group="g1", learn=True, max_new_tokens=5),
        knowledge_pb2.GenerateRequest(
            tokens=pb.TokenPrompt(token_ids=[1, 4, 9]),
            max_new_tokens=4,
            verification=knowledge_pb2.TEXT_VERIFICATION_RELAXED,
            relaxation=knowledge_pb2.Relaxation(k=3, p=0.01, max_divergence=9),
        ),
        knowledge_pb2.GenerateRequest(
            prompt="<c_3>",
            max_new_tokens=4,
            summary_only=True,
            verification=knowledge_pb2.TEXT_VERIFICATION_SAMPLED,
            sampling=knowledge_pb2.TextSampling(temperature=3, top_k=5, seed=7),
            draft=knowledge_pb2.TextDraftSettings(mode=EXPLICIT, rows=4, depth=3),
        ),
    ],
    STATUS: [status_pb2.GetStatusRequest()],
    CHECK: [health_pb2.HealthCheckRequest(), health_pb2.HealthCheckRequest(service="liveness")],
    WATCH: [health_pb2.HealthCheckRequest(service="sidebeam.v1.KnowledgeService")],
    REFLECT: [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="sidebeam.v1.RecommendationService"),
    ],
    NOWHERE: [pb.RecommendRequest(history=HISTORY)],
    UNFILLED: [pb.RecommendRequest(history=HISTORY)],
}
METHODS = (*[RECOMMEND] * 6, *[GENERATE] * 4, STATUS, CHECK, WATCH, REFLECT, NOWHERE, UNFILLED)


@dataclass(frozen=True, slots=True)
class Case:
    """One request. `leaves_after_s` None: the caller stays until the end."""

    method: Method
    payload: bytes
    metadata: Metadata = ()
    timeout_s: float | None = 10.0
    leaves_after_s: float | None = None

    def mutants(self, n: int, random: Random) -> list[Case]:
        """The same request with `n` different accidents on its way."""
        return [replace(self, payload=mutant(self.payload, random)) for _ in range(n)]


def _payloads(method: Method) -> st.SearchStrategy[bytes]:
    good = st.sampled_from([message.SerializeToString(deterministic=True) for message in GOOD[method]])
    any_of_its_type = encodings(method.request.DESCRIPTOR)
    return st.one_of(
        good,
        st.builds(lambda first, then: first + then, good, any_of_its_type),
        any_of_its_type,
        st.binary(max_size=60),
        # Beyond what a message may hold, and just below it.
        st.builds(lambda first, size: first + b"\x7a" + b"\xff" * size, good, st.sampled_from([1 << 18, 5 << 20])),
    )


KEYS = st.one_of(
    st.sampled_from(
        [
            "x-request-id",
            "traceparent",
            "authorization",
            "grpc-tags-bin",
            "grpc-trace-bin",
            "a",
            "content-length",
            "host",
        ]
    ),
    st.text("abcdefghijklmnopqrstuvwxyz0123456789_-.", min_size=1, max_size=30).filter(lambda key: key[0] != "-"),
).filter(lambda key: key not in ("te", "grpc-timeout"))
VALUES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60)


def _pair(key: str, value: str, data: bytes, times: int) -> tuple[str, str | bytes]:
    return (key, data * times) if key.endswith("-bin") else (key, value * times)


PAIRS = st.builds(
    _pair,
    st.one_of(KEYS, KEYS.map(lambda key: f"{key.removesuffix('-bin')}-bin")),
    VALUES,
    st.binary(max_size=60),
    st.sampled_from([1, 1, 1, 3, 400]),
)
METADATA = st.one_of(st.just(()), st.just(()), st.just(()), st.lists(PAIRS, max_size=8).map(tuple))


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Any request to any method."""
    method = draw(st.sampled_from(METHODS))
    leaves = st.sampled_from([0.001, 0.01, 0.05]) if method.open_ended else st.sampled_from([None, None, None, 0.002])
    return Case(
        method,
        draw(_payloads(method)),
        draw(METADATA),
        draw(st.sampled_from([10.0, 10.0, 10.0, None, 0.03, 0.005, 0.0])),
        draw(leaves),
    )
