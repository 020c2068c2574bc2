"""Callers who open no window, so that nothing can be sent to them, keep nothing from others."""

from __future__ import annotations

import grpc
import pytest

from sidebeam.v1 import recommendation_pb2 as pb
from tests.fuzz import http2
from tests.fuzz.cases import HISTORY, RECOMMEND, WATCH
from tests.server.conftest import Caller, Sidecar, running, until

ASKED = pb.RecommendRequest(history=HISTORY, final_only=True).SerializeToString()


@pytest.fixture
def short_of_time(tiny_bundle):
    with running(tiny_bundle, "--draft", "off", server__default_deadline_s=2, server__drain_timeout_s=1) as one:
        yield one


def deaf(sidecar: Sidecar, path: str, payload: bytes, calls: int):
    connection = http2.connect(sidecar.address)
    asked = b"".join(http2.call(2 * i + 1, path, payload) for i in range(calls))
    connection.sendall(http2.PREFACE + http2.settings(initial_window_size=0) + asked)
    return connection


def test_answers_that_nobody_reads_hold_no_permit_and_watchers_do_not_hold_up_the_end(short_of_time):
    caller = Caller(short_of_time.address)
    assert is_served(caller)
    held = [deaf(short_of_time, RECOMMEND.path, ASKED, 64), deaf(short_of_time, WATCH.path, b"", 5)]
    until(lambda: not is_served(caller), 30)  # all permits are with callers who do not read
    until(lambda: is_served(caller), 30)
    caller.channel.close()
    assert short_of_time.stop() == 0
    for connection in held:
        connection.close()


def is_served(caller: Caller) -> bool:
    """Whether there is room for one more request."""
    try:
        return len(caller.final(history=HISTORY).items) == 5
    except grpc.RpcError as error:
        if error.code() is not grpc.StatusCode.RESOURCE_EXHAUSTED:
            raise
        return False
