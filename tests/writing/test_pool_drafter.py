"""Drafts from pools in a real engine, and what the pools are told of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from sidebeam.knowledge.calibration import CELLS, TIERS, Calibration, PoolDraft
from sidebeam.knowledge.draft import ABOVE, TextDraft
from sidebeam.knowledge.error import PoolError
from sidebeam.knowledge.pools import Pools
from sidebeam.knowledge.tokenizer import tokenizer_fingerprint
from sidebeam.texts import Drafting, TextRequest, TextResult
from sidebeam.writing.pool_drafter import PoolDrafter, judged
from sidebeam.writing.writer import Asked, Writer

from .conftest import MOST_NEW, Shop, asked


def random_draft(rng: np.random.Generator, nodes: int, vocab: int) -> PoolDraft:
    """A tree whose siblings differ."""
    tokens: list[int] = []
    parents: list[int] = []
    taken: set[tuple[int, int]] = set()
    for _ in range(nodes):
        place = int(rng.integers(-1, len(tokens))), int(rng.integers(0, vocab))
        if place not in taken:
            taken.add(place)
            parents.append(place[0])
            tokens.append(place[1])
    n = len(tokens)
    return PoolDraft(
        np.array(tokens, np.int32),
        np.array(parents, np.int32),
        rng.random(n).astype(np.float32),
        rng.integers(0, 4, n).astype(np.uint8),
        rng.integers(0, CELLS, n).astype(np.int32),
        rng.random(n).astype(np.float32),
    )


def lines(draft: TextDraft) -> list[tuple[int, ...]]:
    """The tokens from the text's end to each node."""
    found: list[tuple[int, ...]] = []
    for token, parent in zip(draft.tokens.tolist(), draft.parents.tolist(), strict=True):
        found.append((*(() if parent == ABOVE else found[parent]), token))
    return found


def test_judged_is_what_the_text_decides() -> None:
    """A node is right if the text says its line, and judged if all above it are right and the text reaches it."""
    rng = np.random.default_rng(0)
    rights = 0
    for _ in range(300):
        draft = random_draft(rng, int(rng.integers(1, 30)), 3)
        tokens = rng.integers(0, 3, int(rng.integers(1, 6)))
        text = tuple(tokens.tolist())
        part, right = judged(draft, tokens)
        wanted = {
            line: node
            for node, line in enumerate(lines(draft))
            if len(line) <= len(text) and line[:-1] == text[: len(line) - 1]
        }
        told = lines(part)
        assert sorted(told) == sorted(wanted)
        assert [told[node] for node in right] == [text[: depth + 1] for depth in range(len(right))]
        assert {told[node] for node in right} == {line for line in wanted if line == text[: len(line)]}
        for column in ("probs", "tiers", "cells", "shares"):
            own = getattr(part, column).tolist()
            assert own == [getattr(draft, column).tolist()[wanted[line]] for line in told]
        rights += len(right)
    assert rights > 200


def opened(shop: Shop, folder: Path, *, write: bool = False) -> Pools:
    return Pools.open(folder, tokenizer_fingerprint(shop.bundle.tokenizer), write=write, calibration=Calibration())


def request(shop: Shop, prompt: str, drafter: PoolDrafter, mode: str = "explicit") -> TextRequest:
    ids = np.array(shop.tokenizer.encode(prompt))
    return TextRequest(ids, MOST_NEW, drafter=drafter, drafting=Drafting(mode))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def writer(shop: Shop) -> Writer:
    return Writer.load(shop.bundle, slots=4)


def test_the_last_pass_is_told_by_finish(shop: Shop, pools: Path, writer: Writer) -> None:
    """Of the pass that ends a text the engine tells a session nothing; here it brings most of it."""
    user = max(asked(30)[::2], key=lambda user: len(shop.greedy(user["prompt"])))
    with opened(shop, pools) as known:
        drafter = PoolDrafter(known, user["entity"], user["group"], tiers=("request", "group", "global"))
        (result,) = writer.engine.generate([request(shop, user["prompt"], drafter)])
        assert result.tokens.tolist() == shop.greedy(user["prompt"])
        assert result.passes == 3
        assert result.accepted == MOST_NEW - 3
        before = known.calibration.weights
        drafter.finish(result.tokens)
        told = known.calibration.weights
        assert (told > before).any()
        drafter.finish(result.tokens)  # once is enough
        np.testing.assert_array_equal(known.calibration.weights, told)


