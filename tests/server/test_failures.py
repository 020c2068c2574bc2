"""Workers that die or hang, callers that leave, and ends of all kinds."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import psutil
import pytest

from sidebeam.v1 import recommendation_pb2 as pb

HISTORY = pb.ItemHistory(item_ids=["i3", "i17", "i40"])
EXPLICIT = pb.DraftSettings(mode=pb.DRAFT_MODE_EXPLICIT, beams=12, length=3)


def ids(final):
    return [item.item_id for item in final.items]


@pytest.fixture
def fresh(tiny_bundle, start, wait_until):
    """A sidecar that a test may ruin; its draft worker is up."""
    with start(tiny_bundle, supervision__stop_grace_s=1) as one:
        wait_until(lambda: one.events("worker_up", worker="draft"), 60)
        yield one


def test_a_killed_draft_worker_changes_no_answer(fresh, connect, wait_until):
    caller = connect(fresh)
    expected = ids(caller.final(history=HISTORY, draft=EXPLICIT))
    victim = fresh.worker("draft")
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(caller.final, 20.0, history=HISTORY, draft=EXPLICIT) for _ in range(60)]
        victim.kill()
        assert all(ids(call.result()) == expected for call in calls)
    wait_until(lambda: len(fresh.events("worker_up", worker="draft")) == 2, 60)
    assert fresh.worker("draft").pid != victim.pid
    assert ids(caller.final(history=HISTORY, draft=EXPLICIT)) == expected


def test_a_draft_worker_that_hangs_costs_little_time(fresh, connect):
    caller = connect(fresh)
    expected = ids(caller.final(history=HISTORY, draft=EXPLICIT))
    fresh.worker("draft").suspend()
    started = time.monotonic()
    for _ in range(10):
        final = caller.final(history=HISTORY, draft=EXPLICIT)
        assert ids(final) == expected
        assert final.drafted == 0
    assert time.monotonic() - started < 3.0  # one late draft pauses the waiting for all


def test_a_search_outlives_its_target_worker(fresh, connect, wait_until):
    caller = connect(fresh)
    expected = ids(caller.final(history=HISTORY))
    victim = fresh.worker("target-0")
    victim.suspend()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(caller.events, 60.0, history=HISTORY)
        time.sleep(0.5)  # by now the search is with the worker, which says nothing
        victim.kill()
        events = call.result()
    assert fresh.events("search_lost", worker="target-0")
    assert ids(events[-1].final) == expected
    assert [event.beams.depth for event in events if event.HasField("beams")] == [1, 2, 3, 4]


def test_a_draw_outlives_its_target_worker(fresh, connect):
    caller = connect(fresh)
    relaxed = {"history": HISTORY, "verification": pb.VERIFICATION_RELAXED, "sampling": pb.Sampling(seed=7)}
    expected = ids(caller.final(**relaxed))
    victim = fresh.worker("target-0")
    victim.suspend()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(caller.final, 60.0, **relaxed)
        time.sleep(0.5)
        victim.kill()
        assert ids(call.result()) == expected
    assert fresh.events("search_lost", worker="target-0")


def test_without_a_target_a_request_ends_before_its_deadline(fresh, connect, wait_until):
    caller = connect(fresh)
    fresh.worker("target-0").kill()
    wait_until(lambda: fresh.events("worker_lost", worker="target-0"), 10)
    started = time.monotonic()
    error = caller.error(1.0, history=HISTORY)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "no target worker" in error.details()
    assert 0.8 < time.monotonic() - started < 1.0


def test_a_target_that_hangs_ends_at_the_deadline(fresh, connect):
    caller = connect(fresh)
    fresh.worker("target-0").suspend()
    started = time.monotonic()
    error = caller.error(1.0, history=HISTORY)
    assert error.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)
    assert time.monotonic() - started < 1.3


def test_a_target_that_hangs_is_replaced(tiny_bundle, start, connect, wait_until):
    settings = {"supervision__heartbeat_interval_s": 0.2, "supervision__heartbeat_timeout_s": 1}
    with start(tiny_bundle, "--draft", "off", **settings) as one:
        caller = connect(one)
        expected = ids(caller.final(history=HISTORY))
        one.worker("target-0").suspend()
        assert ids(caller.final(60.0, history=HISTORY)) == expected
        assert one.events("worker_hangs", worker="target-0")


def test_another_replica_takes_over_at_once(tiny_bundle, start, connect, wait_until):
    with start(tiny_bundle, "--draft", "off", "--replicas", "2") as one:
        wait_until(lambda: len({each["worker"] for each in one.events("worker_up")}) == 2, 60)
        caller = connect(one)
        expected = ids(caller.final(history=HISTORY))
        one.worker("target-1").kill()
        for _ in range(10):
            assert ids(caller.final(5.0, history=HISTORY)) == expected


def test_a_replica_that_hangs_is_avoided_before_it_is_found_out(tiny_bundle, start, connect, wait_until):
    with start(tiny_bundle, "--replicas", "2", "--draft", "off", supervision__heartbeat_timeout_s=120) as one:
        wait_until(lambda: len(one.events("worker_up")) == 2, 90)
        caller = connect(one)
        expected = ids(caller.final(history=HISTORY))
        one.worker("target-0").suspend()
        time.sleep(2.0 + 0.5 + 1.5)  # the heartbeat's interval, and when its answer is overdue
        for _ in range(6):
            assert ids(caller.final(5.0, history=HISTORY)) == expected
        assert one.events("worker_hangs") == []


def test_callers_that_leave_free_their_slots(tiny_bundle, start, connect, wait_until):
    with start(tiny_bundle, target__slots=1, draft__slots=1, draft__first_wait_ms=10_000) as one:
        caller = connect(one)
        for _ in range(30):
            call = caller.stub.Recommend(pb.RecommendRequest(history=HISTORY, draft=EXPLICIT), timeout=20)
            next(iter(call))
            call.cancel()
        assert len(caller.final(history=HISTORY).items) == 5
        # The draft's only slot is free again, as soon as the worker has heard that the last caller left.
        wait_until(lambda: caller.final(history=HISTORY, draft=EXPLICIT).drafted > 0, 30)


def test_workers_do_not_outlive_a_killed_front(fresh, wait_until):
    workers = psutil.Process(fresh.process.pid).children()
    assert len(workers) == 2
    fresh.process.kill()
    _, alive = psutil.wait_procs(workers, timeout=10)
    assert not alive


def test_sigterm_lets_open_streams_finish(fresh, connect, wait_until):
    caller = connect(fresh)
    expected = ids(caller.final(history=HISTORY))
    workers = psutil.Process(fresh.process.pid).children()
    fresh.worker("target-0").suspend()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(caller.final, 30.0, history=HISTORY)
        time.sleep(0.3)
        fresh.process.send_signal(signal.SIGTERM)
        wait_until(lambda: fresh.events("draining"), 10)
        fresh.worker("target-0").resume()
        assert ids(call.result()) == expected
    assert fresh.wait() == 0
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert not alive
    assert not fresh.events("worker_lost")


def test_a_second_signal_ends_everything_at_once(fresh, connect, wait_until):
    caller = connect(fresh)
    workers = psutil.Process(fresh.process.pid).children()
    fresh.worker("target-0").suspend()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(caller.error, 30.0, history=HISTORY)
        time.sleep(0.3)
        fresh.process.send_signal(signal.SIGINT)
        wait_until(lambda: fresh.events("draining"), 10)
        fresh.process.send_signal(signal.SIGINT)
        assert fresh.wait() == 128 + signal.SIGINT
        assert call.result().code() is grpc.StatusCode.UNAVAILABLE
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert not alive


def test_sockets_are_the_owners_alone_and_go_with_the_front(fresh):
    command = fresh.worker("target-0").cmdline()
    socket = command[command.index("--listen") + 1].removeprefix("unix:")
    assert os.stat(socket).st_mode & 0o777 == 0o600
    folder = os.path.dirname(socket)
    assert os.stat(folder).st_mode & 0o777 == 0o700
    assert fresh.stop() == 0
    assert not os.path.exists(folder)
