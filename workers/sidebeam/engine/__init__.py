"""Search and model joined: continuous batching over open requests, in process or for asyncio callers."""

from sidebeam.engine.draft_model import DraftModel, DraftSession
from sidebeam.engine.engine import Engine, EngineInfo
from sidebeam.engine.holding import HeldSearch, Holding
from sidebeam.engine.loading import load_draft, load_target
from sidebeam.engine.recommender import Recommender
from sidebeam.engine.runner import EngineRunner, EngineStopped, EngineStream, PassEngine

__all__ = [
    "DraftModel",
    "DraftSession",
    "Engine",
    "EngineInfo",
    "EngineRunner",
    "EngineStopped",
    "EngineStream",
    "HeldSearch",
    "Holding",
    "PassEngine",
    "Recommender",
    "load_draft",
    "load_target",
]
