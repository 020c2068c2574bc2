"""What searches say of the passes they shared adds up to the passes that ran."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import numpy as np

from sidebeam.bundle import Bundle
from sidebeam.catalog import Catalog
from sidebeam.engine import load_target
from sidebeam.search import DraftSettings, SearchRequest, SearchResult
from sidebeam.search.request import PassRecord

SETTINGS = (DraftSettings("off"), DraftSettings("explicit", "catalog"), DraftSettings("auto"))


def test_every_pass_is_led_once_and_its_shares_add_up(catalog: Catalog, bundle_of: Callable[..., Bundle]) -> None:
    engine = load_target(bundle_of("llama"), catalog, slots=4)
    engine.warm_up()
    rng = np.random.default_rng(5)
    for n in range(9):
        prompt = np.concatenate([[1], rng.integers(3, 41, 3 + n)])
        engine.open(SearchRequest(prompt, 1 + n % 4, draft=SETTINGS[n % 3]))
    results: list[SearchResult] = []
    passes = 0
    while not engine.is_idle:
        events = engine.step()
        passes += 1
        results += [event for _, event in events if isinstance(event, SearchResult)]
    shares: dict[int, list[PassRecord]] = defaultdict(list)
    for result in results:
        assert len(result.pass_log) == result.passes
        assert sum(each.rows for each in result.pass_log) == result.rows
        assert sum(each.drafted for each in result.pass_log) == result.drafted
        assert sum(each.pass_ns for each in result.pass_log) == result.pass_ns
        for each in result.pass_log:
            shares[each.ended_ns].append(each)
    assert len(results) == 9
    assert len(shares) == passes
    assert max(map(len, shares.values())) == 4  # as many as there are slots
    for of_pass in shares.values():
        assert sum(each.leads for each in of_pass) == 1
        for each in of_pass:
            assert each.batch_searches == len(of_pass)
            assert each.batch_rows == sum(share.rows for share in of_pass)
    assert any(result.drafted for result in results)
