"""The demo's language model: a small Llama that tells what the grammar tells."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from accelerate import Accelerator
from transformers import PreTrainedModel

from sidebeam.folklore.lessons import Lessons
from sidebeam.folklore.tokens import Tokens
from sidebeam.training.checkpoint import Checkpoint
from sidebeam.training.fresh_model import fresh_model
from sidebeam.training.objective import NextToken
from sidebeam.training.progress import ProgressBar
from sidebeam.training.recipe import Recipe
from sidebeam.training.shape import Shape
from sidebeam.training.trainer import Outcome, Trainer

POSITIONS = 512
VOCABULARY = 2048
VALID_EVERY = 40  # one pair in so many validates


def train_lm(pairs: Sequence[tuple[str, str]], folder: Path, shape: Shape, recipe: Recipe, bar: ProgressBar) -> Outcome:
    """Trains a tokenizer and a model on prompts and texts, and saves both into `folder` as transformers does.

    Raises `TrainingError` at a loss that is not finite, and `KeyboardInterrupt` when the user interrupts. Bounded by
    the recipe's steps, whatever the machine.
    """
    tokens = Tokens.train((part for pair in pairs for part in pair), VOCABULARY)
    valid = pairs[::VALID_EVERY]
    train = [pair for place, pair in enumerate(pairs) if place % VALID_EVERY]
    model: PreTrainedModel = fresh_model(
        shape,
        tokens.vocabulary,
        vocab_size=tokens.fast.get_vocab_size(),
        max_positions=POSITIONS,
        seed=recipe.seed,
    )
    checkpoint = Checkpoint(folder.with_name(f".{folder.name}.training"), {})
    trainer = Trainer(
        model,
        recipe,
        Lessons(train, tokens),
        Lessons(valid, tokens),
        objective=NextToken(),
        accelerator=Accelerator(cpu=True),
        bar=bar,
        checkpoint=checkpoint,
    )
    outcome = trainer.run("language model")
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokens.save(folder, POSITIONS)
    checkpoint.remove()
    return outcome
