"""Between the workers' protobuf messages and the plain values of a search."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np

from sidebeam.catalog import Catalog
from sidebeam.search.request import (
    AcceptedBeams,
    Contract,
    DraftAdvice,
    Drafter,
    DraftMode,
    DraftSettings,
    DraftTree,
    DraftWanted,
    Ints,
    Sampling,
    SearchRequest,
    SearchResult,
)
from sidebeam.v1 import recommendation_pb2
from sidebeam.worker.v1 import draft_pb2, target_pb2, tree_pb2

CONTRACTS: dict[int, Contract] = {
    recommendation_pb2.SEARCH_UNSPECIFIED: "beam",
    recommendation_pb2.SEARCH_BEAM: "beam",
    recommendation_pb2.SEARCH_EXACT: "exact",
}
MODES: dict[int, DraftMode] = dict(enumerate(("auto", *get_args(DraftMode))))
DRAFTERS: dict[int, Drafter] = dict(enumerate(("model", *get_args(Drafter))))


class WireError(ValueError):
    """A message that no search can be made of; the text says why."""


def search_request(message: target_pb2.OpenSearch, catalog: Catalog) -> SearchRequest:
    """The search that a message asks for. Raises WireError."""
    if message.top_k < 1:
        raise WireError(f"top_k must be at least 1; given {message.top_k}")
    for name, value, known in (
        ("search", message.search, CONTRACTS),
        ("draft.mode", message.draft.mode, MODES),
        ("draft.drafter", message.draft.drafter, DRAFTERS),
    ):
        if value not in known:
            raise WireError(f"{name} has no value {value}")
    return SearchRequest(
        prompt=np.array(message.prompt, np.int64),
        top_k=message.top_k,
        contract=CONTRACTS[message.search],
        excluded=excluded_leaves(message.excluded_leaves, catalog),
        draft=DraftSettings(
            MODES[message.draft.mode],
            DRAFTERS[message.draft.drafter],
            message.draft.beams,
            message.draft.length,
        ),
        tree=hint(message.tree, catalog) if message.HasField("tree") else None,
        sampling=sampling(message),
        draft_ns=message.draft_ns,
    )


def sampling(message: target_pb2.OpenSearch | draft_pb2.ProposeRequest) -> Sampling | None:
    """How beams are drawn, None for strict verification. Raises WireError."""
    if not message.HasField("sampling"):
        return None
    given = message.sampling
    if not 0 < given.temperature < math.inf:
        raise WireError(f"sampling.temperature must be above 0; given {given.temperature}")
    return Sampling(given.temperature, given.top_k, given.seed)


def excluded_leaves(packed: bytes, catalog: Catalog) -> Ints | None:
    """Ascending leaf indices, None for none. Raises WireError for bytes that are not that."""
    if not packed:
        return None
    if len(packed) % 4:
        raise WireError(f"excluded_leaves must be of 4 bytes each; given {len(packed)} bytes")
    leaves = np.frombuffer(packed, "<u4").astype(np.int64)
    if leaves[-1] >= catalog.n_leaves or np.any(leaves[1:] <= leaves[:-1]):
        raise WireError(f"excluded_leaves must ascend and be below {catalog.n_leaves}")
    return leaves


def draft_tree(tree: tree_pb2.TokenTree, catalog: Catalog) -> DraftTree:
    """The nodes that were drafted. Prefixes outside the catalog are dropped, and with them all that is below.

    Raises WireError for arrays of different lengths, or a parent behind its child.
    """
    if not len(tree.tokens) == len(tree.parents) == len(tree.log_probs):
        raise WireError("tokens, parents and log_probs of a tree must be of one length")
    log_probs = np.array(tree.log_probs, np.float32)
    try:
        nodes = catalog.resolve(np.array(tree.tokens, np.int64), np.array(tree.parents, np.int64))
    except ValueError as error:
        raise WireError(str(error)) from error
    drafted = (nodes >= 0) & ~np.isnan(log_probs)
    return DraftTree(nodes[drafted], log_probs[drafted])


def hint(tree: tree_pb2.TokenTree, catalog: Catalog) -> DraftTree | None:
    """What was drafted; None if the tree cannot be read, for a bad draft must not fail a search."""
    try:
        return draft_tree(tree, catalog)
    except WireError:
        return None


def token_tree(nodes: Ints, log_probs: np.ndarray, catalog: Catalog) -> tree_pb2.TokenTree:
    """Write nodes with their ancestors; ancestors that only spell the way have no log-prob (NaN)."""
    tree, tokens, parents = catalog.spell(nodes)
    spelled = np.full(len(tree), np.nan, np.float32)
    spelled[np.searchsorted(tree, nodes)] = log_probs
    return tree_pb2.TokenTree(tokens=tokens.tolist(), parents=parents.tolist(), log_probs=spelled.tolist())


def start_beams(tree: tree_pb2.TokenTree, catalog: Catalog) -> AcceptedBeams | None:
    """The beams to draft below, best first; None for the prompt. Raises WireError for beams of several depths."""
    beams = draft_tree(tree, catalog)
    if not len(beams.nodes):
        return None
    depths = catalog.trie.depth_of(beams.nodes)
    if np.any(depths != depths[0]):
        raise WireError("the beams to start from must be of one depth")
    order = np.argsort(-beams.log_probs, kind="stable")
    return AcceptedBeams(int(depths[0]), beams.nodes[order], beams.log_probs[order])


def accepted_beams(beams: AcceptedBeams) -> target_pb2.SearchResponse:
    """The event of an accepted depth."""
    return target_pb2.SearchResponse(
        beams=target_pb2.AcceptedBeams(
            depth=beams.depth, nodes=beams.nodes.tolist(), log_probs=beams.log_probs.tolist()
        )
    )


def draft_wanted(wanted: DraftWanted, catalog: Catalog) -> target_pb2.SearchResponse:
    """The event that asks for a draft; no start means the prompt."""
    start = wanted.start
    tree = token_tree(start.nodes, start.log_probs, catalog) if start.depth else None
    return target_pb2.SearchResponse(
        draft_wanted=target_pb2.DraftWanted(start=tree, beams=wanted.beams, length=wanted.length)
    )


def search_result(result: SearchResult) -> target_pb2.SearchResponse:
    """The last event."""
    advice: DraftAdvice = result.advice
    return target_pb2.SearchResponse(
        result=target_pb2.SearchResult(
            leaves=result.leaves.tolist(),
            log_probs=result.log_probs.tolist(),
            passes=result.passes,
            rows=result.rows,
            drafted=result.drafted,
            accepted=result.accepted,
            queue_ns=result.queue_ns,
            pass_ns=result.pass_ns,
            search_ns=result.search_ns,
            advice=target_pb2.DraftAdvice(beams=advice.beams, length=advice.length),
            drafted_by_depth=result.drafted_by_depth,
            accepted_by_depth=result.accepted_by_depth,
            pass_log=[
                target_pb2.Pass(
                    pass_ns=each.pass_ns,
                    rows=each.rows,
                    drafted=each.drafted,
                    batch_rows=each.batch_rows,
                    batch_searches=each.batch_searches,
                    leads=each.leads,
                )
                for each in result.pass_log
            ],
        )
    )
