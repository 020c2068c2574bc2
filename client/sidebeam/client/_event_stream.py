"""The stream of one recommendation."""

from __future__ import annotations

from collections.abc import Callable

from sidebeam.client._call_stream import Call, CallStream, Method, Plan, Reading
from sidebeam.client._events import Event, Recommendation, from_final, from_response
from sidebeam.v1 import recommendation_pb2 as pb


def _answer(final: pb.Final, request_id: str) -> Recommendation:
    return from_final(final, request_id=request_id)


_READING: Reading[Event, Recommendation] = Reading("final", from_response, _answer)


class EventStream(CallStream[Event, Recommendation]):
    """The events of one call, in the order in which the sidecar sends them.

        async with client.stream(history=["12", "55"]) as events:
            async for event in events:
                ...

    Leaving the block cancels what is left of the call. Raises SidebeamError while it is entered or read.
    """

    def __init__(self, recommend: Callable[[], Method], plan: Plan, ending: set[Call]) -> None:
        super().__init__(recommend, plan, _READING, ending)
