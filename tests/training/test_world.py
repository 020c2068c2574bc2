"""The world has the structure that it promises: clusters, habits, a long tail, a few colliding SIDs."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from sidebeam.training import Items, World, read_interactions
from sidebeam.training.world import COLLIDING, HABIT, LONGEST, SHORTEST


@pytest.fixture(scope="module")
def shop() -> World:
    return World.build(7)


@pytest.fixture(scope="module")
def histories(shop: World) -> list[list[int]]:
    return shop.histories(600)


def test_one_seed_gives_one_world(shop: World, histories: list[list[int]]) -> None:
    again = World.build(7)
    assert again.titles == shop.titles
    assert np.array_equal(again.codes, shop.codes)
    assert again.histories(600) == histories
    assert World.build(8).histories(20) != histories[:20]
    assert shop.histories(20, stream=2) != histories[:20]


def test_sids_are_the_places_of_the_items(shop: World) -> None:
    sids = [tuple(sid) for sid in shop.sids]
    assert 1000 <= len(sids) <= 2000
    assert len(sids) - len(set(sids)) == round(COLLIDING * len(sids))
    assert len(set(shop.titles)) > 0.99 * len(sids)
    aisles = {sid[0] for sid in sids}
    assert len(aisles) == 12
    assert all(level in token for sid in sids for level, token in zip("abcd", sid, strict=True))


def test_habits_join_items_one_after_another(shop: World, histories: list[list[int]]) -> None:
    steps = [pair for items in histories for pair in pairwise(items)]
    usual = np.mean([after in shop.follow[before] for before, after in steps])
    far = np.mean([after in shop.follow[before] for before, after in zip(*_shuffled(steps), strict=True)])
    assert HABIT - 0.1 < usual < HABIT + 0.1
    assert far < 0.05


def test_a_user_keeps_to_few_aisles(shop: World, histories: list[list[int]]) -> None:
    top = [Counter(shop.aisle[items].tolist()).most_common(4) for items in histories if len(items) >= 12]
    lengths = [len(items) for items in histories if len(items) >= 12]
    share = np.mean([sum(n for _, n in aisles) / length for aisles, length in zip(top, lengths, strict=True)])
    assert share > 0.7  # of 12 aisles; 4 of them hold a third of evenly spread items


def test_popularity_has_a_head_and_a_long_tail(shop: World, histories: list[list[int]]) -> None:
    counts = sorted(Counter(item for items in histories for item in items).values(), reverse=True)
    fifth = len(shop.codes) // 5
    assert 0.5 < sum(counts[:fifth]) / sum(counts) < 0.85
    assert len(counts) > 0.7 * len(shop.codes)


def test_histories_have_no_repeats_and_bounded_lengths(histories: list[list[int]]) -> None:
    assert all(len(set(items)) == len(items) for items in histories)
    assert all(SHORTEST <= len(items) <= LONGEST for items in histories)


def test_the_files_are_what_training_reads(shop: World, tmp_path: Path) -> None:
    shop.write(tmp_path, users=30)
    items = Items.open(tmp_path / "items.json")
    titles = json.loads((tmp_path / "titles.json").read_text())
    assert list(titles) == list(items.ids)
    users = read_interactions(tmp_path / "interactions.jsonl", items)
    assert [[*user.train, *user.valid, *user.test] for user in users] == shop.histories(30)
    assert all(len(user.valid) == len(user.test) == 1 for user in users)


def _shuffled(steps: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    before, after = zip(*steps, strict=True)
    return list(before), np.random.default_rng(0).permutation(after).tolist()
