"""The training loop: next-token prediction over user histories, with Accelerate."""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor
from transformers import PreTrainedModel

from sidebeam.training.checkpoint import Checkpoint, Progress, Weights
from sidebeam.training.error import TrainingError
from sidebeam.training.loss import agreement_loss, next_token_loss
from sidebeam.training.progress import ProgressBar
from sidebeam.training.recipe import Recipe
from sidebeam.training.sequences import UNLABELLED, Batch, Sequences

VALIDATION_SEED = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended; losses in nats per token. The model then holds its best weights."""

    steps: int
    valid_loss: float | None  # the best; None without validation items


class Trainer:
    """Trains one model. After each epoch it validates, keeps the best weights and writes the checkpoint."""

    def __init__(
        self,
        model: PreTrainedModel,
        recipe: Recipe,
        train: Sequences,
        valid: Sequences,
        *,
        accelerator: Accelerator,
        bar: ProgressBar,
        checkpoint: Checkpoint,
        teacher: PreTrainedModel | None = None,
    ) -> None:
        self._recipe = recipe
        self._train = train
        self._valid = valid
        self._accelerator = accelerator
        self._bar = bar
        self._checkpoint = checkpoint
        self._teacher = None if teacher is None else teacher.to(accelerator.device).eval().requires_grad_(False)
        optimizer = torch.optim.AdamW(
            _decayed_groups(model, recipe.weight_decay), lr=recipe.learning_rate, betas=(0.9, 0.95)
        )
        self._model, self._optimizer = accelerator.prepare(model, optimizer)
        self._batches = math.ceil(math.ceil(len(train) / recipe.batch_size) / accelerator.num_processes)
        self._steps = recipe.steps(self._batches)
        self._progress = Progress()
        self._stop = False

    def run(self, label: str, *, resume: bool = False) -> Outcome:
        """Trains to the end, from the checkpoint if `resume`.

        Raises `TrainingError` at a loss that is not finite, and `KeyboardInterrupt`, with the state kept, when the
        user interrupts.
        """
        if resume:
            self._restore()
        progress = self._progress
        self._bar.begin(label, self._steps, progress.step)
        with self._interruptible():
            while progress.step < self._steps:
                self._train_epoch()
                valid_loss = self._validate()
                self._bar.epoch(progress.epoch + 1, progress.loss_sum / progress.batch, valid_loss)
                self._end_epoch(valid_loss)
        if progress.best is not None:
            self._unwrapped().load_state_dict(progress.best)
        return Outcome(progress.step, progress.best_loss)

    def _train_epoch(self) -> None:
        progress, recipe = self._progress, self._recipe
        self._model.train()
        for batch in self._share(self._train.batches(recipe.batch_size, recipe.seed, progress.epoch))[progress.batch :]:
            loss, tokens = self._step(self._train.collate(batch).to(self._accelerator.device))
            progress.step += 1
            progress.batch += 1
            progress.loss_sum += loss
            self._bar.step(loss, tokens)
            if progress.step == self._steps or progress.batch == self._batches:
                return
            if self._stop:
                self._save()
                raise KeyboardInterrupt

    def _share(self, batches: list[list[int]]) -> list[list[int]]:
        """This process's batches, as many as every other's: where they do not come out even, the first come twice."""
        first, processes = self._accelerator.process_index, self._accelerator.num_processes
        places = range(first, self._batches * processes, processes)
        return [batches[place % len(batches)] for place in places]

    def _step(self, batch: Batch) -> tuple[float, int]:
        rate = self._recipe.rate(self._progress.step, self._steps)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        loss, tokens = self._loss(batch)
        value = float(loss.detach())
        if not math.isfinite(value):
            raise TrainingError(
                f"step {self._progress.step + 1}: the loss is {value}; a lower --lr than {self._recipe.learning_rate} "
                "may help"
            )
        self._accelerator.backward(loss)
        self._accelerator.clip_grad_norm_(self._model.parameters(), self._recipe.clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        return value, tokens

    def _loss(self, batch: Batch) -> tuple[Tensor, int]:
        labelled = batch.labels != UNLABELLED
        logits = self._model(input_ids=batch.tokens, use_cache=False).logits[labelled]
        loss = next_token_loss(logits, batch.labels[labelled])
        if self._teacher is not None and self._recipe.distill > 0:
            with torch.no_grad(), self._accelerator.autocast():
                wanted = self._teacher(input_ids=batch.tokens, use_cache=False).logits[labelled]
            share = self._recipe.distill
            loss = (1 - share) * loss + share * agreement_loss(logits, wanted)
        return loss, len(logits)

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
        if valid_loss is not None and (progress.best_loss is None or valid_loss < progress.best_loss):
            progress.best_loss = valid_loss
            progress.best = {name: weight.detach().cpu().clone() for name, weight in self._weights().items()}
        progress.epoch, progress.batch, progress.loss_sum = progress.epoch + 1, 0, 0.0
        self._save()
        if self._stop and progress.step < self._steps:
            raise KeyboardInterrupt

    def _save(self) -> None:
        if self._accelerator.is_main_process:
            self._checkpoint.save(self._progress, self._weights(), self._optimizer.state_dict())

    def _restore(self) -> None:
        self._progress, weights, optimizer = self._checkpoint.load()
        self._unwrapped().load_state_dict(weights)
        self._optimizer.load_state_dict(optimizer)

    def _unwrapped(self) -> PreTrainedModel:
        model: PreTrainedModel = self._accelerator.unwrap_model(self._model)
        return model

    def _weights(self) -> Weights:
        weights: Weights = self._unwrapped().state_dict()
        return weights

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """Lets the first Ctrl-C wait for the end of a step, so that weights and optimizer agree in the checkpoint."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop(number: int, frame: FrameType | None) -> None:
            self._stop = True
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
