"""A small click model in the manner of DIN: what of a history matters depends on the item that is shown."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sidebeam.downstream.features import TextFeatures
from sidebeam.downstream.samples import PADDING
from sidebeam.grouping.embeddings import Vectors

ATTENTION = 32  # width inside the attention's MLP
TOWER = (128, 64)
DROPOUT = 0.1
TEXT_DROPOUT = 0.3  # of a text's vector, so that its sense is learnt rather than its wording


class Din(nn.Module):
    """Logits of clicks. Users are known by their history and, with texts, by what is said about them: no user ids.

    An item is its embedding plus, with texts, an adapter's view of its text; so is every item of a history. The
    attention weighs history items one by one and does not normalise, as in DIN; activations are PReLU, not Dice.
    """

    def __init__(self, items: int, dim: int, texts: TextFeatures) -> None:
        super().__init__()
        self._ids = nn.Embedding(items + 1, dim, padding_idx=PADDING)
        nn.init.normal_(self._ids.weight, std=0.05)
        self._bias = nn.Embedding(items + 1, 1)
        nn.init.zeros_(self._bias.weight)
        self._attention = _tower(4 * dim, (ATTENTION,), 0.0)
        self._item_texts, self._item_adapter = _reader(texts.items, dim)
        self._user_texts, self._user_adapter = _reader(texts.users, dim)
        parts = 3 + (2 if self._user_adapter is not None else 0)
        self._tower = _tower(parts * dim, TOWER, DROPOUT)

    def forward(self, users: Tensor, histories: Tensor, targets: Tensor) -> Tensor:
        """Logits [n] for users [n] with histories [n, H] and shown items [n]."""
        met, place = torch.unique(torch.cat([histories, targets[:, None]], dim=1), return_inverse=True)
        items = self._item(met)[place]  # [n, H + 1, d]: each text is read once per batch
        past, target = items[:, :-1], items[:, -1]
        shown = target[:, None].expand_as(past)
        weights = self._attention(torch.cat([past, shown, past - shown, past * shown], dim=-1))  # [n, H, 1]
        interest = (weights * (histories != PADDING)[..., None] * past).sum(dim=1)  # [n, d]
        parts = [interest, target, interest * target]
        if self._user_adapter is not None:
            said = self._user_adapter(self._user_texts[users])  # [n, d]
            parts += [said, said * target]
        logits: Tensor = self._tower(torch.cat(parts, dim=-1)) + self._bias(targets)
        return logits[:, 0]

    def _item(self, items: Tensor) -> Tensor:
        found: Tensor = self._ids(items)
        return found if self._item_adapter is None else found + self._item_adapter(self._item_texts[items])


def _reader(table: Vectors | None, dim: int) -> tuple[Tensor, nn.Module | None]:
    """A table of texts, which no optimizer touches, and the adapter that reads it."""
    if table is None:
        return torch.zeros(0), None
    first = nn.Linear(table.shape[1], dim)
    return torch.from_numpy(table), nn.Sequential(nn.Dropout(TEXT_DROPOUT), first, nn.PReLU(), nn.Linear(dim, dim))


def _tower(width: int, hidden: tuple[int, ...], dropout: float) -> nn.Sequential:
    layers: list[nn.Module] = []
    for each in hidden:
        layers += [nn.Linear(width, each), nn.PReLU(), nn.Dropout(dropout)]
        width = each
    return nn.Sequential(*layers, nn.Linear(width, 1))
