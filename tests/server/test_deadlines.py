"""What a caller gets whose deadline comes before the answer."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from sidebeam.v1 import recommendation_pb2 as pb

HISTORY = pb.ItemHistory(item_ids=["i3", "i17", "i40", "i5"])
BEST = pb.ON_DEADLINE_BEST_SO_FAR


@pytest.fixture
def frozen(tiny_bundle: Path, start: Callable[..., Any], wait_until: Callable[..., None]) -> Iterator[Any]:
    """A sidecar whose target does not move; the draft does."""
    with start(tiny_bundle, supervision__heartbeat_timeout_s=60, server__cut_margin_ms=500) as sidecar:
        wait_until(lambda: sidecar.events("worker_up", worker="draft"), 60)
        target = sidecar.worker("target-0")
        target.send_signal(signal.SIGSTOP)
        try:
            yield sidecar
        finally:
            target.send_signal(signal.SIGCONT)


def test_the_drafts_best_guess_comes_before_the_deadline(frozen: Any, connect: Callable[[Any], Any]) -> None:
    caller = connect(frozen)
    excluded = [f"i{number}" for number in range(20)]
    for final_only in (False, True):
        started = time.monotonic()
        *before, last = caller.events(
            2.0, history=HISTORY, top_k=5, on_deadline=BEST, excluded_item_ids=excluded, final_only=final_only
        )
        assert time.monotonic() - started > 1.0  # it waits for the target as long as it may
        assert [event.WhichOneof("event") for event in before] == ([] if final_only else ["provisional"])
        final = last.final
        assert final.cut_short
        assert [item.rank for item in final.items] == [1, 2, 3, 4, 5]
        assert {item.verified for item in final.items} == {0}
        assert not {item.item_id for item in final.items} & set(excluded)
        if before:
            assert [item.item_id for item in before[0].provisional.items] == [item.item_id for item in final.items]


def test_who_does_not_ask_for_it_gets_an_error(frozen: Any, connect: Callable[[Any], Any]) -> None:
    caller = connect(frozen)
    assert caller.error(0.5, history=HISTORY).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    nothing_known = caller.error(0.5, history=HISTORY, on_deadline=BEST, draft=pb.DraftSettings(mode=pb.DRAFT_MODE_OFF))
    assert nothing_known.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_an_answer_in_time_is_whole(caller: Any) -> None:
    plain = caller.final(history=HISTORY, top_k=5)
    best = caller.final(history=HISTORY, top_k=5, on_deadline=BEST)
    assert not best.cut_short
    assert best.passes > 0
    assert {item.verified for item in best.items} == {4}
    assert [item.item_id for item in best.items] == [item.item_id for item in plain.items]


def test_an_unknown_choice_is_refused(caller: Any) -> None:
    error = caller.error(history=HISTORY, on_deadline=7)
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "on_deadline" in error.details()
    assert "given 7" in error.details()
