"""What a caller of a healthy sidecar gets who asks for texts."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from sidebeam.bundle import Bundle, Tokenizer
from sidebeam.texts import Exact, Sampled
from sidebeam.v1 import knowledge_pb2 as kb
from sidebeam.v1 import recommendation_pb2 as pb
from sidebeam.writing.writer import Asked, Text, Writer

OFF = kb.TextDraftSettings(mode=pb.DRAFT_MODE_OFF)
ALL = kb.TextDraftSettings(mode=pb.DRAFT_MODE_EXPLICIT)
RELAXED, SAMPLED = kb.TEXT_VERIFICATION_RELAXED, kb.TEXT_VERIFICATION_SAMPLED
PROMPTS = ["<a_1><b_2>", "<c_3>", "<d_0><a_5><b_5>", "<a_2><b_2><c_2><d_2><a_2><b_2>", "<b_0><b_1>", "<d_4><d_5>"]
HISTORY = pb.ItemHistory(item_ids=["i3", "i17", "i40"])


@pytest.fixture(scope="module")
def pools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the first text learned will make."""
    return tmp_path_factory.mktemp("pools") / "pools"


@pytest.fixture(scope="module")
def scribe(both_bundle, pools, start, wait_until):
    """A sidecar that recommends and writes; both workers are up."""
    with start(both_bundle, "--pools", str(pools), draft__first_wait_ms=10_000) as one:
        wait_until(lambda: one.events("worker_up", worker="draft"), 90)
        yield one


@pytest.fixture(scope="module")
def asker(scribe, connect):
    return connect(scribe)


@pytest.fixture(scope="module")
def greedy(both_bundle):
    """What `generate` of transformers writes."""
    tokenizer = Tokenizer.open(both_bundle / "target")
    model = AutoModelForCausalLM.from_pretrained(both_bundle / "target", dtype=torch.float32).eval()

    def write(prompt: str, most: int = 40) -> list[int]:
        ids = torch.tensor([tokenizer.encode(prompt)])
        with torch.inference_mode():
            written = model.generate(
                ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=most, eos_token_id=2,
                pad_token_id=0,
            )  # fmt: skip
        return [int(token) for token in written[0, ids.shape[1] :]]

    return write


@pytest.fixture(scope="module")
def in_process(both_bundle):
    """What the writer writes in this process, without pools."""
    writer = Writer.load(Bundle.open(both_bundle), slots=2, threads=1)

    def write(prompt: str, verification) -> Text:
        ((_, text),) = writer.write([(0, Asked(prompt, verification=verification))])
        assert isinstance(text, Text)
        return text

    return write


@pytest.mark.parametrize("draft", [kb.TextDraftSettings(), OFF, ALL])
@pytest.mark.parametrize("prompt", PROMPTS)
def test_an_exact_text_is_greedy_decodings(asker, greedy, in_process, prompt, draft):
    text = asker.text(prompt=prompt, draft=draft)
    assert list(text.token_ids) == greedy(prompt)
    assert text.text == in_process(prompt, Exact()).text
    assert text.verification == kb.TEXT_VERIFICATION_EXACT
    assert not text.relaxed
    assert text.passes <= len(text.token_ids)
    assert text.times.total_ns > text.times.pass_ns > 0
    if draft is OFF:
        assert (text.passes, len(text.tiers)) == (len(text.token_ids), 0)


@pytest.mark.parametrize("prompt", PROMPTS[:3])
def test_pieces_are_the_text(asker, prompt):
    *pieces, last = asker.text_events(prompt=prompt)
    assert [token for event in pieces for token in event.piece.token_ids] == list(last.summary.token_ids)
    assert "".join(event.piece.text for event in pieces) == last.summary.text
    assert len(pieces) == last.summary.passes  # short prompts: every pass adds to the text


def test_who_wants_only_the_summary_is_sent_nothing_else(asker):
    (only,) = asker.text_events(prompt=PROMPTS[0], summary_only=True)
    assert only.summary.text == asker.text_events(prompt=PROMPTS[0])[-1].summary.text


def test_tokens_and_text_are_one_prompt(asker, both_bundle):
    tokens = pb.TokenPrompt(token_ids=Tokenizer.open(both_bundle / "target").encode(PROMPTS[1]))
    assert asker.text(tokens=tokens).token_ids == asker.text(prompt=PROMPTS[1]).token_ids


def test_a_text_stops_where_the_request_or_the_model_says(asker, greedy):
    short = asker.text(prompt=PROMPTS[0], max_new_tokens=3)
    assert list(short.token_ids) == greedy(PROMPTS[0], 3)
    assert short.stop == kb.TEXT_STOP_MAX_NEW_TOKENS
    stops = {asker.text(prompt=prompt).stop for prompt in PROMPTS}
    assert stops <= {kb.TEXT_STOP_END, kb.TEXT_STOP_MAX_NEW_TOKENS}
    long = asker.text(prompt="<a_1>" * 55)
    assert long.stop in (kb.TEXT_STOP_MODEL_LENGTH, kb.TEXT_STOP_END)
    assert len(long.token_ids) <= 64 - 56


