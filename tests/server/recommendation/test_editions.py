"""Editions stay as long as a request uses them, and no longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidebeam.bundle import Bundle, Tokenizer
from sidebeam.catalog import Catalog
from sidebeam.server.recommendation.edition import Edition
from sidebeam.server.recommendation.editions import Editions


@pytest.fixture
def make(tiny_bundle):
    bundle = Bundle.open(tiny_bundle)
    tokenizer = Tokenizer.open(bundle.tokenizer)

    def one(n):
        catalog = Catalog.build([f"i{i}" for i in range(n)], [[3 + i % 6, 9, 15, 21] for i in range(n)])
        return Edition.of(bundle, tokenizer, catalog, Path(f"/{n}"))

    return one


def test_an_old_edition_is_left_with_its_last_request(make):
    first, second = make(2), make(3)
    left = []
    editions = Editions(first)
    editions.left = left.append
    with editions.used(first):
        with editions.used(first):
            editions.switch(second)
        assert left == []
        assert [file.path for file in editions.files] == [Path("/3"), Path("/2")]
        assert editions.find(first.catalog.version) is first
    assert left == [first]
    assert [file.path for file in editions.files] == [Path("/3")]
    with editions.used(second):
        pass
    assert left == [first]


def test_an_unused_edition_is_left_at_once_and_may_come_again(make):
    first, second = make(2), make(3)
    left = []
    editions = Editions(first)
    editions.left = left.append
    editions.switch(second)
    assert left == [first]
    editions.switch(first)
    assert left == [first, second]
    assert (editions.current, len(editions)) == (first, 1)


def test_one_that_is_in_use_becomes_current_again(make):
    first, second = make(2), make(3)
    left = []
    editions = Editions(first)
    editions.left = left.append
    with editions.used(first):
        editions.switch(second)
        editions.switch(first)
    assert left == [second]
    assert editions.current is first


def test_tokens_that_the_tokenizer_does_not_know_make_no_edition(tiny_bundle):
    bundle = Bundle.open(tiny_bundle)
    catalog = Catalog.build(["a"], [[3, 9, 15, 99]])
    with pytest.raises(KeyError, match="99"):
        Edition.of(bundle, Tokenizer.open(bundle.tokenizer), catalog, None)
