"""The catalog against plain Python dictionaries over random SIDs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidebeam.catalog import Catalog, CatalogError, CatalogFileError, LeafFilter


def random_catalog(seed: int, items: int = 60, codes: int = 4, length: int = 3) -> tuple[Catalog, np.ndarray]:
    rng = np.random.default_rng(seed)
    sids = rng.integers(0, codes, (items, length)) + 10 * np.arange(length) + 5
    return Catalog.build([str(i) for i in range(items)], sids), sids


@pytest.fixture(params=range(4))
def built(request: pytest.FixtureRequest) -> tuple[Catalog, np.ndarray]:
    return random_catalog(request.param, items=[1, 7, 60, 200][request.param])


def test_every_item_keeps_its_sid(built: tuple[Catalog, np.ndarray]) -> None:
    catalog, sids = built
    np.testing.assert_array_equal(catalog.sids_of(np.arange(len(sids))), sids)
    np.testing.assert_array_equal(catalog.sid_of(len(sids) - 1), sids[-1])


def test_leaves_group_colliding_items_in_order(built: tuple[Catalog, np.ndarray]) -> None:
    catalog, sids = built
    groups: dict[tuple[int, ...], list[int]] = {}
    for item, sid in enumerate(sids.tolist()):
        groups.setdefault(tuple(sid), []).append(item)
    assert catalog.n_leaves == len(groups)
    for leaf, sid in enumerate(sorted(groups)):
        assert catalog.items_of(leaf).tolist() == groups[sid]
        assert catalog.leaf_of(np.array(groups[sid])).tolist() == [leaf] * len(groups[sid])


def test_nodes_are_the_prefixes_breadth_first(built: tuple[Catalog, np.ndarray]) -> None:
    catalog, sids = built
    trie = catalog.trie
    for depth in range(1, catalog.depth + 1):
        nodes = np.arange(trie.level[depth], trie.level[depth + 1])
        prefixes = sorted({tuple(sid[:depth]) for sid in sids.tolist()})
        assert [tuple(path) for path in catalog.path(nodes).tolist()] == prefixes
        low, high = trie.leaves(nodes)
        leaves = sorted({tuple(sid) for sid in sids.tolist()})
        for prefix, a, b in zip(prefixes, low, high, strict=True):
            assert leaves[a:b] == [leaf for leaf in leaves if leaf[:depth] == prefix]


def test_children_are_found_by_token_and_nothing_else(built: tuple[Catalog, np.ndarray]) -> None:
    catalog, sids = built
    trie = catalog.trie
    inner = np.arange(trie.level[-2])
    prefixes: list[tuple[int, ...]] = [()]
    for depth in range(1, catalog.depth):
        prefixes += [tuple(p) for p in catalog.path(np.arange(trie.level[depth], trie.level[depth + 1])).tolist()]
    known = {tuple(sid[: i + 1]) for sid in sids.tolist() for i in range(catalog.depth)}
    for token in [*trie.alphabet.tolist(), 0, 10_000]:
        found = trie.child(inner, np.full(len(inner), token))
        for prefix, node in zip(prefixes, found.tolist(), strict=True):
            assert (node >= 0) == ((*prefix, token) in known)
            if node >= 0:
                assert tuple(catalog.path(np.array([node]))[0].tolist()) == (*prefix, token)


def test_spell_and_resolve_are_inverse(built: tuple[Catalog, np.ndarray]) -> None:
    catalog, _ = built
    some = np.random.default_rng(0).integers(1, catalog.trie.n_nodes, 9)
    nodes, tokens, parents = catalog.spell(some)
    assert set(some.tolist()) <= set(nodes.tolist())
    np.testing.assert_array_equal(catalog.resolve(tokens, parents), nodes)


def test_resolve_drops_what_hangs_below_an_unknown_token() -> None:
    catalog, sids = random_catalog(1)
    first = int(sids[0][0])
    assert catalog.resolve([9_999, first, int(sids[0][1])], [-1, 0, 1]).tolist() == [-1, -1, -1]
    with pytest.raises(ValueError, match="before its child"):
        catalog.resolve([first, first], [1, -1])


@pytest.mark.parametrize("ids", [["0", "1", "2"], ["7", "3", "99"], ["B00X", "é", "A"], ["01", "1", "10"]])
def test_ids_are_found_whatever_they_look_like(ids: list[str]) -> None:
    catalog = Catalog.build(ids, [[5, 6], [5, 7], [8, 6]])
    indices = catalog.item_indices(ids)
    assert sorted(indices.tolist()) == [0, 1, 2]
    assert catalog.item_ids(indices) == ids
    for unknown in ("", "x", "-1", "007", "12345678901234567890123", "3 "):
        assert catalog.item_index(unknown) is None
    np.testing.assert_array_equal(catalog.sid_of(catalog.item_index(ids[1])), [5, 7])


def test_a_saved_catalog_is_the_same_and_mapped(tmp_path: Path) -> None:
    catalog, sids = random_catalog(3, items=200)
    catalog.save(tmp_path / "a.catalog")
    mapped = Catalog.open(tmp_path / "a.catalog")
    assert mapped.version == catalog.version
    assert mapped.depth == catalog.depth
    np.testing.assert_array_equal(mapped.sids_of(np.arange(200)), sids)
    assert [p.name for p in tmp_path.iterdir()] == ["a.catalog"]


def test_the_version_follows_the_content() -> None:
    one, _ = random_catalog(1)
    again, _ = random_catalog(1)
    other, _ = random_catalog(2)
    assert one.version == again.version != other.version


@pytest.mark.parametrize("cut", [0, 10, 40, 400, -1])
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.catalog"
    random_catalog(1)[0].save(path)
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(CatalogFileError, match=r"a\.catalog"):
        Catalog.open(path)


def test_bad_items_are_refused() -> None:
    with pytest.raises(CatalogError, match="none given"):
        Catalog.build([], np.zeros((0, 2)))
    with pytest.raises(CatalogError, match="'a' stands in the catalog more than once"):
        Catalog.build(["a", "b", "a"], [[1, 2], [3, 4], [5, 6]])
    with pytest.raises(CatalogError, match="shape"):
        Catalog.build(["a"], [[1, 2], [3, 4]])


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 50), st.sets(st.integers(0, 59)))
def test_a_filter_keeps_exactly_the_prefixes_with_a_live_item(seed: int, excluded: set[int]) -> None:
    catalog, sids = random_catalog(seed)
    live = LeafFilter.without_items(catalog, np.array(sorted(excluded), np.int64))
    kept = [tuple(sid) for item, sid in enumerate(sids.tolist()) if item not in excluded]
    assert live.n_live == len(set(kept))
    for depth in range(1, catalog.depth + 1):
        nodes = np.arange(catalog.trie.level[depth], catalog.trie.level[depth + 1])
        alive = live.alive(catalog, nodes)
        for path, is_alive in zip(catalog.path(nodes).tolist(), alive.tolist(), strict=True):
            assert is_alive == any(sid[:depth] == tuple(path) for sid in kept)
    again = LeafFilter.without_leaves(catalog, live.dead)
    np.testing.assert_array_equal(again.live, live.live)


def test_filters_combine() -> None:
    catalog, _ = random_catalog(0)
    a = LeafFilter.without_leaves(catalog, np.array([0, 1]))
    b = LeafFilter.without_leaves(catalog, np.array([1, 2]))
    assert (a & b).dead.tolist() == [0, 1, 2]
    assert (~a).dead.tolist() == list(range(2, catalog.n_leaves))


def test_a_large_catalog_stays_small() -> None:
    rng = np.random.default_rng(0)
    sids = rng.integers(0, 256, (200_000, 4)) + np.arange(4) * 256
    catalog = Catalog.build([str(i) for i in range(len(sids))], sids)
    assert catalog.nbytes / catalog.n_items <= 24


@pytest.mark.parametrize("n", [1, 63, 64, 65, 128, 200])
def test_a_filter_counts_over_every_word_boundary(n: int) -> None:
    catalog = Catalog.build([str(i) for i in range(n)], [[i // 70, 100 + i // 7, 300 + i] for i in range(n)])
    rng = np.random.default_rng(n)
    for dead in (np.arange(n), np.arange(0), rng.choice(n, n // 2, replace=False), np.arange(n - 1, n)):
        live = LeafFilter.without_leaves(catalog, dead)
        assert live.n_live == n - len(dead)
        low, high = catalog.trie.leaves(np.arange(catalog.trie.n_nodes))
        wanted = [bool(live.live[a:b].any()) for a, b in zip(low, high, strict=True)]
        assert live.alive(catalog, np.arange(catalog.trie.n_nodes)).tolist() == wanted
