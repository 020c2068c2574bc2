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
        chosen = logits.argmax(dim=-1)  # [R] the lowest id among equals
        _draw(chosen, logits, trials, starts)
        lenient = [i for i, trial in enumerate(trials) if _relaxes(trial.verification)]
        odds = [] if not lenient else _odds(logits, [trials[i] for i in lenient], starts[lenient], self._ends)
        winners, *floats = _on_host(chosen, *odds)
        judged = dict(zip(lenient, _split(floats, [trials[i] for i in lenient]), strict=True)) if lenient else {}
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


def _relaxes(verification: Verification) -> bool:
    return isinstance(verification, Relaxed) and verification.k > 1


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


def _odds(logits: Tensor, trials: Sequence[Trial], starts: Ints, ends: frozenset[int]) -> list[Tensor]:
    """Of relaxed trials' r rows and c nodes: log q_max [r], log-prob of all ends [r], log q [c], rank [c], float32.

    Ranks beyond the largest k asked for are that k + 1.
    """
    rows = np.concatenate([start + np.arange(trial.rows) for trial, start in zip(trials, starts, strict=True)])
    own_starts = np.cumsum([0, *(trial.rows for trial in trials)])
    row = np.concatenate([start + 1 + t.tree.parents for t, start in zip(trials, own_starts, strict=False)])  # [c]
    token = np.concatenate([trial.tree.tokens for trial in trials])  # [c]
    most = max(trial.verification.k for trial in trials if isinstance(trial.verification, Relaxed))
    where = logits.device
    own = logits[torch.from_numpy(rows).to(where)]  # [r, vocab]
    at, drafted = torch.from_numpy(row).to(where), torch.from_numpy(token).to(where)
    whole = own.logsumexp(dim=-1)  # [r]
    top = own.topk(min(most, own.shape[1]), dim=-1).values  # [r, k]
    x = own[at, drafted]  # [c]
    rank = 1 + (top[at] > x[:, None]).sum(dim=-1)
    log_ends = own[:, sorted(ends)].logsumexp(dim=-1) - whole if ends else torch.full_like(whole, -torch.inf)
    return [top[:, 0] - whole, log_ends, x - whole[at], rank.float()]


def _on_host(chosen: Tensor, *floats: Tensor) -> list[npt.NDArray[np.generic]]:
    """All of it in one copy: floats travel as the integers that their bits are."""
    parts = [chosen.to(torch.int32), *(part.view(torch.int32) for part in floats)]
    ints = torch.cat(parts).cpu().numpy()
    first, *rest = np.split(ints, np.cumsum([len(part) for part in parts])[:-1])
    return [first, *(part.view(np.float32) for part in rest)]


def _split(odds: Sequence[npt.NDArray[np.generic]], trials: Sequence[Trial]) -> list[Judged]:
    log_max, log_ends, log_q, rank = (array.astype(np.float64) for array in odds)
    rows = np.cumsum([0, *(trial.rows for trial in trials)])
    nodes = np.cumsum([0, *(len(trial.tree) for trial in trials)])
    return [
        Judged(
            log_max=log_max[rows[i] : rows[i + 1]],
            log_ends=log_ends[rows[i] : rows[i + 1]],
            log_q=log_q[nodes[i] : nodes[i + 1]],
            rank=rank[nodes[i] : nodes[i + 1]],
        )
        for i in range(len(trials))
    ]
