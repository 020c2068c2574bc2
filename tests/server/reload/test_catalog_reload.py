"""The catalog of a running sidecar is replaced: under load, by bad ones, and while workers die."""

from __future__ import annotations

import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle

import grpc
import pytest

from sidebeam.v1 import recommendation_pb2 as pb
from sidebeam.v1 import status_pb2

SEEN = ["i3", "i17", "i40", "i5"]  # in every catalog
HISTORY = pb.ItemHistory(item_ids=SEEN)
EXPLICIT = pb.DraftSettings(mode=pb.DRAFT_MODE_EXPLICIT, beams=8, length=3)
KINDS = (
    {"top_k": 5},
    {"top_k": 7, "draft": EXPLICIT},
    {"top_k": 10, "excluded_item_ids": ["i0", "i8", "i20"]},
    {"top_k": 4, "search": pb.SEARCH_EXACT},
    {"top_k": 6, "verification": pb.VERIFICATION_RELAXED, "sampling": pb.Sampling(temperature=1.0, seed=7)},
)


def said(final):
    return [(item.item_id, tuple(item.sid)) for item in final.items]


def versions_of(sids, lost=("i11", "i23")):
    """Two catalogs that share most of their items; the second has a new item and has lost some."""
    other = {item: sid for item, sid in sids.items() if item not in lost}
    free = next(
        sid
        for sid in (["<a_1>", f"<b_{b}>", f"<c_{c}>", f"<d_{d}>"] for b in range(6) for c in range(6) for d in range(6))
        if sid not in sids.values()
    )
    return json.dumps(sids), json.dumps(other | {"new": free})


@pytest.fixture(scope="module")
def steady(tiny_bundle, change, tmp_path_factory):
    """One sidecar for all that leaves it serving."""
    flags = {"draft__first_wait_ms": 10_000, "target__draft_wait_ms": 10_000, "draft__provisional": "always"}
    with change(tiny_bundle, tmp_path_factory.mktemp("steady"), **flags) as one:
        yield one


class Steady:
    """Callers that ask without a pause, and keep every answer with the kind of its request."""

    def __init__(self, caller, n=3):
        self._caller = caller
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(n)
        self.answers = []
        self.errors = []
        self._asking = [self._pool.submit(self._ask, seed) for seed in range(n)]

    def _ask(self, seed):
        kinds = random.Random(seed)
        while not self._stop.is_set():
            kind = kinds.randrange(len(KINDS))
            try:
                events = self._caller.events(60.0, history=HISTORY, **KINDS[kind])
            except grpc.RpcError as error:
                self.errors.append(error)
                return
            self.answers.append((kind, events))

    def end(self):
        self._stop.set()
        for each in self._asking:
            each.result()
        self._pool.shutdown()


def test_every_answer_is_right_for_the_version_it_names(steady, wait_until):
    first = [steady.caller.final(history=HISTORY, **kind) for kind in KINDS]
    best = {next(item.item_id for item in final.items if item.item_id not in SEEN) for final in first}
    contents = versions_of(steady.sids, best)
    right = {}
    for content in (contents[1], contents[0]):
        version = steady.reload(content)["version"]
        finals = [steady.caller.final(history=HISTORY, **kind) for kind in KINDS]
        assert {final.catalog_version for final in finals} == {version}
        right[version] = [said(final) for final in finals]
    assert len(right) == 2
    assert all(a != b for a, b in zip(*right.values(), strict=True))

    asking = Steady(steady.caller)
    for content, _ in zip(cycle((contents[1], contents[0])), range(6), strict=False):
        answered = len(asking.answers)
        wait_until(lambda n=answered: len(asking.answers) >= n + 6, 60)
        steady.reload(content)
    asking.end()
    assert asking.errors == []
    seen = set()
    for kind, events in asking.answers:
        final = events[-1].final
        seen.add(final.catalog_version)
        assert said(final) == right[final.catalog_version][kind]
        items = json.loads(contents[1 if final.catalog_version == next(iter(right)) else 0])
        for event in events:  # what came before the answer is of the same version
            for item in event.provisional.items:
                assert items[item.item_id] == list(item.sid)
            for beam in event.beams.beams:
                assert any(sid[: len(beam.sid)] == list(beam.sid) for sid in items.values())
    assert seen == set(right)
    wait_until(lambda: len(steady.sidecar.events("catalog_left")) >= 7, 20)
    assert not steady.sidecar.events("worker_lost")
    assert not steady.sidecar.events("search_lost")


