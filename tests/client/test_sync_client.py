"""The blocking facade gives the same answers as the async client, from any thread."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sidebeam.client import Beams, Client, InvalidRequest, Provisional, Recommendation, ServerError


def test_recommends(peer: Any) -> None:
    with Client(peer.address) as client:
        client.wait_until_ready(10)
        answer = client.recommend(history=["12"], top_k=3, request_id="blocking")
    assert [item.item_id for item in answer.items] == ["item-1", "item-2", "item-3"]
    assert answer.request_id == "blocking"


def test_streams_in_order(peer: Any) -> None:
    with Client(peer.address) as client, client.stream(history=["12"], request_id="in-order") as events:
        assert events.request_id == "in-order"
        assert [type(event) for event in events] == [Provisional, Beams, Beams, Recommendation]


def test_leaving_the_block_cancels_the_call(peer: Any) -> None:
    with Client(peer.address) as client:
        with client.stream(prompt="endless", request_id="left-blocking") as events:
            next(events)
        peer.wait_for("cancelled left-blocking")


def test_errors_reach_the_caller(peer: Any) -> None:
    with Client(peer.address) as client:
        with pytest.raises(InvalidRequest) as caught:
            client.recommend(prompt="invalid")
        with pytest.raises(InvalidRequest, match="top_k"):
            client.stream(history=["12"], top_k=-1)
    assert len(caught.value.violations) == 2


def test_threads_share_a_client(peer: Any) -> None:
    ids = [f"thread-{index}" for index in range(24)]
    with Client(peer.address) as client, ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda each: client.recommend(history=["12"], request_id=each).request_id, ids))
    assert answers == ids


def test_closing_ends_the_thread_and_what_waits_in_others(peer: Any) -> None:
    client = Client(peer.address)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.recommend, prompt="silent", request_id="closed-while-waiting")
        peer.wait_for("started closed-while-waiting")
        client.close()
        client.close()
        with pytest.raises(ServerError, match="closed during the call"):
            waiting.result(timeout=5)
    assert not [thread for thread in threading.enumerate() if peer.address in thread.name]
    with pytest.raises(RuntimeError, match="closed"):
        client.recommend(history=["12"])


def test_a_client_that_is_never_closed_does_not_hold_the_process(peer: Any) -> None:
    script = f"from sidebeam.client import Client; print(Client({peer.address!r}).recommend(history=['12']).passes)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "2", "")
