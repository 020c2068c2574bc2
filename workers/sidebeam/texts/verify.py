"""Which drafted tokens the target accepts, for all texts of a pass at once, with one copy to the host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sidebeam.texts.accepted_path import Judged, Path, followed, longest
from sidebeam.texts.draw import drawn
from sidebeam.texts.odds import Dispute, judgements, odds
from sidebeam.texts.request import Relaxed, RelaxedToken, Sampled, Verification
from sidebeam.texts.token_tree import TokenTree
from sidebeam.texts.vocabulary import Vocabulary

Ints = npt.NDArray[np.int64]

NONE = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Trial:
    """One text's share of a pass: its logits are those of its last token, then of each node of `tree`."""

    tree: TokenTree
    verification: Verification
    position: int  # tokens of the text so far
    divergence: float  # of the text so far

    @property
    def rows(self) -> int:
        """Rows of the pass's logits."""
        return 1 + len(self.tree)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a pass adds to one text: the accepted nodes' tokens, and one more unless the last of them ends the text."""

    accepted: Ints  # [a] nodes of the tree, a path from the top
    tokens: Ints  # [a] or [a + 1]
    ended: bool
    relaxed: tuple[RelaxedToken, ...]


class Verifier:
    """Exact, relaxed and sampled texts of one vocabulary, mixed as they come."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._ends = frozenset(vocabulary.ends)

    @torch.inference_mode()
    def __call__(self, logits: Tensor, trials: Sequence[Trial]) -> list[Verdict]:
        """`logits` [R, vocab] hold the trials' rows one after the other. One verdict for each trial."""
        starts = np.cumsum([0, *(trial.rows for trial in trials)])
        chosen = _likeliest(logits)  # [R]
        _draw(chosen, logits, trials, starts)
        disputes = {
            i: dispute
            for i, trial in enumerate(trials)
            if (dispute := self._dispute(logits, chosen, int(starts[i]), trial)) is not None
        }
        winners, *found = _on_host(chosen, *(odds(logits, list(disputes.values()), self._ends) if disputes else ()))
        judged = dict(zip(disputes, judgements(found, list(disputes.values())), strict=True)) if disputes else {}
        verdicts = []
        for i, trial in enumerate(trials):
            own = winners[starts[i] : starts[i + 1]].astype(np.int64)  # [1 + n]
            rule = trial.verification
            if isinstance(rule, Relaxed) and i in judged:
                path = longest(trial.tree, own, judged[i], rule, trial.divergence, self.vocabulary)
            else:
                path = followed(trial.tree, own, self._ends)
            verdicts.append(self._verdict(trial, own, path, judged.get(i)))
        return verdicts

    def _dispute(self, logits: Tensor, chosen: Tensor, start: int, trial: Trial) -> Dispute | None:
        rule = trial.verification
        if not isinstance(rule, Relaxed) or rule.k == 1 or not len(trial.tree):
            return None
        return Dispute.of(logits, chosen, start, trial.tree, rule)

    def _verdict(self, trial: Trial, winners: Ints, path: Path, judged: Judged | None) -> Verdict:
        if not path:
            return Verdict(NONE, winners[:1], int(winners[0]) in self._ends, ())
        tokens = trial.tree.tokens[path]
        relaxed: tuple[RelaxedToken, ...] = ()
        if judged is not None:
            rows = trial.tree.parents[path] + 1
            relaxed = tuple(
                RelaxedToken(
                    position=trial.position + place,
                    token=int(tokens[place]),
                    argmax=int(winners[rows[place]]),
                    rank=int(judged.rank[node]),
                    q=float(np.exp(judged.log_q[node])),
                    q_max=float(np.exp(judged.log_max[rows[place]])),
                )
                for place, node in enumerate(path)
                if tokens[place] != winners[rows[place]]
            )
        if int(tokens[-1]) in self._ends:
            return Verdict(np.array(path, np.int64), tokens, True, relaxed)
        extra = winners[path[-1] + 1]
        return Verdict(np.array(path, np.int64), np.append(tokens, extra), int(extra) in self._ends, relaxed)


def _draw(chosen: Tensor, logits: Tensor, trials: Sequence[Trial], starts: Ints) -> None:
    """Replace what is most likely by what is drawn, in the rows of sampled texts."""
    rows: list[int] = []
    rules: list[Sampled] = []
    positions: list[int] = []
    for trial, start in zip(trials, starts.tolist(), strict=False):
        if isinstance(trial.verification, Sampled):
            rows += range(start, start + trial.rows)
            rules += [trial.verification] * trial.rows
            positions += [trial.position, *(trial.position + trial.tree.depths).tolist()]
    if rows:
        at = torch.tensor(rows, device=logits.device)
        chosen[at] = drawn(logits[at], rules, positions)


def _likeliest(logits: Tensor) -> Tensor:
    """The lowest id among the largest of each row.  # [R]"""
    if logits.device.type == "cpu":  # torch's own is some twenty times slower there
        return torch.from_numpy(logits.numpy().argmax(axis=1))
    return logits.argmax(dim=-1)


def _on_host(chosen: Tensor, *floats: Tensor) -> list[npt.NDArray[np.generic]]:
    """All of it in one copy: floats travel as the integers that their bits are."""
    parts = [chosen.to(torch.int32), *(part.view(torch.int32) for part in floats)]
    ints = torch.cat(parts).cpu().numpy()
    first, *rest = np.split(ints, np.cumsum([len(part) for part in parts])[:-1])
    return [first, *(part.view(np.float32) for part in rest)]
