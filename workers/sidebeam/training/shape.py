"""The size of a recommender's language model."""

from __future__ import annotations

from dataclasses import dataclass

from sidebeam.training.error import TrainingError

HEAD_MULTIPLE = 2  # rotary embeddings turn pairs


@dataclass(frozen=True, slots=True)
class Shape:
    """A Llama's layers, width and attention heads. Raises `TrainingError` for a width that heads cannot share."""

    layers: int
    hidden: int
    heads: int

    def __post_init__(self) -> None:
        for name in ("layers", "hidden", "heads"):
            if getattr(self, name) < 1:
                raise TrainingError(f"--{name} must be at least 1. Given: {getattr(self, name)}")
        if self.hidden % (self.heads * HEAD_MULTIPLE):
            multiple = self.heads * HEAD_MULTIPLE
            raise TrainingError(f"--hidden must be a multiple of twice --heads, {multiple}. Given: {self.hidden}")

    @property
    def intermediate(self) -> int:
        """Width inside the MLPs: about 8/3 of `hidden`, as in Llama, in steps of 64."""
        return -(-self.hidden * 8 // 3 // 64) * 64
