"""The training loop: next-token prediction over user histories, with Accelerate."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from types import FrameType
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import PreTrainedModel

from sidebeam.training.checkpoint import Checkpoint, Progress, Weights
from sidebeam.training.error import TrainingError
from sidebeam.training.objective import Movable, Objective, Samples
from sidebeam.training.progress import ProgressBar
from sidebeam.training.recipe import Recipe

VALIDATION_SEED = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended; losses in nats per token. The model then holds its best weights."""

    steps: int
    valid_loss: float | None  # the best; None without validation items


@dataclass(slots=True)
class Stop:
    """Whether to end at the next step: once asked, or, of several processes, once all know that one was asked."""

    several: bool
    asked: bool = False
    agreed: bool = False

    def __bool__(self) -> bool:
        return self.agreed if self.several else self.asked


class Trainer:
    """Trains one model. After each epoch it validates, keeps the best weights and writes the checkpoint."""

    def __init__(
        self,
        model: PreTrainedModel,
        recipe: Recipe,
        train: Samples[Any],
        valid: Samples[Any],
        *,
        objective: Objective[Any],
        accelerator: Accelerator,
        bar: ProgressBar,
        checkpoint: Checkpoint,
    ) -> None:
        self._recipe = recipe
        self._train = train
        self._valid = valid
        self._accelerator = accelerator
        self._bar = bar
        self._checkpoint = checkpoint
        self._objective = objective
        objective.to(accelerator.device)
        optimizer = torch.optim.AdamW(
            _decayed_groups(model, recipe.weight_decay), lr=recipe.learning_rate, betas=(0.9, 0.95), fused=True
        )
        self._model, self._optimizer = accelerator.prepare(model, optimizer)
        self._batches = math.ceil(math.ceil(len(train) / recipe.batch_size) / accelerator.num_processes)
        self._steps = recipe.steps(self._batches)
        self._progress = Progress()
        self._stop = Stop(accelerator.num_processes > 1)

    def run(self, label: str, *, resume: bool = False) -> Outcome:
        """Trains to the end, from the checkpoint if `resume`.

        Raises `TrainingError` at a loss that is not finite, and `KeyboardInterrupt`, with the state kept, when the
        user interrupts.
        """
        if resume:
            self._restore()
        progress, patience = self._progress, self._recipe.patience
        self._bar.begin(label, self._steps, progress.step)
        with self._interruptible(), self._own_random():
            while progress.step < self._steps and not (patience and progress.stale >= patience):
                self._train_epoch()
                valid_loss = self._validate()
                self._bar.epoch(progress.epoch + 1, progress.loss_sum / progress.done, valid_loss)
                self._end_epoch(valid_loss)
        if progress.step < self._steps:
            best = progress.epoch - progress.stale
            self._bar.note(f"{label}: nothing gained in {progress.stale} epochs; epoch {best} is the best")
        if progress.best is not None:
            self._load(progress.best)
        return Outcome(progress.step, progress.best_loss)

    def _train_epoch(self) -> None:
        progress = self._progress
        self._model.train()
        for batches in self._rounds(progress.epoch)[progress.done :]:
            loss, tokens = self._step(batches)
            progress.step += 1
            progress.done += 1
            progress.loss_sum += loss
            self._bar.step(loss, tokens)
            if progress.step == self._steps or progress.done * self._recipe.accumulate >= self._batches:
                return
            if self._stop:
                self._save()
                raise KeyboardInterrupt

    def _rounds(self, epoch: int) -> list[list[list[int]]]:
        """This process's batches of each step, as many as every other's.

        Where they do not come out even, the first ones come twice.
        """
        recipe = self._recipe
        batches = self._train.batches(recipe.batch_size, recipe.seed, epoch)
        first, processes = self._accelerator.process_index, self._accelerator.num_processes
        share = [batches[place % len(batches)] for place in range(first, self._batches * processes, processes)]
        return [share[at : at + recipe.accumulate] for at in range(0, len(share), recipe.accumulate)]

    def _step(self, batches: list[list[int]]) -> tuple[float, int]:
        """One step over all processes' batches, each of their tokens weighing the same: mean loss, and tokens."""
        recipe, accelerator = self._recipe, self._accelerator
        self._prepare_step()
        sums = torch.zeros(3, device=accelerator.device)  # losses, tokens, processes that want to stop
        for number, indices in enumerate(batches, start=1):
            batch = self._train.collate(indices).to(accelerator.device)
            with nullcontext() if number == len(batches) else accelerator.no_sync(self._model):
                loss, tokens = self._loss(batch)
                accelerator.backward(loss * (tokens / recipe.batch_size))
            sums[0] += loss.detach() * tokens
            sums[1] += tokens
        sums[2] = float(self._stop.asked)
        if accelerator.num_processes > 1:
            sums = accelerator.reduce(sums, "sum")
        total, count, stopping = sums.tolist()
        self._stop.agreed = stopping > 0
        self._check(total / count, f"step {self._progress.step + 1}: the loss")
        self._turn_into_mean(count)
        norm = accelerator.clip_grad_norm_(self._model.parameters(), recipe.clip)
        if accelerator.scaler is None:  # a scaler leaves such a step out and goes on with a smaller scale
            self._check(float(norm), f"step {self._progress.step + 1}: the norm of the gradient")
        self._optimizer.step()
        self._optimizer.zero_grad()
        return total / count, int(count)

    def _prepare_step(self) -> None:
        """Rate and random numbers are functions of the step alone, so a resumed run needs no state of theirs."""
        step, recipe = self._progress.step, self._recipe
        rate = recipe.rate(step, self._steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(_seed(recipe.seed, step, self._accelerator.process_index))

    def _turn_into_mean(self, count: float) -> None:
        """From the mean over processes of loss sums per `batch_size` to the mean over all `count` tokens."""
        factor = self._accelerator.num_processes * self._recipe.batch_size / count
        for weight in self._model.parameters():
            if weight.grad is not None:
                weight.grad.mul_(factor)

    def _check(self, value: float, what: str) -> None:
        if not math.isfinite(value):
            epoch = self._progress.epoch
            kept = f"; --resume with it goes on after epoch {epoch}, whose state is kept" if epoch else ""
            raise TrainingError(f"{what} is {value}; a lower --lr than {self._recipe.learning_rate} may help{kept}")

    def _loss(self, batch: Movable) -> tuple[Tensor, int]:
        with self._accelerator.autocast(), self._attention():
            return self._objective.loss(self._model, batch)

    def _attention(self) -> AbstractContextManager[None]:
        """On a CPU, bfloat16 attention is several times faster as plain products than as one kernel."""
        plain = self._accelerator.device.type == "cpu" and self._accelerator.mixed_precision == "bf16"
        context: AbstractContextManager[None] = sdpa_kernel(SDPBackend.MATH) if plain else nullcontext()
        return context

    @torch.no_grad()
    def _validate(self) -> float | None:
        """Mean loss over the validation items, nats per token; every process takes all of them."""
        if not len(self._valid):
            return None
        self._model.eval()
        total, count = 0.0, 0
        for indices in self._valid.batches(self._recipe.batch_size, VALIDATION_SEED, epoch=0):
            loss, tokens = self._loss(self._valid.collate(indices).to(self._accelerator.device))
            total += float(loss) * tokens
            count += tokens
        return total / count

    def _end_epoch(self, valid_loss: float | None) -> None:
        progress = self._progress
        if valid_loss is not None:
            self._check(valid_loss, f"step {progress.step}: the validation loss")
            progress.stale += 1
            if progress.best_loss is None or valid_loss < progress.best_loss:
                progress.best_loss, progress.stale = valid_loss, 0
                progress.best = {name: weight.cpu().clone() for name, weight in self._weights().items()}
        progress.epoch, progress.done, progress.loss_sum = progress.epoch + 1, 0, 0.0
        self._save()
        if self._stop and progress.step < self._steps:
            raise KeyboardInterrupt

    def _save(self) -> None:
        if self._accelerator.is_main_process:
            optimizer, scaler = self._optimizer.state_dict(), self._accelerator.scaler
            state = optimizer if scaler is None else {**optimizer, "scaler": scaler.state_dict()}
            self._checkpoint.save(self._progress, self._weights(), state)

    def _restore(self) -> None:
        self._progress, weights, optimizer = self._checkpoint.load()
        self._load(weights)
        if (scaler := optimizer.pop("scaler", None)) is not None:
            self._accelerator.scaler.load_state_dict(scaler)
        self._optimizer.load_state_dict(optimizer)

    def _weights(self) -> Weights:
        """What is trained; of shared weights one name."""
        model: PreTrainedModel = self._accelerator.unwrap_model(self._model)
        return {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}

    @torch.no_grad()
    def _load(self, weights: Weights) -> None:
        for name, weight in self._weights().items():
            weight.copy_(weights[name])

    @contextmanager
    def _own_random(self) -> Iterator[None]:
        """Leaves the caller's random numbers as they were."""
        device = self._accelerator.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Lets the first Ctrl-C wait for the end of a step, so that weights and optimizer agree in the checkpoint."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: FrameType | None) -> None:
            self._stop.asked = True
            signal.signal(signal.SIGINT, previous)

        previous: Callable[[int, FrameType | None], Any] | int | None = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, previous)


def _decayed_groups(model: PreTrainedModel, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices decay; norms, whose weights are vectors, do not."""
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    return [
        {"params": [weight for weight in weights if weight.dim() > 1], "weight_decay": weight_decay},
        {"params": [weight for weight in weights if weight.dim() <= 1], "weight_decay": 0.0},
    ]


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1)[0])
