"""An interrupted run continues to the very weights of an uninterrupted one; a broken one says where it broke."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file

from sidebeam.training import TrainingError
from sidebeam.training.job import Job
from sidebeam.training.progress import ProgressBar
from sidebeam.training.recipe import Recipe
from sidebeam.training.sequences import Batch
from sidebeam.training.trainer import Trainer

MakeJob = Callable[..., Job]


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


def _weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "target" / "model.safetensors")


@pytest.mark.parametrize("steps", [3, 7, 8, 12], ids=["first epoch", "last step of it", "next epoch", "later"])
def test_resuming_gives_the_uninterrupted_result(
    make_job: MakeJob, bar: ProgressBar, tmp_path: Path, steps: int
) -> None:
    job = make_job()
    whole = replace(job, out=tmp_path / "whole")
    outcome = whole.train_target(bar)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), InterruptingBar(steps) as interrupting:
        job.train_target(interrupting)
    assert signal.getsignal(signal.SIGINT) is before
    assert [path.name for path in job.out.iterdir()] == [".target.training"]

    resumed = replace(job, resume=True).train_target(bar)
    assert resumed == outcome
    expected, found = _weights(whole.out), _weights(job.out)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert not (job.out / ".target.training").exists()


def test_resuming_needs_the_same_settings(make_job: MakeJob, bar: ProgressBar) -> None:
    job = make_job(resume=True)
    with pytest.raises(TrainingError, match="no unfinished training to resume"):
        job.train_target(bar)
    with pytest.raises(KeyboardInterrupt), InterruptingBar(2) as interrupting:
        replace(job, resume=False).train_target(interrupting)
    with pytest.raises(TrainingError, match="other settings: batch_size was 8, now 4; seed was 1, now 2"):
        replace(job, recipe=replace(job.recipe, batch_size=4, seed=2)).train_target(bar)


def test_a_damaged_state_is_refused(make_job: MakeJob, bar: ProgressBar) -> None:
    job = make_job(resume=True)
    job.out.mkdir()
    (job.out / ".target.training").write_bytes(b"half a fi")
    with pytest.raises(TrainingError, match=r"\.target\.training: cannot be read"):
        job.train_target(bar)


def test_a_loss_that_is_not_finite_stops_at_its_step(
    make_job: MakeJob, bar: ProgressBar, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer._step

    def poisoned(trainer: Trainer, batch: Batch) -> tuple[float, int]:
        if trainer._progress.step == 4:
            with torch.no_grad():
                trainer._unwrapped().get_input_embeddings().weight.fill_(torch.nan)
        return step(trainer, batch)

    monkeypatch.setattr(Trainer, "_step", poisoned)
    job = make_job()
    with pytest.raises(TrainingError, match="step 5: the loss is nan"):
        job.train_target(bar)
    assert not (job.out / "target").exists()


def test_the_learning_rate_warms_up_and_falls_to_a_tenth() -> None:
    recipe = Recipe(learning_rate=1.0, warmup=0.1)
    rates = [recipe.rate(step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.1, abs=1e-3)
