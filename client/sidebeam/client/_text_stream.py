"""The stream of one text."""

from __future__ import annotations

from collections.abc import Callable

from sidebeam.client._call_stream import Call, CallStream, Method, Plan, Reading
from sidebeam.client._texts import Text, TextEvent, from_response, from_summary

_READING: Reading[TextEvent, Text] = Reading("summary", from_response, from_summary)


class TextStream(CallStream[TextEvent, Text]):
    """One text as it grows: pieces, then the Text.

        async with client.stream_text(prompt="About this customer:") as events:
            async for event in events:
                ...

    Leaving the block cancels what is left of the call. Raises SidebeamError while it is entered or read.
    """

    def __init__(self, generate: Callable[[], Method], plan: Plan, ending: set[Call]) -> None:
        super().__init__(generate, plan, _READING, ending)
