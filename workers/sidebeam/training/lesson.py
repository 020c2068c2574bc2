"""What a draft is taught: an objective and, where that needs others than the user histories, its own samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import AutoModelForCausalLM, PreTrainedModel

from sidebeam.bundle import Bundle
from sidebeam.training.checkpoint import Setting
from sidebeam.training.error import TrainingError
from sidebeam.training.loss import agreement_loss, total_variation_loss
from sidebeam.training.objective import NextToken, Objective, Samples, TokenKD
from sidebeam.training.recipe import DISTILLED


@dataclass(frozen=True, slots=True)
class Lesson:
    """`settings` are those that a resumed run must share with the interrupted one.

    `samples`: training and validation; None: the histories' own.
    """

    objective: Objective[Any]
    settings: Mapping[str, Setting] = field(default_factory=dict)
    samples: tuple[Samples[Any], Samples[Any]] | None = None


Teach = Callable[[Bundle], Lesson]
"""Makes the lesson for a target's bundle, or raises `TrainingError`."""


def sft(bundle: Bundle) -> Lesson:
    """Cross-entropy on the histories; the target is not asked."""
    return Lesson(NextToken(), {"objective": "sft"})


def word_kd(bundle: Bundle, alpha: float = DISTILLED) -> Lesson:
    """Follows the live target's distributions, KL divergence."""
    objective = TokenKD(open_target(bundle.target), agreement_loss, alpha)
    return Lesson(objective, {"objective": "word-kd", "alpha": alpha})


def tvd_kd(bundle: Bundle, alpha: float = DISTILLED) -> Lesson:
    """Follows the live target's distributions, total variation."""
    objective = TokenKD(open_target(bundle.target), total_variation_loss, alpha)
    return Lesson(objective, {"objective": "tvd-kd", "alpha": alpha})


def open_target(folder: Path) -> PreTrainedModel:
    """A target to be asked while a draft is trained. Raises `TrainingError` if there is none in `folder`."""
    try:
        model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
        )
    except (OSError, ValueError) as error:
        raise TrainingError(f"{folder}: the target cannot be opened: {error}") from None
    return model
