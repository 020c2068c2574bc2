"""The engine's life: limits, queues, cancelling, drafters that fail, and requests that cannot be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from sidebeam.knowledge.draft import TextDraft
from sidebeam.models import KVSlots, PackedModel
from sidebeam.texts import (
    Drafting,
    Exact,
    PromptLookup,
    Relaxed,
    Sampled,
    TextEngine,
    TextEvent,
    TextPiece,
    TextRequest,
    TextResult,
    TextTicket,
    Vocabulary,
)

from .conftest import END, POSITIONS, VOCAB, Pair, make_pair, prompts
from .drafters import Adversary, Clairvoyant, text_draft

PROMPT = np.array([1, 5, 14, 25, 35])


def endless(pair: Pair) -> TextEngine:
    """An engine whose texts have no end but the limits."""
    return TextEngine(pair.packed, Vocabulary.plain(VOCAB))


def run(engine: TextEngine) -> list[tuple[TextTicket, TextEvent]]:
    events = []
    while not engine.is_idle:
        events += engine.step()
    return events


def test_pieces_make_up_the_text(llama: Pair) -> None:
    engine = llama.engine(max_open=3)
    wanted = {}
    for i, prompt in enumerate(prompts(10, seed=1)):
        answer = llama.greedy(prompt, 20)
        wanted[engine.open(TextRequest(prompt, 20, drafter=Clairvoyant(answer, VOCAB, i)))] = answer
    pieces: dict[TextTicket, list[int]] = {ticket: [] for ticket in wanted}
    for ticket, event in run(engine):
        if isinstance(event, TextPiece):
            assert len(event.tokens)
            pieces[ticket] += event.tokens.tolist()
        else:
            assert event.tokens.tolist() == pieces[ticket] == wanted.pop(ticket)
            assert min(event.queue_ns, event.pass_ns, event.draft_ns, event.host_ns) >= 0
    assert not wanted


def test_a_text_stops_at_its_limit_whatever_is_drafted(llama: Pair) -> None:
    engine = endless(llama)
    (long,) = engine.generate([TextRequest(PROMPT, 30)])
    for limit in (1, 2, 3, 7, 30):
        for drafter in (None, Clairvoyant(long.tokens.tolist(), VOCAB, sight=1), Adversary(VOCAB)):
            (result,) = engine.generate([TextRequest(PROMPT, limit, drafter=drafter, drafting=Drafting("explicit"))])
            assert result.tokens.tolist() == long.tokens.tolist()[:limit]
            assert result.stop == "max_new_tokens"


@pytest.mark.parametrize("cells", [POSITIONS + 64, 40, 7])
def test_a_text_stops_where_the_model_or_its_slot_ends(cells: int) -> None:
    pair = make_pair("llama", seed=1, slots=2, cells=cells)
    engine = endless(pair)
    assert engine.longest == min(cells, POSITIONS)
    room = engine.longest - len(PROMPT)
    (plain,) = engine.generate([TextRequest(PROMPT, 500)])
    assert len(plain.tokens) == room
    assert plain.stop == "model_length"
    for drafter in (Clairvoyant(plain.tokens.tolist(), VOCAB), Adversary(VOCAB), PromptLookup()):
        (result,) = engine.generate([TextRequest(PROMPT, 500, drafter=drafter, drafting=Drafting("explicit"))])
        assert result.tokens.tolist() == plain.tokens.tolist()
    (last,) = engine.generate([TextRequest(np.full(engine.longest - 1, 5), 9)])
    assert (len(last.tokens), last.stop) == (1, "model_length")


def test_nothing_follows_an_end(llama: Pair) -> None:
    """Any token of a greedy text may be made the end: there the text stops, drafted or not."""
    (long,) = endless(llama).generate([TextRequest(PROMPT, 30)])
    tokens = long.tokens.tolist()
    for end in set(tokens):
        engine = TextEngine(llama.packed, Vocabulary.plain(VOCAB, [end, 89]))
        for drafter in (None, Clairvoyant(tokens, VOCAB, sight=1.0)):
            (result,) = engine.generate([TextRequest(PROMPT, 30, drafter=drafter, drafting=Drafting("explicit"))])
            assert result.tokens.tolist() == tokens[: tokens.index(end) + 1]
            assert result.stop == ("end" if end in tokens else "max_new_tokens")


def test_memory_is_taken_once_and_slots_come_back(llama: Pair) -> None:
    engine = llama.engine()
    engine.warm_up()
    before, free = llama.packed.slots.nbytes, llama.packed.slots.n_free
    assert before > 0
    assert len(engine.drafts.pace.points()) > 5
    for seed in range(3):
        engine.generate([TextRequest(prompt, 12, drafter=PromptLookup()) for prompt in prompts(20, seed=seed)])
    assert (llama.packed.slots.nbytes, llama.packed.slots.n_free) == (before, free)


def test_a_cancelled_text_leaves_the_next_pass(llama: Pair) -> None:
    engine = llama.engine(max_open=2)
    drafters = [Closing() for _ in range(4)]
    first, second, third, fourth = (engine.open(TextRequest(PROMPT, 8, drafter=drafter)) for drafter in drafters)
    free = llama.packed.slots.n_free
    engine.step()
    engine.cancel(first)
    engine.cancel(fourth)  # still waiting
    assert {ticket for ticket, _ in run(engine)} == {second, third}
    engine.cancel(first)
    engine.cancel(second)
    assert llama.packed.slots.n_free == free
    assert [drafter.open_sessions for drafter in drafters] == [0, 0, 0, 0]
    assert [drafter.opened for drafter in drafters] == [1, 1, 1, 0]


def test_two_engines_share_the_slots_of_one_model(llama: Pair) -> None:
    few, all_of_them = llama.engine(max_open=3), llama.engine()
    for engine in (few, all_of_them):
        for prompt in prompts(12, seed=3):
            engine.open(TextRequest(prompt, 10))
    results: list[TextResult] = []
    while not (few.is_idle and all_of_them.is_idle):
        for engine in (few, all_of_them):
            results += [event for _, event in engine.step() if isinstance(event, TextResult)]
    wanted = sorted(llama.greedy(prompt, 10) for prompt in prompts(12, seed=3))
    assert sorted(result.tokens.tolist() for result in results) == sorted(wanted * 2)


class Closing:
    """Drafts nothing, counts sessions."""

    def __init__(self) -> None:
        self.opened = self.open_sessions = 0

    def open(self, prompt: np.ndarray) -> Closing:
        self.opened += 1
        self.open_sessions += 1
        return self

    def draft(self, budget_rows: int, max_depth: int) -> TextDraft:
        return TextDraft.empty()

    def extend(self, tokens: np.ndarray) -> None:
        pass

    def close(self) -> None:
        self.open_sessions -= 1


class Failing(Closing):
    """Fails at one of its methods."""

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where

    def _fail(self, here: str) -> None:
        if here == self.where:
            raise RuntimeError(f"no {here} today")

    def open(self, prompt: np.ndarray) -> Failing:
        self._fail("open")
        super().open(prompt)
        return self

    def draft(self, budget_rows: int, max_depth: int) -> TextDraft:
        self._fail("draft")
        return text_draft([(3, -1)])

    def extend(self, tokens: np.ndarray) -> None:
        self._fail("extend")

    def close(self) -> None:
        super().close()
        self._fail("close")


@pytest.mark.parametrize("where", ["open", "draft", "extend", "close"])
def test_a_drafter_that_fails_fails_no_text(llama: Pair, where: str) -> None:
    drafter = Failing(where)
    (result,) = llama.engine().generate([TextRequest(PROMPT, 8, drafter=drafter, drafting=Drafting("explicit"))])
    assert result.tokens.tolist() == llama.greedy(PROMPT, 8)
    assert result.draft_error == f"RuntimeError: no {where} today"
    assert drafter.open_sessions == 0


NO_TREES: dict[str, tuple[TextDraft, str]] = {
    "unknown token": (text_draft([(VOCAB, -1)]), f"drafted tokens must be 0 to {VOCAB - 1}; given {VOCAB}"),
    "negative token": (text_draft([(-3, -1)]), "given -3"),
    "child before parent": (text_draft([(3, 1), (4, -1)]), "a drafted node must come after its parent"),
    "its own parent": (text_draft([(3, 0)]), "a drafted node must come after its parent"),
    "no such parent": (text_draft([(3, -2)]), "a drafted node must come after its parent"),
    "other types": (
        TextDraft(np.array([3], np.int32), np.array([-1], np.int32), np.ones(1, np.float32), np.array([300])),  # type: ignore[arg-type]
        "tiers as uint8",
    ),
    "other shape": (
        TextDraft(np.array([3, 4], np.int32), np.array([-1], np.int32), np.ones(2, np.float32), np.zeros(2, np.uint8)),
        "another shape",
    ),
}


@pytest.mark.parametrize("name", NO_TREES)
def test_a_draft_that_is_no_tree_is_refused(llama: Pair, name: str) -> None:
    draft, why = NO_TREES[name]

    class Malformed(Closing):
        def draft(self, budget_rows: int, max_depth: int) -> TextDraft:
            return draft

    (result,) = llama.engine().generate([TextRequest(PROMPT, 8, drafter=Malformed())])
    assert result.tokens.tolist() == llama.greedy(PROMPT, 8)
    assert result.draft_error is not None
    assert why in result.draft_error


def test_acceptance_is_counted_by_tier(llama: Pair) -> None:
    answer = llama.greedy(PROMPT, 12)

    class Tiered(Closing):
        """The truth comes from tier 4, something else from tier 1."""

        written = 0

        def draft(self, budget_rows: int, max_depth: int) -> TextDraft:
            nodes = [((answer[self.written] + 1) % VOCAB, -1), (answer[self.written], -1)]
            return text_draft(nodes, tiers=[1, 4])

        def extend(self, tokens: np.ndarray) -> None:
            self.written += len(tokens)

    (result,) = llama.engine().generate([TextRequest(PROMPT, 12, drafter=Tiered(), drafting=Drafting("explicit"))])
    drafts = result.passes - (len(answer) % 2)  # where one token is left, nothing is drafted
    assert result.drafted_by_tier == (0, drafts, 0, 0, drafts)
    assert result.accepted_by_tier == (0, 0, 0, 0, drafts)
    assert (result.drafted, result.accepted) == (2 * drafts, drafts)


BAD_REQUESTS: dict[str, tuple[Callable[[], Any], str]] = {
    "no prompt": (
        lambda: TextRequest(np.zeros(0, np.int64), 5),
        r"prompt must be a row of at least 1 token; .* \(0,\)",
    ),
    "a matrix": (lambda: TextRequest(np.zeros((2, 2), np.int64), 5), r"given shape \(2, 2\)"),
    "fractions": (lambda: TextRequest(np.ones(2), 5), "prompt must hold integers; given float64"),
    "no tokens": (lambda: TextRequest(PROMPT, 0), "max_new_tokens must be 1 or more; given 0"),
    "k of 0": (lambda: Relaxed(0), "k must be 1 to 64; given 0"),
    "a large k": (lambda: Relaxed(65), "k must be 1 to 64; given 65"),
    "a negative p": (lambda: Relaxed(p=-0.1), "p must be at least 0 and below 1; given -0.1"),
    "p of 1": (lambda: Relaxed(p=1.0), "p must be at least 0 and below 1; given 1.0"),
    "no p": (lambda: Relaxed(p=float("nan")), "p must be at least 0 and below 1; given nan"),
    "a negative cap": (lambda: Relaxed(max_divergence=-1), "max_divergence must be 0 or more; given -1"),
    "no cap": (lambda: Relaxed(max_divergence=float("nan")), "max_divergence must be 0 or more; given nan"),
    "no temperature": (lambda: Sampled(0.0), "temperature must be above 0 and finite; given 0.0"),
    "negative temperature": (lambda: Sampled(-1.0), "temperature must be above 0 and finite; given -1.0"),
    "endless temperature": (lambda: Sampled(float("inf")), "temperature must be above 0 and finite; given inf"),
    "a negative top_k": (lambda: Sampled(top_k=-1), "top_k must be 0 or more; given -1"),
    "a negative seed": (lambda: Sampled(seed=-1), r"seed must be 0 to 2\*\*63 - 1; given -1"),
    "no rows": (lambda: Drafting(rows=0), "rows must be 1 or more; given 0"),
    "no depth": (lambda: Drafting(depth=0), "depth must be 1 or more; given 0"),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_a_bad_request_names_the_field_and_its_limit(name: str) -> None:
    make, message = BAD_REQUESTS[name]
    with pytest.raises(ValueError, match=message):
        make()


def test_a_prompt_that_the_model_cannot_take_is_refused(llama: Pair) -> None:
    engine = llama.engine()
    cases = (
        (np.full(POSITIONS, 5), "prompt must be 1 to 95 tokens; given 96"),
        (np.array([5, VOCAB]), "prompt tokens must be 0 to 89; given 90"),
        (np.array([5, -1]), "prompt tokens must be 0 to 89; given -1"),
    )
    for prompt, message in cases:
        with pytest.raises(ValueError, match=message):
            engine.open(TextRequest(prompt, 5))
    assert engine.is_idle


def test_limits_of_an_engine_are_checked(llama: Pair) -> None:
    plain = Vocabulary.plain(VOCAB)

    def make(model: PackedModel = llama.packed, vocabulary: Vocabulary = plain, **options: int) -> TextEngine:
        return TextEngine(model, vocabulary, **options)

    with pytest.raises(ValueError, match="max_open must be 1 to 8, the model's slots; given 9"):
        make(max_open=9)
    with pytest.raises(ValueError, match="max_open must be 1 to 8"):
        make(max_open=0)
    with pytest.raises(ValueError, match="pass_rows must be 8 or more, one for each open text; given 7"):
        make(pass_rows=7)
    with pytest.raises(ValueError, match="the model has 90 tokens, the vocabulary 91"):
        make(vocabulary=Vocabulary.plain(91))
    with pytest.raises(ValueError, match="end tokens must be 0 to 89; given 90"):
        Vocabulary.plain(VOCAB, [90])
    assert make(pass_rows=8).generate([TextRequest(PROMPT, 3, Exact())])[0].stop in ("end", "max_new_tokens")


def test_cells_are_moved_in_every_layer_at_once() -> None:
    slots = KVSlots(3, 6)
    cells = torch.arange(6.0)
    for layer in range(2):
        for states in slots.layer(layer, torch.zeros(1, 2, 4)):
            states += cells[:, None] + 10 * layer
    slots.move(torch.tensor([1, 1, 2]), torch.tensor([4, 3, 5]), torch.tensor([3, 2, 0]))
    for layer in range(2):
        for states in slots.layer(layer, torch.zeros(1, 2, 4)):
            held = states[:, 1, :, 3] - 10 * layer
            assert held.tolist() == [[0, 1, 2, 3, 4, 5], [0, 1, 3, 4, 4, 5], [5, 1, 2, 3, 4, 5]]


def test_ends_are_those_of_the_vocabulary(llama: Pair) -> None:
    assert Vocabulary.plain(VOCAB, [END]).protected.nonzero()[0].tolist() == [END]
    assert llama.engine().vocabulary.ends == (END,)
