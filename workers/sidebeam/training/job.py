"""One training job: files in, a part of a bundle out."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from accelerate import Accelerator, PartialState
from transformers import AutoModelForCausalLM, PreTrainedModel

from sidebeam.training.bundle_folder import BundleFolder
from sidebeam.training.checkpoint import Checkpoint, Setting
from sidebeam.training.error import TrainingError
from sidebeam.training.fresh_model import fresh_model
from sidebeam.training.histories import Items, read_interactions
from sidebeam.training.progress import ProgressBar
from sidebeam.training.recipe import Recipe
from sidebeam.training.sequences import Sequences, Window, training_windows, validation_windows
from sidebeam.training.shape import Shape
from sidebeam.training.trainer import Outcome, Trainer
from sidebeam.training.vocabulary import Vocabulary

Device = Literal["auto", "cpu"]
Precision = Literal["no", "bf16"]

MOST_VALIDATED = 2000  # windows: enough for a steady loss, and a small part of an epoch
MIN_POSITIONS = 512  # room for prompts longer than training's


@dataclass(frozen=True, slots=True)
class Job:
    """What to train on, into which bundle, how large and how.

    `max_history` counts for a target only: a draft takes its target's.
    """

    items: Path
    interactions: Path
    out: Path
    shape: Shape
    recipe: Recipe
    max_history: int = 20
    device: Device = "auto"
    precision: Precision = "no"
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.max_history < 1:
            raise TrainingError(f"--max-history must be at least 1. Given: {self.max_history}")

    def train_target(self, bar: ProgressBar) -> Outcome:
        """Trains a target and makes `out` a bundle around it.

        Raises `TrainingError`; `out` then has no new part.
        """
        folder = BundleFolder(self.out)
        self._check_free(folder.target)
        items = Items.open(self.items)
        vocabulary = Vocabulary.of(items)
        train, valid = self._sequences(items, vocabulary)
        positions = self._positions(items)
        model = fresh_model(
            self.shape,
            vocabulary,
            vocab_size=len(vocabulary.ids),
            max_positions=positions,
            seed=self.recipe.seed,
        )
        checkpoint = self._checkpoint("target")
        outcome = self._train(model, train, valid, checkpoint, bar, "target")

        def fill(part: Path) -> None:
            model.save_pretrained(part)
            vocabulary.save(part, positions)

        if PartialState().is_main_process:
            folder.write_target(fill, self.items, self.max_history)
            checkpoint.remove()
        return outcome

    def train_draft(self, bar: ProgressBar) -> Outcome:
        """Trains a draft for the target in `out` and adds it to the bundle.

        Raises `TrainingError`; `out` then has no new part.
        """
        folder = BundleFolder(self.out)
        bundle = folder.open_for_draft()
        job = replace(self, max_history=bundle.prompt.max_history)
        job._check_free(folder.draft)
        items = Items.open(self.items)
        vocabulary = Vocabulary.open(bundle.tokenizer)
        train, valid = job._sequences(items, vocabulary)
        teacher = _open_model(bundle.target)
        model = fresh_model(
            self.shape,
            vocabulary,
            vocab_size=teacher.config.vocab_size,
            max_positions=job._positions(items),
            seed=self.recipe.seed,
        )
        checkpoint = job._checkpoint("draft")
        outcome = job._train(model, train, valid, checkpoint, bar, "draft", teacher)

        def fill(part: Path) -> None:
            model.save_pretrained(part)
            for name in ("tokenizer.json", "tokenizer_config.json"):
                if (bundle.tokenizer / name).exists():
                    shutil.copyfile(bundle.tokenizer / name, part / name)

        if PartialState().is_main_process:
            folder.write_draft(fill)
            checkpoint.remove()
        return outcome

    def _check_free(self, part: Path) -> None:
        if part.exists() and not self.overwrite:
            raise TrainingError(f"{part}: there already; --overwrite replaces it when the new one is complete")

    def _positions(self, items: Items) -> int:
        return max(MIN_POSITIONS, 2 * items.depth * (self.max_history + 1))

    def _sequences(self, items: Items, vocabulary: Vocabulary) -> tuple[Sequences, Sequences]:
        """Training and validation sequences; validation is an even sample of the users."""
        histories = read_interactions(self.interactions, items)
        sids = vocabulary.encode(items)
        train = [window for history in histories for window in training_windows(history, self.max_history)]
        if not train:
            raise TrainingError(f"{self.interactions}: no user has two training items, so there is nothing to predict")
        valid = [window for history in histories for window in validation_windows(history, self.max_history)]
        stride = -(-len(valid) // MOST_VALIDATED) or 1
        return _rows(train, sids, vocabulary), _rows(valid[::stride], sids, vocabulary)

    def _checkpoint(self, part: str) -> Checkpoint:
        settings: dict[str, Setting] = {**asdict(self.recipe), **asdict(self.shape)}
        processes = PartialState(cpu=self.device == "cpu").num_processes
        settings.update(max_history=self.max_history, precision=self.precision, processes=processes)
        for name in ("items", "interactions"):
            settings[f"content of --{name}"] = hashlib.sha256(getattr(self, name).read_bytes()).hexdigest()[:12]
        return Checkpoint(self.out / f".{part}.training", settings)

    def _train(
        self,
        model: PreTrainedModel,
        train: Sequences,
        valid: Sequences,
        checkpoint: Checkpoint,
        bar: ProgressBar,
        label: str,
        teacher: PreTrainedModel | None = None,
    ) -> Outcome:
        accelerator = Accelerator(cpu=self.device == "cpu", mixed_precision=self.precision)
        trainer = Trainer(
            model, self.recipe, train, valid, accelerator=accelerator, bar=bar, checkpoint=checkpoint, teacher=teacher
        )
        return trainer.run(label, resume=self.resume)


def _rows(windows: list[Window], sids: npt.NDArray[np.int64], vocabulary: Vocabulary) -> Sequences:
    return Sequences(windows, sids, vocabulary.start)


def _open_model(folder: Path) -> PreTrainedModel:
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise TrainingError(f"{folder}: the target cannot be opened: {error}") from None
    return model
