"""What a caller of a healthy sidecar gets."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import torch
from transformers import AutoModelForCausalLM

from sidebeam.bundle import Bundle, PromptBuilder, Tokenizer, open_catalog
from sidebeam.v1 import recommendation_pb2 as pb

HISTORY = ["i3", "i17", "i40", "i5"]
EXPLICIT = pb.DRAFT_MODE_EXPLICIT


def ranking(final):
    return [item.item_id for item in final.items]


def scores(final):
    return [item.log_prob for item in final.items]


def history(*item_ids):
    return pb.ItemHistory(item_ids=item_ids or HISTORY)


@pytest.fixture(scope="module")
def whole_catalog(tiny_bundle: Path):
    """Every item with its log-prob after HISTORY, best first, scored one whole SID at a time by transformers."""
    bundle = Bundle.open(tiny_bundle)
    tokenizer = Tokenizer.open(bundle.tokenizer)
    catalog = open_catalog(bundle, tokenizer)
    items = list(range(catalog.n_items))
    prompt = PromptBuilder(bundle.prompt, tokenizer, catalog).from_items([catalog.item_index(i) for i in HISTORY])
    model = AutoModelForCausalLM.from_pretrained(bundle.target, dtype=torch.float32)
    sids = torch.from_numpy(catalog.sids_of(items))
    rows = torch.cat([torch.tensor([prompt]).expand(len(items), -1), sids], dim=1)
    with torch.inference_mode():
        log_probs = model(rows).logits.log_softmax(-1)[:, len(prompt) - 1 : -1]
    totals = log_probs.gather(2, sids[:, :, None]).sum((1, 2)).tolist()
    of_leaf = dict(zip(catalog.leaf_of(items).tolist(), totals, strict=True))  # rows of one SID differ in rounding
    scored = [(of_leaf[leaf], item) for item, leaf in enumerate(catalog.leaf_of(items).tolist())]
    order = sorted(scored, key=lambda each: (-each[0], each[1]))
    return [(catalog.item_ids([item])[0], total) for total, item in order]


def test_events_come_in_order(caller):
    events = caller.events(history=history(), top_k=5, draft=pb.DraftSettings(mode=EXPLICIT, beams=8, length=3))
    kinds = [event.WhichOneof("event") for event in events]
    assert kinds[-1] == "final"
    assert kinds.count("final") == 1
    assert kinds.count("provisional") <= 1
    assert [event.beams.depth for event in events if event.HasField("beams")] == [1, 2, 3, 4]


def test_a_caller_who_wants_only_the_answer_is_sent_nothing_else(caller):
    everything = caller.events(history=history(), top_k=5)
    (only,) = caller.events(history=history(), top_k=5, final_only=True)
    assert ranking(only.final) == ranking(everything[-1].final)
    assert scores(only.final) == pytest.approx(scores(everything[-1].final), abs=1e-4)


def test_the_last_beams_are_the_answer(caller):
    events = caller.events(history=history(), top_k=5)
    beams = next(event.beams for event in events if event.HasField("beams") and event.beams.depth == 4)
    final = events[-1].final
    assert list(final.items[0].sid) == list(beams.beams[0].sid)
    assert final.items[0].log_prob == beams.beams[0].log_prob
    assert [item.rank for item in final.items] == [1, 2, 3, 4, 5]
    assert final.scoring == pb.SCORING_RAW
    assert final.search == pb.SEARCH_BEAM
    assert final.catalog_version
    assert final.times.total_ns > final.times.pass_ns > 0


@pytest.mark.parametrize("top_k", [1, 5, 20, 60])
def test_drafts_change_no_answer(caller, top_k):
    off = caller.final(history=history(), top_k=top_k, draft=pb.DraftSettings(mode=pb.DRAFT_MODE_OFF))
    assert off.drafted == 0
    assert len(off.items) == top_k
    settings = [pb.DraftSettings()] + [
        pb.DraftSettings(mode=EXPLICIT, drafter=drafter, beams=beams, length=length)
        for drafter in (pb.DRAFTER_MODEL, pb.DRAFTER_CATALOG)
        for beams, length in ((1, 1), (12, 2), (60, 4))
    ]
    for draft in settings:
        final = caller.final(history=history(), top_k=top_k, draft=draft)
        assert ranking(final) == ranking(off)
        assert scores(final) == pytest.approx(scores(off), abs=1e-4)


def test_a_seed_draws_the_same_items_whatever_is_drafted(caller):
    relaxed = {"history": history(), "top_k": 5, "verification": pb.VERIFICATION_RELAXED}
    draws = set()
    for seed in range(8):
        sampling = pb.Sampling(temperature=2, seed=seed)
        off = caller.final(draft=pb.DraftSettings(mode=pb.DRAFT_MODE_OFF), sampling=sampling, **relaxed)
        assert off.verification == pb.VERIFICATION_RELAXED
        assert (off.sampling.temperature, off.sampling.seed) == (2, seed)
        assert scores(off) == sorted(scores(off), reverse=True)
        draws.add(tuple(ranking(off)))
        for draft in (pb.DraftSettings(), pb.DraftSettings(mode=EXPLICIT, beams=12, length=3)):
            assert ranking(caller.final(draft=draft, sampling=sampling, **relaxed)) == ranking(off)
    assert len(draws) > 4


def test_a_draw_without_a_seed_names_the_one_it_took(caller):
    relaxed = {"history": history(), "top_k": 5, "verification": pb.VERIFICATION_RELAXED}
    first, second = caller.final(**relaxed), caller.final(**relaxed)
    assert first.sampling.seed != second.sampling.seed
    assert first.sampling.temperature == 1
    assert ranking(caller.final(sampling=first.sampling, **relaxed)) == ranking(first)
    strict = caller.final(history=history())
    assert strict.verification == pb.VERIFICATION_STRICT
    assert not strict.HasField("sampling")


def test_a_drafted_answer_needs_fewer_passes(caller):
    off = caller.final(history=history(), top_k=5, draft=pb.DraftSettings(mode=pb.DRAFT_MODE_OFF))
    wide = caller.final(history=history(), top_k=5, draft=pb.DraftSettings(mode=EXPLICIT, beams=60, length=3))
    assert off.passes == 4
    assert wide.passes == 1  # 60 beams cover the whole catalog
    assert wide.accepted > 0


def test_provisional_items_come_from_the_draft(caller):
    for _ in range(20):
        events = caller.events(history=history(), top_k=5)
        found = [event.provisional for event in events if event.HasField("provisional")]
        if found:
            break
    (provisional,) = found
    assert 1 <= len(provisional.items) <= 5
    assert [item.rank for item in provisional.items] == list(range(1, len(provisional.items) + 1))
    assert provisional.items[0].log_prob != events[-1].final.items[0].log_prob


def test_nothing_is_drafted_when_drafts_are_off(caller):
    events = caller.events(history=history(), draft=pb.DraftSettings(mode=pb.DRAFT_MODE_OFF))
    assert not any(event.HasField("provisional") for event in events)
    assert events[-1].final.times.draft_ns == 0


def test_exact_search_finds_the_best_of_the_whole_catalog(caller, whole_catalog):
    final = caller.final(history=history(), top_k=20, search=pb.SEARCH_EXACT)
    assert final.search == pb.SEARCH_EXACT
    assert [item.item_id for item in final.items] == [item_id for item_id, _ in whole_catalog[:20]]
    assert [item.log_prob for item in final.items] == pytest.approx([p for _, p in whole_catalog[:20]], abs=1e-4)


def test_a_beam_as_wide_as_the_catalog_ranks_all_of_it(caller, whole_catalog):
    final = caller.final(history=history(), top_k=60)
    assert [item.item_id for item in final.items] == [item_id for item_id, _ in whole_catalog]


def test_items_of_one_sid_stand_in_the_catalogs_order(caller):
    items = {item.item_id: item for item in caller.final(history=history(), top_k=60).items}
    assert [items[i].rank - items["i3"].rank for i in ("i3", "i56", "i57")] == [0, 1, 2]
    assert items["i3"].log_prob == items["i56"].log_prob == items["i57"].log_prob
    assert list(items["i3"].sid) == list(items["i57"].sid)


def test_excluded_items_are_left_out(caller, whole_catalog):
    excluded = [item_id for item_id, _ in whole_catalog[:10]]
    for draft in (pb.DraftSettings(), pb.DraftSettings(mode=EXPLICIT, beams=40, length=3)):
        final = caller.final(
            history=history(), top_k=5, excluded_item_ids=excluded, search=pb.SEARCH_EXACT, draft=draft
        )
        expected = [item_id for item_id, _ in whole_catalog if item_id not in excluded][:5]
        assert [item.item_id for item in final.items] == expected


def test_a_shared_sid_lives_while_one_of_its_items_does(caller):
    final = caller.final(history=history(), top_k=60, excluded_item_ids=["i3", "i56"])
    ids = [item.item_id for item in final.items]
    assert "i57" in ids
    assert len(ids) == 58


def test_all_that_exclusions_leave_is_returned(caller):
    kept = "i21"
    excluded = [f"i{n}" for n in range(60) if f"i{n}" != kept]
    final = caller.final(history=history(), top_k=5, excluded_item_ids=excluded)
    assert [item.item_id for item in final.items] == [kept]


def test_text_tokens_and_history_say_the_same(caller, tiny_bundle):
    bundle = Bundle.open(tiny_bundle)
    tokenizer = Tokenizer.open(bundle.tokenizer)
    catalog = open_catalog(bundle, tokenizer)
    text = "".join(tokenizer.token(t) for item in HISTORY for t in catalog.sid_of(catalog.item_index(item)).tolist())
    by_history = caller.final(history=history())
    assert ranking(caller.final(prompt=text)) == ranking(by_history)
    assert ranking(caller.final(tokens=pb.TokenPrompt(token_ids=tokenizer.encode(text)))) == ranking(by_history)
    assert len(by_history.items) == 5  # the bundle's default


def test_a_long_history_is_cut_to_its_latest_items(caller):
    items = [f"i{n}" for n in range(30)]
    assert ranking(caller.final(history=history(*items))) == ranking(caller.final(history=history(*items[-8:])))


def test_many_at_once_get_the_answers_of_one_at_a_time(caller):
    users = [history(*(f"i{(7 * u + n) % 60}" for n in range(1 + u % 8))) for u in range(24)]
    alone = [ranking(caller.final(history=user, top_k=10)) for user in users]
    with ThreadPoolExecutor(16) as pool:
        together = list(pool.map(lambda user: ranking(caller.final(history=user, top_k=10)), users * 2))
    assert together == alone * 2


def test_the_callers_request_id_comes_back(caller):
    call = caller.stub.Recommend(
        pb.RecommendRequest(history=history()), metadata=(("x-request-id", "order-77"),), timeout=20
    )
    final = list(call)[-1].final
    assert final.request_id == "order-77"
    assert ("x-request-id", "order-77") in [(m.key, m.value) for m in call.trailing_metadata()]


def test_each_request_has_one_line_in_the_log(sidecar, caller, wait_until):
    final = caller.final(history=history())
    wait_until(lambda: sidecar.events("request_finished", request_id=final.request_id), 5)
    (line,) = sidecar.events("request_finished", request_id=final.request_id)
    assert line["code"] == "OK"
    assert line["passes"] == final.passes
    assert {"prompt_ms", "draft_ms", "queue_ms", "pass_ms", "search_ms", "total_ms"} <= line.keys()


def test_the_front_is_small_and_holds_no_torch(sidecar, caller):
    caller.final(history=history())
    pid = sidecar.process.pid
    assert "libtorch" not in Path(f"/proc/{pid}/maps").read_text()
    resident = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    assert int(resident.split()[1]) < 150 * 1024


def test_searches_of_a_local_target_go_over_lines(sidecar, caller):
    caller.final(history=history())
    target = next(
        child
        for child in psutil.Process(sidecar.process.pid).children()
        if "sidebeam.workers.target" in child.cmdline()
    )
    sockets = [each.laddr for each in target.net_connections("unix") if str(each.laddr).endswith("target-0.sock.line")]
    assert len(sockets) > 1  # the one that listens, and lines
