"""The demo's bundle: a made-up shop, and a target and a draft trained on its customers, kept in the user's cache."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sidebeam.bundle import cache_folder
from sidebeam.training.first_use import made_once
from sidebeam.training.recipe import Recipe
from sidebeam.training.shape import Shape
from sidebeam.training.world import World

if TYPE_CHECKING:
    from sidebeam.training.progress import ProgressBar

THREADS = 2  # the machine that the plan was measured on; at its size more pay little


@dataclass(frozen=True, slots=True)
class DemoPlan:
    """What a demo is trained on, and how: bounded by steps, so that every machine gets the same models."""

    version: str  # names the folder; any other change needs another
    seed: int
    aisles: int
    users: int
    target: Shape
    target_recipe: Recipe
    draft: Shape
    draft_recipe: Recipe

    def world(self) -> World:
        """The world that the demo's models are trained on."""
        return World.build(self.seed, aisles=self.aisles)

    def bundle(self, cache_dir: Path) -> Path:
        """Where the bundle is, or will be."""
        return cache_dir / self.version


PLAN = DemoPlan(  # about a minute on two cores
    version="1",
    seed=7,
    aisles=12,
    users=3000,
    target=Shape(layers=4, hidden=192, heads=6),
    target_recipe=Recipe(epochs=2, batch_size=16, learning_rate=2e-3, seed=7),
    draft=Shape(layers=1, hidden=64, heads=4),
    draft_recipe=Recipe(epochs=1, batch_size=16, learning_rate=5e-3, seed=7),
)


def demo_cache() -> Path:
    """Where demo bundles are kept, in the user's cache."""
    return cache_folder() / "demo"


def prepare_demo(cache_dir: Path, progress: ProgressBar, plan: DemoPlan = PLAN) -> Path:
    """The demo's bundle, made on first use; it holds `interactions.jsonl` and `titles.json`, too."""
    return made_once(plan.bundle(cache_dir), cache_dir / ".lock", lambda folder: _fill(folder, progress, plan))


def _fill(folder: Path, progress: ProgressBar, plan: DemoPlan) -> None:
    import torch
    from transformers.utils import logging

    from sidebeam.training.job import Job

    logging.disable_progress_bar()
    torch.set_num_threads(min(THREADS, os.cpu_count() or 1))
    plan.world().write(folder, plan.users)
    target = Job(
        items=folder / "items.json",
        interactions=folder / "interactions.jsonl",
        out=folder,
        shape=plan.target,
        recipe=plan.target_recipe,
        device="cpu",
    )
    target.train_target(progress)
    replace(target, shape=plan.draft, recipe=plan.draft_recipe).train_draft(progress)
