"""What the knowledge demo runs on, made on first use and kept in the user's cache."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sidebeam.folklore.knowledge_world import KnowledgeWorld
from sidebeam.training.first_use import made_once
from sidebeam.training.recipe import Recipe
from sidebeam.training.shape import Shape

if TYPE_CHECKING:
    from sidebeam.training.progress import ProgressBar

THREADS = 2

MANIFEST = """# The knowledge demo: a language model, and pools of what was told before it by another hand.
[target]
path = "target"
[texts]
pools = "pools"
max_new_tokens = 256
"""


@dataclass(frozen=True, slots=True)
class FolklorePlan:
    """The world's size, and how its language model is trained: bounded by steps, the same on every machine."""

    version: str  # names the folder; any other change needs another
    seed: int
    aisles: int
    circles: int
    users: int
    pupils: int  # other customers, whom the language model learns from
    item_rounds: int
    model: Shape
    recipe: Recipe

    def world(self) -> KnowledgeWorld:
        """The world that the files are about."""
        return KnowledgeWorld.build(self.seed, aisles=self.aisles, circles=self.circles)

    def bundle(self, cache_dir: Path) -> Path:
        """Where the files are, or will be."""
        return cache_dir / f"knowledge-{self.version}"


PLAN = FolklorePlan(  # 1.2 M tokens at 6 MFLOP each: 140 CPU seconds
    version="2",
    seed=7,
    aisles=12,
    circles=24,
    users=2000,
    pupils=4500,
    item_rounds=2,
    model=Shape(layers=3, hidden=128, heads=4),
    recipe=Recipe(epochs=1, max_steps=880, batch_size=8, learning_rate=3e-3, seed=7),
)


def prepare_folklore(cache_dir: Path, progress: ProgressBar, plan: FolklorePlan = PLAN) -> Path:
    """The world's files, its language model and pools of its earlier texts as a bundle, made on first use.

    Raises what training, grouping and pools raise, and `KeyboardInterrupt`; there is then no bundle.
    """
    bundle, lock = plan.bundle(cache_dir), cache_dir / ".knowledge.lock"
    return made_once(bundle, lock, lambda folder: _fill(folder, progress, plan))


def _fill(folder: Path, progress: ProgressBar, plan: FolklorePlan) -> None:
    import torch
    from transformers.utils import logging

    from sidebeam.folklore.earlier_texts import pool_earlier_texts
    from sidebeam.folklore.language_model import train_lm

    logging.disable_progress_bar()
    torch.set_num_threads(min(THREADS, os.cpu_count() or 1))
    world = plan.world()
    world.write(folder, plan.users)
    pairs = world.pairs(plan.pupils, plan.item_rounds)
    train_lm(pairs, folder / "target", plan.model, plan.recipe, progress)
    pool_earlier_texts(folder, plan.circles, plan.seed, progress)
    (folder / "sidebeam.toml").write_text(MANIFEST, encoding="utf-8")
