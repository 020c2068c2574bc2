"""One training job: files in, a part of a bundle out."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from accelerate import Accelerator, PartialState
from transformers import AutoConfig, PreTrainedModel

from sidebeam.bundle import PromptFormat
from sidebeam.training.bundle_folder import BundleFolder
from sidebeam.training.checkpoint import Checkpoint, Setting
from sidebeam.training.error import TrainingError
from sidebeam.training.fresh_model import fresh_model
from sidebeam.training.histories import Items, read_interactions
from sidebeam.training.item_prompts import ItemPrompts
from sidebeam.training.lesson import Teach, word_kd
from sidebeam.training.objective import NextToken, Objective, Samples
from sidebeam.training.plan import Plan
from sidebeam.training.progress import ProgressBar
from sidebeam.training.recipe import Recipe
from sidebeam.training.sequences import Sequences, training_samples, training_windows, validation_windows
from sidebeam.training.shape import Shape
from sidebeam.training.template import BARE
from sidebeam.training.trainer import Outcome, Trainer
from sidebeam.training.untrained import Untrained
from sidebeam.training.vocabulary import Vocabulary

Device = Literal["auto", "cpu"]
Precision = Literal["no", "bf16", "fp16"]

MOST_VALIDATED = 2000  # windows: enough for a steady loss, and a small part of an epoch
FRESH = Plan()


@dataclass(frozen=True, slots=True)
class Job:
    """What to train on, into which bundle, how large and how.

    `max_history`, `template` and `separator` count for a target only: a draft takes its target's.
    """

    items: Path
    interactions: Path
    out: Path
    shape: Shape
    recipe: Recipe
    max_history: int = 20
    template: str = BARE.template
    separator: str = BARE.item_separator
    device: Device = "auto"
    precision: Precision = "no"
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.max_history < 1:
            raise TrainingError(f"--max-history must be at least 1. Given: {self.max_history}")

    @property
    def prompt(self) -> PromptFormat:
        """How histories become prompts."""
        return PromptFormat(self.template, self.separator, self.max_history)

    def train_target(self, bar: ProgressBar, plan: Plan = FRESH) -> Outcome:
        """Trains a target as `plan` says and makes `out` a bundle around it.

        Raises `TrainingError`; `out` then has no new part.
        """
        folder = BundleFolder(self.out)
        self._check_free(folder.target)
        untrained = Untrained.of(plan, Items.open(self.items), self.prompt)
        folder.check_manifest(self.prompt, untrained.vocab_size)
        train, valid = self._sequences(untrained.prompts, label_all=plan.loss_on == "all", shuffle=plan.shuffle)
        model = untrained.model(self.shape, self.recipe.seed)
        checkpoint = self._checkpoint("target", untrained.settings)
        objective = NextToken(plan.label_smoothing)
        outcome = self._train(model, train, valid, objective, checkpoint, bar, "target")
        if PartialState().is_main_process:
            folder.write_target(lambda part: untrained.save(model, part), self.items, self.prompt)
            checkpoint.remove()
        return outcome

    def train_draft(self, bar: ProgressBar, teach: Teach = word_kd) -> Outcome:
        """Trains a draft for the target in `out`, by the lesson that `teach` makes of it, and adds it to the bundle.

        Raises `TrainingError`; `out` then has no new part.
        """
        folder = BundleFolder(self.out)
        bundle = folder.open_for_draft()
        prompt = bundle.prompt
        job = replace(self, max_history=prompt.max_history, template=prompt.template, separator=prompt.item_separator)
        job._check_free(folder.draft)
        lesson = teach(bundle)
        vocabulary = Vocabulary.open(bundle.tokenizer)
        train, valid = lesson.samples or job._sequences(ItemPrompts(Items.open(self.items), vocabulary, prompt))
        config = AutoConfig.from_pretrained(bundle.target, local_files_only=True, trust_remote_code=False)
        model = fresh_model(
            self.shape,
            vocabulary,
            vocab_size=config.vocab_size,
            max_positions=config.max_position_embeddings,
            seed=self.recipe.seed,
        )
        checkpoint = job._checkpoint("draft", lesson.settings)
        outcome = job._train(model, train, valid, lesson.objective, checkpoint, bar, "draft")

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
        if self.precision == "fp16" and PartialState(cpu=self.device == "cpu").device.type == "cpu":
            raise TrainingError("--precision fp16 needs an accelerator; a CPU takes no or bf16. Given: fp16")

    def _sequences(
        self, prompts: ItemPrompts, *, label_all: bool = False, shuffle: float = 0.0
    ) -> tuple[Sequences, Sequences]:
        """Training and validation sequences; validation is an even sample of the users, judged by items alone."""
        histories = read_interactions(self.interactions, prompts.items)
        cut, served = (training_windows, None) if prompts.bare else (training_samples, prompts)
        train = [window for history in histories for window in cut(history, self.max_history)]
        if not train:
            raise TrainingError(f"{self.interactions}: no user has two training items, so there is nothing to predict")
        valid = [window for history in histories for window in validation_windows(history, self.max_history)]
        stride = -(-len(valid) // MOST_VALIDATED) or 1
        return (
            Sequences(train, prompts.sids, prompts.start, prompts=served, label_all=label_all, shuffle=shuffle),
            Sequences(valid[::stride], prompts.sids, prompts.start, prompts=served),
        )

    def _checkpoint(self, part: str, more: Mapping[str, Setting] | None = None) -> Checkpoint:
        settings: dict[str, Setting] = {**asdict(self.recipe), **asdict(self.shape)}
        processes = PartialState(cpu=self.device == "cpu").num_processes
        settings.update(asdict(self.prompt), precision=self.precision, processes=processes)
        for name in ("items", "interactions"):
            settings[f"content of --{name}"] = hashlib.sha256(getattr(self, name).read_bytes()).hexdigest()[:12]
        return Checkpoint(self.out / f".{part}.training", {**settings, **(more or {})})

    def _train(
        self,
        model: PreTrainedModel,
        train: Samples[Any],
        valid: Samples[Any],
        objective: Objective[Any],
        checkpoint: Checkpoint,
        bar: ProgressBar,
        label: str,
    ) -> Outcome:
        accelerator = Accelerator(cpu=self.device == "cpu", mixed_precision=self.precision)
        trainer = Trainer(
            model,
            self.recipe,
            train,
            valid,
            objective=objective,
            accelerator=accelerator,
            bar=bar,
            checkpoint=checkpoint,
        )
        return trainer.run(label, resume=self.resume)
