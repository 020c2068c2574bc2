"""Ask a Sidebeam sidecar for recommendations.

    async with AsyncClient("127.0.0.1:50051") as client:
        answer = await client.recommend(history=["12", "55", "9"], top_k=10, timeout_s=0.2)
        for item in answer.items:
            print(item.rank, item.item_id, item.log_prob)

`AsyncClient.stream` yields what is known before the answer is: `Provisional` items, then `Beams` by depth.
`AsyncClient.generate` has a text about a user or an item written, `stream_text` yields it as it grows.
`Client` offers the same to code without an event loop. Every failure is a `SidebeamError`.
"""

from __future__ import annotations

from sidebeam.client._async_client import AsyncClient
from sidebeam.client._errors import (
    DeadlineExceeded,
    InvalidRequest,
    MessageTooLarge,
    Overloaded,
    ServerError,
    SidebeamError,
    TryAgain,
    Unauthenticated,
    Unavailable,
    Violation,
)
from sidebeam.client._event_stream import EventStream
from sidebeam.client._events import Beam, Beams, Event, Item, Provisional, Recommendation, StageTimes
from sidebeam.client._request import Draft, RequestArguments, Sampling
from sidebeam.client._sync_client import BlockingEventStream, Client
from sidebeam.client._text_request import Relaxed, Sampled, TextArguments, TextDraft
from sidebeam.client._text_stream import TextStream
from sidebeam.client._texts import RelaxedToken, Text, TextEvent, TextPiece, Tier

__all__ = [
    "AsyncClient",
    "Beam",
    "Beams",
    "BlockingEventStream",
    "Client",
    "DeadlineExceeded",
    "Draft",
    "Event",
    "EventStream",
    "InvalidRequest",
    "Item",
    "MessageTooLarge",
    "Overloaded",
    "Provisional",
    "Recommendation",
    "Relaxed",
    "RelaxedToken",
    "RequestArguments",
    "Sampled",
    "Sampling",
    "ServerError",
    "SidebeamError",
    "StageTimes",
    "Text",
    "TextArguments",
    "TextDraft",
    "TextEvent",
    "TextPiece",
    "TextStream",
    "Tier",
    "TryAgain",
    "Unauthenticated",
    "Unavailable",
    "Violation",
]

# Tracebacks and `repr` show where a caller finds a class, not the file it is written in.
for _name in __all__:
    if isinstance(globals()[_name], type):
        globals()[_name].__module__ = __name__
del _name
