"""What is sent is what is received; what makes no sense is refused."""

from __future__ import annotations

import numpy as np
import pytest

from sidebeam.catalog import Catalog
from sidebeam.search.request import AcceptedBeams, DraftWanted
from sidebeam.v1 import recommendation_pb2 as pb
from sidebeam.worker.v1 import target_pb2, tree_pb2
from sidebeam.workers import wire


@pytest.fixture(scope="module")
def catalog():
    random = np.random.default_rng(3)
    sids = np.unique(random.integers(0, 5, (60, 3)), axis=0) + np.array([10, 20, 30])
    return Catalog.build([str(i) for i in range(len(sids))], sids)


def test_a_tree_survives_the_way(catalog):
    nodes = np.array([3, 9, 17, 40])
    log_probs = np.array([-1.5, -2.0, -np.inf, -0.25], np.float32)
    received = wire.draft_tree(wire.token_tree(nodes, log_probs, catalog), catalog)
    order = np.argsort(received.nodes)
    assert received.nodes[order].tolist() == nodes.tolist()
    assert received.log_probs[order].tolist() == log_probs.tolist()


def test_unknown_prefixes_are_dropped_with_all_below(catalog):
    nodes = np.array([1, int(catalog.trie.first_child[1])])
    tree = wire.token_tree(nodes, np.zeros(2, np.float32), catalog)
    tree.tokens[0] = 9999
    assert not len(wire.draft_tree(tree, catalog).nodes)


def test_start_beams_come_best_first(catalog):
    nodes = catalog.trie.children(np.array([0]))[0] + np.arange(3)
    beams = AcceptedBeams(1, nodes[::-1], np.array([-0.5, -1.0, -2.0], np.float32))
    wanted = wire.draft_wanted(DraftWanted(beams, 7, 2), catalog).draft_wanted
    received = wire.start_beams(wanted.start, catalog)
    assert (wanted.beams, wanted.length) == (7, 2)
    assert received is not None
    assert received.depth == 1
    assert received.nodes.tolist() == beams.nodes.tolist()


def test_no_start_means_the_prompt(catalog):
    root = AcceptedBeams(0, np.array([0]), np.zeros(1, np.float32))
    assert not wire.draft_wanted(DraftWanted(root, 7, 2), catalog).draft_wanted.HasField("start")
    assert wire.start_beams(tree_pb2.TokenTree(), catalog) is None


def test_beams_of_two_depths_are_refused(catalog):
    nodes = np.array([1, int(catalog.trie.first_child[2])])
    with pytest.raises(wire.WireError, match="one depth"):
        wire.start_beams(wire.token_tree(nodes, np.zeros(2, np.float32), catalog), catalog)


@pytest.mark.parametrize(
    "tree",
    [
        tree_pb2.TokenTree(tokens=[10], parents=[-1]),
        tree_pb2.TokenTree(tokens=[10], parents=[0], log_probs=[0]),
        tree_pb2.TokenTree(tokens=[10, 20], parents=[1, -1], log_probs=[0, 0]),
    ],
)
def test_a_tree_that_makes_no_sense_is_no_hint_and_no_error(catalog, tree):
    with pytest.raises(wire.WireError):
        wire.draft_tree(tree, catalog)
    assert wire.hint(tree, catalog) is None
    request = wire.search_request(target_pb2.OpenSearch(prompt=[1], top_k=1, tree=tree), catalog)
    assert request.tree is None


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"top_k": 0}, "top_k must be at least 1; given 0"),
        ({"top_k": 1, "search": 7}, "search has no value 7"),
        ({"top_k": 1, "draft": pb.DraftSettings(mode=9)}, "draft.mode has no value 9"),
        ({"top_k": 1, "excluded_leaves": b"\0"}, "4 bytes each"),
        ({"top_k": 1, "excluded_leaves": np.array([2, 1], "<u4").tobytes()}, "must ascend"),
        ({"top_k": 1, "excluded_leaves": np.array([10_000], "<u4").tobytes()}, "below"),
    ],
)
def test_a_search_that_cannot_be_is_refused(catalog, fields, words):
    with pytest.raises(wire.WireError, match=words):
        wire.search_request(target_pb2.OpenSearch(prompt=[1], **fields), catalog)


def test_settings_arrive_as_they_were_meant(catalog):
    draft = pb.DraftSettings(mode=pb.DRAFT_MODE_EXPLICIT, drafter=pb.DRAFTER_CATALOG, beams=9, length=2)
    excluded = np.array([0, 5], "<u4").tobytes()
    opening = target_pb2.OpenSearch(
        prompt=[4, 5], top_k=3, search=pb.SEARCH_EXACT, draft=draft, excluded_leaves=excluded, draft_ns=11
    )
    request = wire.search_request(opening, catalog)
    assert request.prompt.tolist() == [4, 5]
    assert (request.top_k, request.contract, request.draft_ns) == (3, "exact", 11)
    assert (request.draft.mode, request.draft.drafter) == ("explicit", "catalog")
    assert (request.draft.beams, request.draft.length) == (9, 2)
    assert request.excluded is not None
    assert request.excluded.tolist() == [0, 5]
