"""An interrupted run continues to the very weights of an uninterrupted one; a broken one says where it broke."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
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
from sidebeam.training.plan import Lora, Plan
from sidebeam.training.progress import ProgressBar
from sidebeam.training.recipe import Recipe
from sidebeam.training.trainer import Trainer

from .bases import save_base

MakeJob = Callable[..., Job]


EPOCH = 10  # steps


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


@pytest.mark.parametrize(
    "steps", [3, EPOCH, EPOCH + 1, 14], ids=["first epoch", "its last step", "next epoch", "later"]
)
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


@pytest.mark.parametrize("lora", [None, Lora(2, 4, dropout=0.2)], ids=["full", "lora"])
def test_resuming_a_base_with_dropout_and_accumulation(
    make_job: MakeJob, bar: ProgressBar, tmp_path: Path, lora: Lora | None
) -> None:
    """Random numbers are a function of the step, so a resumed run draws those of an uninterrupted one."""
    plan = Plan(base=save_base(tmp_path / "base", "qwen2"), lora=lora, dropout=0.2, label_smoothing=0.1, shuffle=0.5)
    job = make_job(recipe=Recipe(epochs=2, batch_size=4, accumulate=3, learning_rate=3e-3, seed=1), max_history=6)
    whole = replace(job, out=tmp_path / "whole")
    outcome = whole.train_target(bar, plan)

    with pytest.raises(KeyboardInterrupt), InterruptingBar(outcome.steps - 2) as interrupting:
        job.train_target(interrupting, plan)
    kept = torch.load(job.out / ".target.training", weights_only=True)
    assert any("lora_" in name for name in kept["weights"]) == (lora is not None)
    assert ("model.norm.weight" in kept["weights"]) == (lora is None)  # of what is frozen nothing is kept

    assert replace(job, resume=True).train_target(bar, plan) == outcome
    expected, found = _weights(whole.out), _weights(job.out)
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_resuming_needs_the_same_base(make_job: MakeJob, bar: ProgressBar, tmp_path: Path) -> None:
    plan = Plan(base=save_base(tmp_path / "base", "qwen2"))
    job = make_job(max_history=6)
    with pytest.raises(KeyboardInterrupt), InterruptingBar(2) as interrupting:
        job.train_target(interrupting, plan)
    resumed = replace(job, resume=True)
    with pytest.raises(TrainingError, match=r"other settings: content of --base was \w+, now None"):
        resumed.train_target(bar)
    with pytest.raises(TrainingError, match=r"other settings: lora was None, now Lora\(rank=2, alpha=4"):
        resumed.train_target(bar, replace(plan, lora=Lora(2, 4)))
    other = Plan(base=save_base(tmp_path / "other", "qwen2", initializer_range=0.1))
    with pytest.raises(TrainingError, match=r"other settings: content of --base was \w+, now \w+$"):
        resumed.train_target(bar, other)
    with pytest.raises(TrainingError, match=r"other settings: template was \{history\}, now then \{history\}"):
        replace(resumed, template="then {history}").train_target(bar, plan)


ENDLESS = """
import sys
from pathlib import Path
from sidebeam.training.job import Job
from sidebeam.training.plan import Lora, Plan
from sidebeam.training.progress import ProgressBar
from sidebeam.training.recipe import Recipe
from sidebeam.training.shape import Shape
import torch
torch.set_num_threads(1)
class Hanging(ProgressBar):
    steps = 0
    def step(self, loss, tokens):
        self.steps += 1
        while self.steps == 11:
            pass
data, out = map(Path, sys.argv[1:])
job = Job(data / "items.json", data / "interactions.jsonl", out, Shape(2, 32, 2),
          Recipe(epochs=3, batch_size=8, learning_rate=3e-3, seed=1), device="cpu")
with Hanging() as bar:
    job.train_target(bar)