def test_every_pass_is_told_once(shop: Shop, pools: Path, writer: Writer) -> None:
    """Replayed: the same drafts, judged by the whole text from where each was made."""
    for user in asked(30)[1:20:2]:
        with opened(shop, pools) as known, opened(shop, pools) as again:
            drafter = PoolDrafter(known, user["entity"], user["group"])
            ticket = writer.engine.open(request(shop, user["prompt"], drafter))
            starts = [0]
            while True:
                ((_, piece), *last) = writer.engine.step()
                if last:
                    break
                starts.append(starts[-1] + len(piece.tokens))  # type: ignore[union-attr]
            result = last[0][1]
            assert isinstance(result, TextResult)
            assert last[0][0] is ticket
            drafter.finish(result.tokens)
            session = again.session(np.array(shop.tokenizer.encode(user["prompt"])), user["entity"], user["group"])
            for start, end in zip(starts, [*starts[1:], len(result.tokens)], strict=True):
                depth = MOST_NEW - start - 1
                if depth:
                    again.calibration.observe(*judged(session.draft(64, min(32, depth)), result.tokens[start:end]))
                session.extend(result.tokens[start:end])
            np.testing.assert_array_equal(known.calibration.weights, again.calibration.weights)


def test_a_failing_drafter_fails_no_text(shop: Shop, pools: Path, writer: Writer) -> None:
    user = asked(30)[1]
    wanted = shop.greedy(user["prompt"])
    with opened(shop, pools) as known:
        drafter = PoolDrafter(known, user["entity"], tiers=None)  # type: ignore[arg-type]
        (result,) = writer.engine.generate([request(shop, user["prompt"], drafter)])
        assert result.tokens.tolist() == wanted
        assert result.draft_error is not None
        assert result.draft_error.startswith("TypeError")
        drafter.finish(result.tokens)

        drafter = PoolDrafter(known, user["entity"])
        ticket = writer.engine.open(request(shop, user["prompt"], drafter))
        writer.engine.step()
        assert drafter._session is not None
        drafter._session.close()
        while not writer.engine.is_idle:
            ((_, event), *_) = reversed(writer.engine.step())
        assert ticket.tokens == wanted
        assert isinstance(event, TextResult)
        assert event.draft_error == "KnowledgeError: the session is closed"
        drafter.finish(event.tokens)
        assert writer.engine.is_idle


def test_learning_is_asked_for(shop: Shop, pools: Path, writer: Writer, tmp_path: Path) -> None:
    shutil.copytree(pools, tmp_path / "pools")
    user = asked(30)[1]
    with opened(shop, tmp_path / "pools", write=True) as known:
        before = {path.name: path.read_bytes() for path in known.folder.iterdir()}
        for learn in (False, True):
            drafter = PoolDrafter(known, user["entity"], user["group"], learn=learn)
            (result,) = writer.engine.generate([request(shop, user["prompt"], drafter, "off")])
            assert result.drafted == 0
            drafter.finish(result.tokens)
            assert known.commit() == learn
            if not learn:
                assert {path.name: path.read_bytes() for path in known.folder.iterdir()} == before
        told = known.text(user["entity"])
        assert told is not None
        assert told.tolist() == result.tokens.tolist()
        assert known.count(result.tokens, user["group"]) == 1
    with opened(shop, pools) as known:
        drafter = PoolDrafter(known, "u1", learn=True)
        with pytest.raises(PoolError, match="not open for writing"):
            drafter.finish(result.tokens)


def test_a_text_may_begin_as_the_entitys_earlier_one(shop: Shop, pools: Path, writer: Writer) -> None:
    with Pools.open(pools, tokenizer_fingerprint(shop.bundle.tokenizer)) as opened:
        user = asked(30)[0]
        earlier = opened.text(user["entity"])
        assert earlier is not None
        prompt = np.array([60, 61, 62])  # which no text holds
        session = PoolDrafter(opened, user["entity"], user["group"]).open(prompt)
        draft = session.draft(9, 6)
        chains = [line for line in lines(draft) if line == tuple(earlier[: len(line)].tolist())]
        assert max(map(len, chains)) == min(6, len(earlier))
        assert draft.probs.max() < 1
        assert all(draft.tiers[lines(draft).index(chain)] == TIERS.index("entity") for chain in chains)
        session.extend(np.array([70]))
        assert not len(session.draft(9, 6)) or lines(session.draft(9, 6))[0] != (int(earlier[0]),)
        for stranger in (
            PoolDrafter(opened, "nobody", user["group"]),
            PoolDrafter(opened, user["entity"], user["group"], tiers=("request", "global")),
        ):
            assert not len(stranger.open(prompt).draft(9, 6))


def test_one_pass_less_where_a_text_is_the_earlier_one(shop: Shop, pools: Path, writer: Writer) -> None:
    user = asked(30)[0]
    with Pools.open(pools, tokenizer_fingerprint(shop.bundle.tokenizer)) as opened:
        request = TextRequest(
            writer.request(Asked(user["prompt"])).prompt,
            MOST_NEW,
            drafter=PoolDrafter(opened, user["entity"], user["group"]),
            drafting=Drafting("explicit", rows=40, depth=32),
        )
        (result,) = writer.engine.generate([request])
    assert result.tokens.tolist() == shop.greedy(user["prompt"])
    assert result.passes == 1