def test_an_open_stream_ends_on_its_version(steady, wait_until):
    contents = versions_of(steady.sids)
    old = steady.reload(contents[0])["version"]
    expected = said(steady.caller.final(history=HISTORY, top_k=7))
    target = steady.sidecar.worker("target-0")
    target.suspend()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(steady.caller.final, 120.0, history=HISTORY, top_k=7)
        wait_until(lambda: steady.status().load.in_flight == 1, 10)
        steady.put(contents[1])
        steady.hang_up()
        wait_until(lambda: steady.status().catalog.version == old, 10)
        target.resume()
        first = call.result()
    wait_until(lambda: steady.status().catalog.version != old, 60)
    new = steady.status().catalog.version
    assert (first.catalog_version, said(first)) == (old, expected)
    final = steady.caller.final(history=HISTORY, top_k=7)
    assert final.catalog_version == new != old


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "items.json: not JSON"),
        ("{}", "items.json: holds no items"),
        (json.dumps({"i1": ["<a_1>", "<b_1>", "<c_1>", "<d_99>"]}), "'<d_99>' of items.json are not in the vocabulary"),
        (json.dumps({"i1": ["<a_1>", "<b_1>", "<c_1>"]}), "its SIDs have 3 tokens, the running catalog's 4"),
        (None, "No such file or directory"),
    ],
)
def test_a_catalog_that_is_no_good_changes_nothing(steady, wait_until, content, reason):
    before = steady.caller.final(history=HISTORY)
    refused = len(steady.sidecar.events("catalog_not_reloaded"))
    items = steady.bundle / "items.json"
    good = items.read_text()
    if content is None:
        items.unlink()
        steady.hang_up()
        wait_until(lambda: len(steady.sidecar.events("catalog_not_reloaded")) > refused, 30)
        line = steady.sidecar.events("catalog_not_reloaded")[-1]
    else:
        line = steady.reload(content, refused=True)
    assert reason.replace("'", "") in line["reason"].replace("'", "")
    assert line["kept"] == before.catalog_version
    after = steady.caller.final(history=HISTORY)
    assert (after.catalog_version, said(after)) == (before.catalog_version, said(before))
    (told,) = (each for each in steady.status().reloads if each.what == "catalog")
    assert told.last == status_pb2.RELOAD_OUTCOME_REFUSED
    assert told.refused >= refused + 1
    assert steady.reload(good)["event"] == "catalog_unchanged"
    (told,) = (each for each in steady.status().reloads if each.what == "catalog")
    assert told.last == status_pb2.RELOAD_OUTCOME_TAKEN
    assert len(steady.sidecar.events("catalog_not_reloaded")) == refused + 1


def test_requests_are_judged_by_the_catalog_of_their_time(steady):
    contents = versions_of(steady.sids)
    steady.reload(contents[1])
    new = pb.ItemHistory(item_ids=["new"])
    assert steady.caller.final(history=new).items
    assert "unknown are 'i11'" in steady.caller.error(history=pb.ItemHistory(item_ids=["i11"])).details()
    steady.reload(contents[0])
    assert "unknown are 'new'" in steady.caller.error(history=new).details()
    assert steady.caller.final(history=pb.ItemHistory(item_ids=["i11"])).items


@pytest.mark.slow
def test_a_file_that_changes_is_found_without_being_asked_for(tiny_bundle, change, tmp_path, wait_until):
    with change(tiny_bundle, tmp_path, "--draft", "off", server__reload_interval_s=0.2) as one:
        folder = one.bundle / "items.json"
        before = folder.stat()
        one.put(versions_of(one.sids)[1])
        wait_until(lambda: one.sidecar.events("catalog_reloaded"), 60)
        version = one.sidecar.events("catalog_reloaded")[0]["version"]
        assert one.caller.final(history=HISTORY).catalog_version == version == one.status().catalog.version
        assert before.st_ino != folder.stat().st_ino
        one.put("{")
        wait_until(lambda: one.sidecar.events("catalog_not_reloaded"), 60)
        time.sleep(1.0)  # several looks
        assert len(one.sidecar.events("catalog_not_reloaded")) == 1


@pytest.mark.slow
def test_workers_killed_after_the_switch_come_back_with_the_new_catalog(tiny_bundle, change, tmp_path, wait_until):
    with change(tiny_bundle, tmp_path, draft__first_wait_ms=10_000) as one:
        contents = versions_of(one.sids)
        new = one.reload(contents[1])["version"]
        expected = said(one.caller.final(history=HISTORY, draft=EXPLICIT))
        one.reload("not a catalog", refused=True)  # a worker that starts again finds this
        for name in ("target-0", "draft"):
            ups = len(one.sidecar.events("worker_up", worker=name))
            one.sidecar.worker(name).kill()
            wait_until(lambda name=name, ups=ups: len(one.sidecar.events("worker_up", worker=name)) > ups, 120)
        final = one.caller.final(60.0, history=HISTORY, draft=EXPLICIT)
        assert (final.catalog_version, said(final)) == (new, expected)
        wait_until(lambda: one.caller.final(history=HISTORY, draft=EXPLICIT).drafted > 0, 60)
        assert not one.sidecar.events("other_catalog")
        assert not one.sidecar.events("worker_unfit")


@pytest.mark.slow
def test_a_search_whose_worker_dies_ends_on_the_old_version_elsewhere(tiny_bundle, change, tmp_path, wait_until):
    """Two replicas: the one that has the search hangs, so the new catalog waits for it, and then dies."""
    with change(tiny_bundle, tmp_path, "--draft", "off", "--replicas", "2") as one:
        wait_until(lambda: {e["worker"] for e in one.sidecar.events("worker_up")} == {"target-0", "target-1"}, 120)
        contents = versions_of(one.sids)
        before = one.caller.final(history=HISTORY, top_k=7)
        workers = {name: one.sidecar.worker(name) for name in ("target-0", "target-1")}
        for worker in workers.values():
            worker.suspend()
        with ThreadPoolExecutor(1) as pool:
            call = pool.submit(one.caller.final, 200.0, history=HISTORY, top_k=7)
            wait_until(lambda: one.status().load.in_flight == 1, 10)
            has = next(each.name for each in one.status().workers if each.in_flight)
            free = next(name for name in workers if name != has)
            workers[free].resume()
            one.put(contents[1])
            one.hang_up()
            wait_until(lambda: one.sidecar.events("reload_asked"), 10)
            time.sleep(3)
            assert not one.sidecar.events("catalog_reloaded")  # not every ready worker has it
            workers[has].kill()
            wait_until(lambda: one.sidecar.events("catalog_reloaded"), 60)
            final = call.result()
        assert (final.catalog_version, said(final)) == (before.catalog_version, said(before))
        assert one.caller.final(history=HISTORY).catalog_version != before.catalog_version
        wait_until(lambda: one.sidecar.events("catalog_left", version=before.catalog_version), 30)