"""


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_last_epoch(
    make_job: MakeJob, bar: ProgressBar, data: Path, tmp_path: Path
) -> None:
    job = make_job()
    whole = replace(job, out=tmp_path / "whole")
    outcome = whole.train_target(bar)
    state = job.out / ".target.training"
    with subprocess.Popen([sys.executable, "-c", ENDLESS, data, job.out], stderr=subprocess.DEVNULL) as run:
        try:
            until = time.monotonic() + 60
            while not state.exists() and run.poll() is None and time.monotonic() < until:
                time.sleep(0.05)
            time.sleep(0.5)  # into the next epoch
        finally:
            run.kill()
    assert torch.load(state, weights_only=True)["progress"]["epoch"] == 1
    assert replace(job, resume=True).train_target(bar) == outcome
    expected, found = _weights(whole.out), _weights(job.out)
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert sorted(path.name for path in job.out.iterdir()) == ["items.json", "sidebeam.toml", "target"]


def test_a_killed_save_does_no_harm(make_job: MakeJob, bar: ProgressBar) -> None:
    job = make_job(recipe=Recipe(max_steps=1))
    job.out.mkdir()
    for left in (".target.training.partial", ".items.json.partial"):
        (job.out / left).write_bytes(b"half a fi")
    (job.out / ".target.partial").mkdir()
    job.train_target(bar)
    assert sorted(path.name for path in job.out.iterdir()) == ["items.json", "sidebeam.toml", "target"]


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


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes a weight NaN right before a step."""

    def at(number: int) -> None:
        step = Trainer._step

        def poisoned(trainer: Trainer, batches: list[list[int]]) -> tuple[float, int]:
            if trainer._progress.step == number - 1:
                with torch.no_grad():
                    trainer._model.get_input_embeddings().weight.fill_(torch.nan)
            return step(trainer, batches)

        monkeypatch.setattr(Trainer, "_step", poisoned)

    return at


def test_a_loss_that_is_not_finite_stops_at_its_step(
    make_job: MakeJob, bar: ProgressBar, poison: Callable[[int], None]
) -> None:
    poison(5)
    job = make_job()
    with pytest.raises(TrainingError, match=r"^step 5: the loss is nan; a lower --lr than 0.003 may help$"):
        job.train_target(bar)
    assert not job.out.exists()


def test_the_last_good_state_outlives_a_loss_that_is_not_finite(
    make_job: MakeJob, bar: ProgressBar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, poison: Callable[[int], None]
) -> None:
    whole = make_job(out=tmp_path / "whole")
    outcome = whole.train_target(bar)
    job = make_job()
    poison(13)
    with pytest.raises(TrainingError, match=r"step 13: the loss is nan; .*--resume with it goes on after epoch 1"):
        job.train_target(bar)
    assert [path.name for path in job.out.iterdir()] == [".target.training"]
    monkeypatch.undo()
    assert replace(job, resume=True).train_target(bar) == outcome  # as if nothing had happened
    assert all(torch.equal(weight, _weights(whole.out)[name]) for name, weight in _weights(job.out).items())


def test_a_stopped_run_goes_on_with_a_lower_rate(
    make_job: MakeJob, bar: ProgressBar, monkeypatch: pytest.MonkeyPatch, poison: Callable[[int], None]
) -> None:
    job = make_job()
    poison(13)
    with pytest.raises(TrainingError, match="step 13"):
        job.train_target(bar)
    monkeypatch.undo()
    lower = replace(job, resume=True, recipe=replace(job.recipe, learning_rate=1e-3))
    assert lower.train_target(bar).steps == 3 * EPOCH


def test_weights_that_break_in_the_last_step_of_an_epoch_are_not_kept(
    make_job: MakeJob, bar: ProgressBar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of a step tells of the weights before it; those after it show in validation."""
    step = Trainer._step

    def breaking(trainer: Trainer, batches: list[list[int]]) -> tuple[float, int]:
        told = step(trainer, batches)
        if trainer._progress.step == 2 * EPOCH - 1:
            with torch.no_grad():
                trainer._model.get_input_embeddings().weight.fill_(torch.nan)
        return told

    monkeypatch.setattr(Trainer, "_step", breaking)
    job = make_job()
    with pytest.raises(TrainingError, match="step 20: the validation loss is nan"):
        job.train_target(bar)
    kept = torch.load(job.out / ".target.training", weights_only=True)
    assert kept["progress"]["epoch"] == 1
    assert all(weight.isfinite().all() for weight in kept["weights"].values())


def test_a_gradient_that_is_not_finite_changes_nothing(
    make_job: MakeJob, bar: ProgressBar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An overflow on the way back, where the loss itself is still a number."""
    backward = torch.Tensor.backward

    def overflowing(loss: torch.Tensor, *args: object, **kwargs: object) -> None:
        backward(loss * 1e38 * 1e4, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "backward", overflowing)
    with pytest.raises(TrainingError, match=r"step 1: the norm of the gradient is (nan|inf)"):
        make_job().train_target(bar)


def test_the_learning_rate_warms_up_and_falls_to_a_tenth() -> None:
    recipe = Recipe(learning_rate=1.0, warmup=0.1)
    rates = [recipe.rate(step, 100) for step in range(100)]
    assert rates[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.1, abs=1e-3)
