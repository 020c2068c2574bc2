"""Drafts trained on teacher data: they learn, resume, refuse other teachers, and are accepted."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from sidebeam.alignment.aim import OBJECTIVES, Aim
from sidebeam.alignment.lesson import DraftLesson
from sidebeam.engine import Recommender
from sidebeam.search import DraftSettings, SearchRequest
from sidebeam.training import TrainingError, World
from sidebeam.training.job import Job
from sidebeam.training.progress import ProgressBar
from sidebeam.training.recipe import Recipe
from sidebeam.training.shape import Shape
from sidebeam.training.trainer import Trainer

from .conftest import School

MakeDraft = Callable[..., Job]
DRAFT = Shape(layers=1, hidden=16, heads=2)


@pytest.fixture
def make_draft(school: School, tmp_path: Path) -> MakeDraft:
    """A job that trains a draft in a copy of the school's bundle."""
    shutil.copytree(school.target.out, tmp_path / "bundle")

    def make(**recipe: object) -> Job:
        settings = replace(Recipe(epochs=2, batch_size=16, learning_rate=5e-3, seed=1), **recipe)  # type: ignore[arg-type]
        return replace(school.target, out=tmp_path / "bundle", shape=DRAFT, recipe=settings, overwrite=True)

    return make


def _lesson(school: School, objective: str, **aim: object) -> DraftLesson:
    aimed = Aim(objective, beams=8, **aim)  # type: ignore[arg-type]
    return DraftLesson(aimed, school.teacher.out, school.teacher.interactions)


LESSONS = [
    *((name, {}) for name in OBJECTIVES),
    ("atspeed-s", {"on_policy": True}),
    ("joint", {"on_policy": True, "tau": 2.0}),
    ("atspeed-r", {"level_weights": (4.0, 2.0, 1.0, 0.0), "alpha": 1.0}),
]


@pytest.mark.parametrize(("objective", "aim"), LESSONS, ids=lambda value: str(value))
def test_each_objective_lowers_its_own_loss(
    school: School, make_draft: MakeDraft, bar: ProgressBar, objective: str, aim: dict[str, object]
) -> None:
    """On validation users: after a few dozen steps, against after one."""
    lesson = _lesson(school, objective, **aim)
    first = make_draft(max_steps=1).train_draft(bar, lesson).valid_loss
    later = make_draft(max_steps=60).train_draft(bar, lesson).valid_loss
    assert first is not None
    assert later is not None
    assert 0 < later < 0.97 * first


def test_without_teacher_data_the_histories_teach(school: School, make_draft: MakeDraft, bar: ProgressBar) -> None:
    for name, (goal, _) in OBJECTIVES.items():
        lesson = DraftLesson(Aim(name), None, school.teacher.interactions)
        if goal == "label":
            assert make_draft(max_steps=2).train_draft(bar, lesson).steps == 2
        else:
            with pytest.raises(TrainingError, match=f"--objective {name} learns from teacher data"):
                make_draft().train_draft(bar, lesson)


class InterruptingBar(ProgressBar):
    """Stands in for a person who presses Ctrl-C after `steps` steps."""

    def __init__(self, steps: int) -> None:
        super().__init__(Console(file=StringIO()))
        self._left = steps

    def step(self, loss: float, tokens: int) -> None:
        super().step(loss, tokens)
        self._left -= 1
        if self._left == 0:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize(("objective", "on_policy"), [("atspeed-s", False), ("top-n", False), ("atspeed-r", True)])
def test_resuming_gives_the_uninterrupted_result(
    school: School, make_draft: MakeDraft, bar: ProgressBar, objective: str, on_policy: bool
) -> None:
    lesson = _lesson(school, objective, on_policy=on_policy)
    job = make_draft(max_steps=40)
    outcome = job.train_draft(bar, lesson)
    wanted = load_file(job.out / "draft" / "model.safetensors")
    with pytest.raises(KeyboardInterrupt), InterruptingBar(33) as interrupting:
        job.train_draft(interrupting, lesson)
    assert replace(job, resume=True).train_draft(bar, lesson) == outcome
    found = load_file(job.out / "draft" / "model.safetensors")
    assert all(torch.equal(wanted[name], found[name]) for name in wanted)
    with pytest.raises(KeyboardInterrupt), InterruptingBar(3) as interrupting:
        job.train_draft(interrupting, lesson)
    with pytest.raises(TrainingError, match=r"other settings: alpha was 0\.8, now 0\.5"):
        replace(job, resume=True).train_draft(bar, _lesson(school, objective, on_policy=on_policy, alpha=0.5))


