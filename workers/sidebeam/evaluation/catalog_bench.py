"""`sidebeam bench catalog`: size and speed of the catalog alone, on a synthetic one of any size, one core."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sidebeam.catalog import Catalog, LeafFilter
from sidebeam.search.scored_tree import ScoredTree, best

LENGTH, CODES = 4, 256  # SIDs of LC-Rec's shape
BEAMS = 20


def measure(items: int, repeats: int = 9) -> dict[str, float]:
    """Milliseconds and bytes, by what was measured."""
    rng = np.random.default_rng(0)
    sids = rng.integers(0, CODES, (items, LENGTH)) + CODES * np.arange(LENGTH)
    ids = [str(i) for i in range(items)]
    start = time.perf_counter()
    catalog = Catalog.build(ids, sids)
    built_ms = (time.perf_counter() - start) * 1e3
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "synthetic.catalog"
        catalog.save(path)
        size = path.stat().st_size
        mapped_ms, catalog = _best_of(1, lambda: Catalog.open(path))
        excluded = rng.choice(items, items // 2, replace=False)
        filter_ms, live = _best_of(repeats, lambda: LeafFilter.without_items(catalog, excluded))
        steps = {f"beam_step_depth_{d}_ms": _beam_step(catalog, None, d, repeats) for d in range(LENGTH)}
        filtered = max(_beam_step(catalog, live, d, repeats) for d in range(LENGTH))
    return {
        "items": items,
        "bytes_per_item": size / items,
        "build_ms": built_ms,
        "map_ms": mapped_ms,
        "filter_half_ms": filter_ms,
        **steps,
        "beam_step_filtered_worst_ms": filtered,
    }


def _beam_step(catalog: Catalog, live: LeafFilter | None, depth: int, repeats: int) -> float:
    """Score BEAMS nodes of one depth and choose the BEAMS best of their children; log-probs are at hand."""
    rng = np.random.default_rng(depth)
    level = catalog.trie.level
    nodes = np.arange(level[depth], level[depth + 1])
    beams = np.sort(rng.choice(nodes, min(BEAMS, len(nodes)), replace=False))
    paths = np.unique(catalog.trie.paths(beams)[:, :-1]) if depth else beams[:0]
    ancestors = np.unique(np.append(paths, 0)) if depth else paths
    times = []
    for _ in range(repeats):
        tree = ScoredTree(catalog, live)
        if len(ancestors):
            above = tree.frontier(ancestors)
            tree.expand(above, np.full(len(above.children), -1, np.float32))
        log_probs = -rng.exponential(size=len(tree.frontier(beams).children)).astype(np.float32)
        start = time.perf_counter()
        tree.expand(tree.frontier(beams), log_probs)
        entries = tree.entries(beams)
        chosen = entries[best(tree.score[entries], BEAMS)]
        times.append(time.perf_counter() - start)
        assert len(chosen)
    return min(times) * 1e3


def _best_of(repeats: int, run: Callable[[], Any]) -> tuple[float, Any]:
    times, result = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    return min(times) * 1e3, result
