"""What training minimises."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def next_token_loss(logits: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean cross-entropy of `logits` [n, V] against `labels` [n], in nats per token.

    `smoothing`: the share of each label that is spread over the whole vocabulary.
    """
    return F.cross_entropy(logits.float(), labels, label_smoothing=smoothing)


def agreement_loss(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Mean KL divergence of the student from its teacher, both [n, V], in nats per token."""
    student = F.log_softmax(logits.float(), dim=-1)
    teacher = F.log_softmax(teacher_logits.float(), dim=-1)
    return F.kl_div(student, teacher, log_target=True, reduction="batchmean")


def total_variation_loss(logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Mean total variation between student and teacher, both [n, V]; from 0 to 1."""
    student = F.softmax(logits.float(), dim=-1)
    teacher = F.softmax(teacher_logits.float(), dim=-1)
    return 0.5 * (student - teacher).abs().sum(dim=-1).mean()
