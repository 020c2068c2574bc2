"""What a model says where it is asked, and nowhere else."""

from __future__ import annotations

from torch import Tensor
from transformers import PreTrainedModel

from sidebeam.training.sequences import UNLABELLED, Batch


def labelled_logits(model: PreTrainedModel, batch: Batch) -> tuple[Tensor, Tensor]:
    """Logits [n, V] at a batch's labelled positions, and their labels [n].

    The head is asked at columns with a label only: behind a long prompt they are few, and a head may be wide.
    """
    labelled = batch.labels != UNLABELLED  # [B, T]
    columns = labelled.any(dim=0).nonzero()[:, 0]  # [C]
    logits = model(input_ids=batch.tokens, use_cache=False, logits_to_keep=columns).logits
    if logits.shape[1] != len(columns):  # a model that does not know the argument
        logits = logits[:, columns]
    asked = labelled[:, columns]  # [B, C]
    return logits[asked], batch.labels[:, columns][asked]
