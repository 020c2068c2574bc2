"""Samples come after what texts and histories know; splits share no user; negatives are never anybody's own."""

from __future__ import annotations

import numpy as np
import pytest

from sidebeam.downstream.error import DownstreamError
from sidebeam.downstream.samples import ClickLog
from sidebeam.grouping import UserLog


@pytest.fixture(scope="module")
def log(logs: list[UserLog]) -> ClickLog:
    return ClickLog.of(logs)


def test_every_later_item_is_a_sample_after_its_own_past(log: ClickLog) -> None:
    split = log.split(0, history=7, negatives=3)
    met = 0
    for part in (split.train, split.valid, split.test):
        for row in np.flatnonzero(part.labels):
            user = int(part.users[row])
            whole = log.known[user] + log.later[user]
            place = whole.index(int(part.targets[row]))
            assert place >= len(log.known[user])
            window = whole[max(0, place - 7) : place]
            assert part.histories[row].tolist() == [0] * (7 - len(window)) + list(window)
            met += 1
    assert met == sum(map(len, log.later)) == 480


def test_negatives_are_even_draws_from_what_a_user_never_has(log: ClickLog) -> None:
    split = log.split(0, history=4, negatives=3)
    counts = np.zeros(len(log.items) + 1)
    for part in (split.train, split.valid, split.test):
        assert part.labels.mean() == pytest.approx(0.25)
        for user, item in zip(part.users[~part.labels], part.targets[~part.labels], strict=True):
            assert item not in log.known[user] + log.later[user]
            counts[item] += 1
    assert counts[0] == 0
    assert counts[1:].min() > 15  # of 36 each on average


def test_users_are_dealt_by_seed(log: ClickLog) -> None:
    splits = [log.split(seed, history=4, negatives=1) for seed in (0, 0, 1)]
    for split in splits:
        users = [set(part.users.tolist()) for part in (split.train, split.valid, split.test)]
        assert [len(each) for each in users] == [84, 12, 24]
        assert len(set.union(*users)) == 120
    assert np.array_equal(splits[0].test.targets, splits[1].test.targets)
    assert set(splits[0].test.users) != set(splits[2].test.users)


def test_bad_logs(logs: list[UserLog]) -> None:
    bare = [UserLog(f"u{user}", ("a",)) for user in range(20)] + [UserLog("x", (), ("a",))]
    with pytest.raises(DownstreamError, match=r"at least 10 users with items in 'train' and later ones.*there are 0"):
        ClickLog.of(bare)
    greedy = ClickLog.of([*logs[:12], UserLog("all", tuple(f"i{item}" for item in range(40)), ("i0",))])
    with pytest.raises(DownstreamError, match="user 'all' has all 40"):
        greedy.split(0, history=4, negatives=1)
