"""Workers that die in the middle of texts, callers that leave, pools that cannot be used."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from sidebeam.knowledge.pools import Pools
from sidebeam.knowledge.tokenizer import tokenizer_fingerprint
from sidebeam.v1 import knowledge_pb2 as kb
from sidebeam.v1 import recommendation_pb2 as pb

pytestmark = pytest.mark.slow  # a sidecar for nearly every test

ALL = kb.TextDraftSettings(mode=pb.DRAFT_MODE_EXPLICIT)
OFF = kb.TextDraftSettings(mode=pb.DRAFT_MODE_OFF)
PROMPT = "red boat"
EXACT = {"prompt": PROMPT}
SAMPLED = {
    "prompt": PROMPT, "verification": kb.TEXT_VERIFICATION_SAMPLED, "sampling": kb.TextSampling(temperature=0.8, seed=9)
}  # fmt: skip
RELAXED = {
    "prompt": PROMPT, "entity_id": "u1", "draft": ALL, "verification": kb.TEXT_VERIFICATION_RELAXED,
    "relaxation": kb.Relaxation(k=8, p=0.01),
}  # fmt: skip


@pytest.fixture
def pools(text_bundle: Path, tmp_path: Path) -> Path:
    """Pools in which "u1" has a text."""
    folder = tmp_path / "pools"
    with Pools.create(folder, tokenizer_fingerprint(text_bundle / "target"), None) as made:
        made.learn("u1", list(range(40, 90)), "g1")
        made.commit()
        made.compact()
    return folder


@pytest.fixture
def fresh(text_bundle, pools, start, wait_until):
    """A sidecar that a test may ruin; both workers are up."""
    settings = {"supervision__stop_grace_s": 1, "supervision__restart_first_s": 0.05}
    with start(text_bundle, "--pools", str(pools), **settings) as one:
        wait_until(lambda: one.events("worker_up", worker="draft"), 90)
        yield one


def tokens(events):
    return [token for event in events for token in event.piece.token_ids]


def broken_off(sidecar, caller, **fields):
    """All events of a text whose target is killed after its first piece."""
    call = caller.knowledge.Generate(kb.GenerateRequest(**fields), timeout=90)
    first = next(call)
    sidecar.worker("target-0").kill()
    return [first, *call]


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(EXACT, id="exact"),
        pytest.param(SAMPLED, id="sampled", marks=pytest.mark.slow),
        pytest.param({**EXACT, "draft": OFF}, id="undrafted", marks=pytest.mark.slow),
    ],
)
def test_a_text_outlives_its_target_worker_and_repeats_nothing(fresh, connect, fields):
    caller = connect(fresh)
    whole = caller.text(**fields)
    assert len(whole.token_ids) > 100
    events = broken_off(fresh, caller, **fields)
    assert fresh.events("text_lost", worker="target-0")
    summary = events[-1].summary
    assert list(summary.token_ids) == list(whole.token_ids) == tokens(events[:-1])
    assert "".join(event.piece.text for event in events[:-1]) == summary.text == whole.text
    replayed = next(tier for tier in summary.tiers if tier.name == "replayed")
    assert 0 < replayed.accepted == replayed.drafted
    assert summary.passes <= len(whole.token_ids) - replayed.accepted + 1  # one pass brought it back to where it was


@pytest.mark.slow
def test_a_relaxed_text_outlives_its_target_worker_with_its_whole_audit(fresh, connect, wait_until):
    caller = connect(fresh)
    taught = caller.text(prompt=PROMPT, entity_id="u1", learn=True, verification=kb.TEXT_VERIFICATION_SAMPLED,
                         sampling=kb.TextSampling(temperature=1.2, seed=4))  # fmt: skip
    wait_until(lambda: len(fresh.events("pools_open")) > 1, 30)
    whole = caller.text(**RELAXED)
    assert len(whole.relaxed) > 3, taught.stop
    events = broken_off(fresh, caller, **RELAXED)
    summary = events[-1].summary
    assert fresh.events("text_lost", worker="target-0")
    assert list(summary.token_ids) == tokens(events[:-1])
    for token in summary.relaxed:
        assert summary.token_ids[token.position] == token.token_id != token.argmax_id
        assert token.rank <= 8
        assert token.q > 0.01
    greedy = caller.text(prompt=PROMPT)
    audited = {token.position for token in summary.relaxed}
    first = next(i for i, (a, b) in enumerate(zip(summary.token_ids, greedy.token_ids, strict=False)) if a != b)
    assert min(audited) == first


def test_another_replica_takes_a_text_over_at_once(text_bundle, start, connect, wait_until):
    with start(text_bundle, "--replicas", "2") as one:
        wait_until(lambda: len({each["worker"] for each in one.events("worker_up")}) == 2, 90)
        caller = connect(one)
        whole = caller.text(**EXACT)
        calls = [caller.knowledge.Generate(kb.GenerateRequest(**EXACT), timeout=90) for _ in range(2)]  # one each
        begun = [[next(call)] for call in calls]
        one.worker("target-0").kill()
        for events, call in zip(begun, calls, strict=True):
            events += call
            assert tokens(events[:-1]) == list(whole.token_ids)
        (lost,) = one.events("text_lost")
        assert lost["worker"] == "target-0"


def test_a_killed_draft_worker_changes_no_text(fresh, connect, wait_until):
    caller = connect(fresh)
    whole = caller.text(entity_id="u1", **EXACT)
    victim = fresh.worker("draft")
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(caller.text, entity_id="u1", draft=ALL, learn=n < 2, **EXACT) for n in range(12)]
        victim.kill()
        for call in calls:
            assert list(call.result().token_ids) == list(whole.token_ids)
            assert call.result().draft_note == ""
            assert call.result().pools_version
    wait_until(lambda: len(fresh.events("worker_up", worker="draft")) == 2, 90)
    caller.text(entity_id="u7", learn=True, **EXACT)
    wait_until(lambda: fresh.events("texts_learned"), 30)


def test_without_a_target_a_text_ends_before_its_deadline(fresh, connect, wait_until):
    caller = connect(fresh)
    fresh.worker("target-0").kill()
    wait_until(lambda: fresh.events("worker_lost", worker="target-0"), 10)
    started = time.monotonic()
    error = caller.text_error(1.0, **EXACT)
    assert error.code() is grpc.StatusCode.UNAVAILABLE
    assert "no target worker" in error.details()
    assert time.monotonic() - started < 1.0


def test_a_target_that_hangs_ends_at_the_deadline(fresh, connect):
    caller = connect(fresh)
    fresh.worker("target-0").suspend()
    started = time.monotonic()
    error = caller.text_error(1.0, **EXACT)
    assert error.code() in (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)
    assert time.monotonic() - started < 1.3


def test_callers_that_leave_free_their_slots(text_bundle, start, connect, wait_until):
    with start(text_bundle, target__slots=1) as one:
        caller = connect(one)
        whole = caller.text(**EXACT)
        for _ in range(20):
            call = caller.knowledge.Generate(kb.GenerateRequest(**EXACT), timeout=20)
            next(call)
            call.cancel()
        assert caller.text(**EXACT).token_ids == whole.token_ids
        wait_until(lambda: len(one.events("request_finished", code="CANCELLED")) == 20, 10)


def test_sigterm_lets_a_text_finish_and_writes_what_was_learned(fresh, connect, pools):
    caller = connect(fresh)
    whole = caller.text(**EXACT)
    call = caller.knowledge.Generate(kb.GenerateRequest(entity_id="u5", learn=True, **EXACT), timeout=60)
    first = next(call)
    fresh.process.terminate()
    events = [first, *call]
    assert tokens(events[:-1]) == list(whole.token_ids)
    assert fresh.wait() == 0
    with Pools.open(pools, fingerprint_of(fresh), write=True) as left:  # and nobody holds the lock
        text = left.text("u5")
    assert text is not None
    assert text.tolist() == list(whole.token_ids)


def fingerprint_of(sidecar) -> str:
    command = sidecar.process.args
    return tokenizer_fingerprint(Path(command[command.index("--bundle") + 1]) / "target")


def damaged(pools: Path) -> str:
    (file,) = pools.glob("global-*.pool")
    content = bytearray(file.read_bytes())
    content[-100] ^= 1
    file.write_bytes(content)
    return f"{file}: damaged"


def cut_short(pools: Path) -> str:
    (file,) = pools.glob("global-*.pool")
    file.write_bytes(file.read_bytes()[:-64])
    return f"{file}: cut short"


def foreign(pools: Path) -> str:
    shutil.rmtree(pools)
    Pools.create(pools, "0123456789abcdef", None).close()
    return "made with another tokenizer, of fingerprint 0123456789abcdef"


@pytest.mark.parametrize("spoil", [damaged, cut_short, foreign])
def test_pools_that_cannot_be_used_are_named_and_done_without(text_bundle, pools, start, connect, wait_until, spoil):
    words = spoil(pools)
    with start(text_bundle, "--pools", str(pools)) as one:
        caller = connect(one)
        text = caller.text(entity_id="u1", **EXACT)
        assert words in text.draft_note
        assert str(pools) in text.draft_note
        assert text.pools_version == ""
        assert {tier.name for tier in text.tiers} <= {"request"}
        (refused,) = one.events("pools_refused", process="target-0")
        assert words in refused["reason"]
        assert caller.text(draft=OFF, **EXACT).draft_note == ""
        caller.text(entity_id="u1", learn=True, **EXACT)
        wait_until(lambda: one.events("pools_not_written", process="draft"), 60)
        assert words in one.events("pools_not_written")[0]["reason"]


def test_pools_that_are_put_right_are_taken_up(text_bundle, pools, tmp_path, start, connect, wait_until):
    kept = shutil.copytree(pools, tmp_path / "kept")
    damaged(pools)
    with start(text_bundle, "--pools", str(pools)) as one:
        caller = connect(one)
        assert "damaged" in caller.text(**EXACT).draft_note
        shutil.rmtree(pools)
        shutil.copytree(kept, pools)
        wait_until(lambda: one.events("pools_open", process="target-0"), 30)
        text = caller.text(**EXACT)
        assert text.draft_note == ""
        assert text.pools_version
