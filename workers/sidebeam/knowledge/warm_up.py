"""Compiling, or fetching from the cache, all that a request and a commit call."""

from __future__ import annotations

import numpy as np

from sidebeam.knowledge.calibration import GLOBAL, GROUP, prior_weights
from sidebeam.knowledge.pool import Layer, Pool
from sidebeam.knowledge.segment import Segment
from sidebeam.knowledge.session import Indexes, Session


def warm_up() -> None:
    """Runs every kernel once with each kind of argument. Call it before the first request.

    Half a minute of one core on a new installation, a fraction of a second afterwards.
    """
    rng = np.random.default_rng(0)
    texts = {str(i): rng.integers(0, 60, 200).astype(np.int32) for i in range(4)}
    pool = Pool(Layer(Segment.build(texts))).changed({"1": texts["2"], "2": None})
    pool.count(texts["0"][:3])
    parts = [(layer.segment.index, layer.table, tier) for layer in pool.layers for tier in (GROUP, GLOBAL)]
    session = Session(texts["0"], Indexes.of(parts), prior_weights(), texts["1"])
    session.extend(texts["3"][:5])
    session.draft(63, 12)