def test_a_loss_that_is_not_finite_stops_at_its_step(
    school: School, make_draft: MakeDraft, bar: ProgressBar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Padding must not hide it. What the last epoch left stays, to be resumed."""
    step = Trainer._step

    def poisoned(trainer: Trainer, *given: object) -> object:
        if trainer._progress.step == 34:
            with torch.no_grad():
                trainer._model.get_output_embeddings().weight[10:].fill_(torch.nan)
        return step(trainer, *given)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "_step", poisoned)
    job = make_draft(epochs=3)
    with pytest.raises(TrainingError, match="step 35: the loss is nan"):
        job.train_draft(bar, _lesson(school, "top-n", alpha=1.0))
    assert not (job.out / "draft").exists()
    monkeypatch.undo()
    assert replace(job, resume=True).train_draft(bar, _lesson(school, "top-n", alpha=1.0)).steps > 35


def test_another_target_or_catalog_is_refused(
    school: School, make_draft: MakeDraft, bar: ProgressBar, tmp_path: Path
) -> None:
    job = make_draft(max_steps=1)
    config = job.out / "target" / "config.json"
    plain = config.read_text()
    config.write_text(plain + "\n")
    with pytest.raises(TrainingError, match=r"teacher/manifest\.json: .*: target was '\w{16}', is '\w{16}'$"):
        job.train_draft(bar, _lesson(school, "joint"))
    config.write_text(plain)

    items = job.out / "items.json"
    items.write_text(items.read_text().replace('"95"', '"2000"'))
    with pytest.raises(TrainingError, match=r"manifest\.json: .*: catalog was '\w{16}', is '\w{16}'$"):
        job.train_draft(bar, _lesson(school, "sft"))
    shutil.copyfile(school.target.out / "items.json", items)

    shop = tmp_path / "other"
    shop.mkdir()
    World.build(3, aisles=2, shelves=3).write(shop, users=41)
    lesson = replace(_lesson(school, "top-k"), interactions=shop / "interactions.jsonl")
    with pytest.raises(TrainingError, match="interactions was"):
        job.train_draft(bar, lesson)
    assert job.train_draft(bar, _lesson(school, "top-k")).steps == 1


def test_limits_that_only_the_teacher_knows(school: School, make_draft: MakeDraft, bar: ProgressBar) -> None:
    job = make_draft(max_steps=1)
    lesson = DraftLesson(Aim("top-n", beams=4), school.teacher.out, school.teacher.interactions)
    with pytest.raises(TrainingError, match=r"--beams must be at least the teacher's 5\. Given: 4"):
        job.train_draft(bar, lesson)
    with pytest.raises(TrainingError, match=r"--level-weights must be 4 numbers, one for each depth.*Given: 2"):
        job.train_draft(bar, _lesson(school, "joint", level_weights=(1.0, 1.0)))


@pytest.mark.parametrize(
    ("aim", "says"),
    [
        ({"objective": "best"}, "--objective must be one of sft, word-kd, .*, top-n. Given: best"),
        ({"alpha": 1.5}, "--alpha must be from 0 to 1. Given: 1.5"),
        ({"alpha": float("nan")}, "--alpha must be from 0 to 1. Given: nan"),
        ({"beta": -1.0}, "--beta must be at least 0. Given: -1.0"),
        ({"tau": 0.001}, "--tau must be from 0.1 to 10.0. Given: 0.001"),
        ({"level_weights": (0.0, 0.0)}, "--level-weights must be at least 0, and one of them above. Given: 0,0"),
        ({"objective": "top-n", "on_policy": True}, "--on-policy goes with atspeed-s, atspeed-r, joint. Given: top-n"),
    ],
)
def test_bad_settings(aim: dict[str, object], says: str) -> None:
    with pytest.raises(TrainingError, match=says):
        Aim(**{"objective": "atspeed-s", **aim})  # type: ignore[arg-type]


def test_leaves_count_for_token_objectives_alone() -> None:
    assert Aim("atspeed-s").weights(4) == (1.0,) * 4
    assert Aim("top-n").weights(4) == (1.0,) * 3
    assert Aim("joint", level_weights=(0.0, 2.0, 0.0, 0.0)).weights(4) == (0.0, 2.0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("objective", "top_k"),
    # SeqKD counts the teacher's five beams all the same: it learns which they are, and not which three come first.
    [("seq-kd", 5), ("atspeed-s", 3), ("joint", 3), ("top-k", 3), ("top-n", 3)],
)
def test_an_aligned_draft_is_accepted(
    school: School, make_draft: MakeDraft, bar: ProgressBar, objective: str, top_k: int
) -> None:
    """How many depths the first pass brings beyond its own, for users that nobody was trained on."""
    depths = []
    for steps in (1, 200):
        job = make_draft(max_steps=steps, epochs=12)
        job.train_draft(bar, _lesson(school, objective))
        recommender = Recommender.load(job.out)
        users = World.build(3, aisles=2, shelves=3).histories(30, stream=2)
        prompts = [np.array(recommender.prompt([str(item) for item in items[:-1]])) for items in users]
        draft = DraftSettings("explicit", "model", 5, 3)
        results = recommender.search([SearchRequest(prompt, top_k, draft=draft) for prompt in prompts])
        depths.append(float(np.mean([result.depths[0] - 1 for result in results])))
    assert depths[1] > depths[0] + 0.3