def test_a_seed_draws_the_same_text_whatever_is_drafted(asker, in_process):
    drawn = in_process(PROMPTS[0], Sampled(0.7, 8, 5))
    sampling = kb.TextSampling(temperature=0.7, top_k=8, seed=5)
    for draft in (OFF, ALL, kb.TextDraftSettings()):
        text = asker.text(prompt=PROMPTS[0], verification=SAMPLED, sampling=sampling, draft=draft)
        assert list(text.token_ids) == drawn.result.tokens.tolist()
        assert text.sampling == sampling
    named = asker.text(prompt=PROMPTS[0], verification=SAMPLED).sampling
    assert (named.temperature, named.top_k) == (1.0, 0)
    again = [asker.text(prompt=PROMPTS[0], verification=SAMPLED, sampling=named).text for _ in range(2)]
    assert again[0] == again[1]
    assert len({asker.text(prompt=PROMPTS[0], verification=SAMPLED).text for _ in range(4)}) > 1


def learn_and_wait(asker, scribe, wait_until, **fields) -> kb.Summary:
    """Have a text learned, and wait until the target drafts from it."""
    text = asker.text(learn=True, **fields)
    versions = {event["version"] for event in scribe.events("pools_open")}
    wait_until(lambda: {event["version"] for event in scribe.events("pools_open")} - versions, 30)
    return text


def test_what_was_learned_is_drafted(asker, scribe, wait_until, pools):
    first = learn_and_wait(asker, scribe, wait_until, prompt=PROMPTS[3], entity_id="u3", group="g1", draft=ALL)
    second = asker.text(prompt=PROMPTS[3], entity_id="u3", draft=ALL)
    assert second.token_ids == first.token_ids
    tiers = {tier.name: tier for tier in second.tiers}
    assert tiers["entity"].accepted > 0
    assert second.passes < first.passes
    assert second.pools_version
    other = {tier.name: tier for tier in asker.text(prompt=PROMPTS[3], entity_id="u9", group="g1", draft=ALL).tiers}
    assert "entity" not in other
    assert other["group"].accepted > 0
    assert pools.is_dir()


def test_a_text_that_must_not_be_learned_is_not(asker, scribe, pools):
    learned = len(scribe.events("texts_learned"))
    version = asker.text(prompt=PROMPTS[4], entity_id="u4").pools_version
    for _ in range(5):
        asker.text(prompt=PROMPTS[4], entity_id="u4", draft=ALL)
    assert len(scribe.events("texts_learned")) == learned
    assert asker.text(prompt=PROMPTS[4]).pools_version == version


def test_relaxed_tokens_keep_their_rule_and_are_all_told(asker, scribe, wait_until, greedy):
    draw = kb.TextSampling(temperature=1.5, seed=3)
    learn_and_wait(asker, scribe, wait_until, prompt=PROMPTS[2], entity_id="u2", verification=SAMPLED, sampling=draw)
    rule = kb.Relaxation(k=6, p=0.02)
    fields = {"prompt": PROMPTS[2], "entity_id": "u2", "verification": RELAXED, "draft": ALL}
    text = asker.text(relaxation=rule, **fields)
    assert text.relaxed
    assert list(text.token_ids) != greedy(PROMPTS[2])
    for token in text.relaxed:
        assert text.token_ids[token.position] == token.token_id != token.argmax_id
        assert 1 < token.rank <= 6
        assert 0.02 < token.q < token.q_max
    assert text.divergence == pytest.approx(sum(math.log(token.q_max / token.q) for token in text.relaxed), rel=1e-4)
    within = asker.text(relaxation=kb.Relaxation(k=6, p=0.02, max_divergence=text.divergence / 2), **fields)
    assert within.divergence <= text.divergence / 2
    assert list(asker.text(relaxation=kb.Relaxation(k=1), **fields).token_ids) == greedy(PROMPTS[2])


def test_texts_and_recommendations_share_passes_and_get_what_they_would_alone(asker, greedy):
    alone = asker.final(history=HISTORY, top_k=5)
    texts = {prompt: greedy(prompt) for prompt in PROMPTS}
    with ThreadPoolExecutor(16) as pool:
        writing = [(prompt, pool.submit(asker.text, prompt=prompt)) for _ in range(6) for prompt in PROMPTS]
        searching = [pool.submit(asker.final, 60.0, history=HISTORY, top_k=5) for _ in range(30)]
        for prompt, text in writing:
            assert list(text.result().token_ids) == texts[prompt]
        for each in searching:
            assert [item.item_id for item in each.result().items] == [item.item_id for item in alone.items]
            assert [item.log_prob for item in each.result().items] == pytest.approx(
                [item.log_prob for item in alone.items], abs=1e-4
            )


def test_the_log_tells_what_a_text_cost(asker, scribe, wait_until):
    text = asker.text(prompt=PROMPTS[0])
    wait_until(lambda: scribe.events("request_finished", request_id=text.request_id), 10)
    (line,) = scribe.events("request_finished", request_id=text.request_id)
    assert (line["rpc"], line["code"], line["passes"]) == ("Generate", "OK", text.passes)
    assert line["tokens"] == len(text.token_ids)
