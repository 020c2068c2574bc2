"""Beam search and every loss once more: dictionaries and loops, straight from the definitions."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Prefix = tuple[int, ...]
Shares = dict[int, float]  # token -> log-prob
Ask = Callable[[Prefix], Shares]


def softmax(logits: Shares) -> Shares:
    """Log-softmax of a dictionary."""
    total = math.log(sum(math.exp(value) for value in logits.values()))
    return {token: value - total for token, value in logits.items()}


def cooled(log_probs: Shares, tau: float) -> Shares:
    return softmax({token: value / tau for token, value in log_probs.items()})


@dataclass(frozen=True)
class Sample:
    """One prompt's catalog, target and student; `ask` and `guess` give log-probs of a prefix's children alone."""

    sids: frozenset[Prefix]
    ask: Ask
    guess: Ask
    top_k: int

    def children(self, prefix: Prefix) -> list[int]:
        return sorted({sid[len(prefix)] for sid in self.sids if sid[: len(prefix)] == prefix})

    def beams(self) -> list[dict[Prefix, float]]:
        """The target's beams of every depth from 0 on, with their scores, best first."""
        found: list[dict[Prefix, float]] = [{(): 0.0}]
        for _ in range(len(next(iter(self.sids)))):
            candidates = self.scores(self.ask, found[-1])
            best = sorted(candidates, key=lambda prefix: -candidates[prefix])[: self.top_k]
            found.append({prefix: candidates[prefix] for prefix in best})
        return found

    def scores(self, ask: Ask, above: dict[Prefix, float]) -> dict[Prefix, float]:
        """Cumulative scores of all children of these prefixes."""
        return {
            (*prefix, token): score + ask(prefix)[token]
            for prefix, score in above.items()
            for token in self.children(prefix)
        }

    def guessed(self, depth: int) -> dict[Prefix, float]:
        """The student's scores of all children of the target's beams above `depth`."""
        above: dict[Prefix, float] = {}
        for prefix in self.beams()[depth - 1]:
            above[prefix] = sum(self.guess(prefix[:at])[prefix[at]] for at in range(len(prefix)))
        return self.scores(self.guess, above)


def sequence_kd(samples: Sequence[Sample], depth: int) -> float:
    steps = [-sample.guess(path[: depth - 1])[path[depth - 1]] for sample in samples for path in sample.beams()[-1]]
    return sum(steps) / len(steps)


def reverse_kl(samples: Sequence[Sample], depth: int, beta: float, tau: float) -> float:
    values = []
    for sample in samples:
        for path in sample.beams()[-1]:
            p, q = sample.ask(path[: depth - 1]), sample.guess(path[: depth - 1])
            best = sorted(q, key=lambda token: -q[token])[: sample.top_k]
            p, q = cooled({token: p[token] for token in best}, tau), cooled({token: q[token] for token in best}, tau)
            value = sum(math.exp(q[token]) * (q[token] - p[token]) for token in best)
            if len(best) == sample.top_k:
                entropy = -sum(math.exp(q[token]) * q[token] for token in best)
                value += beta * math.exp(p[best[-1]]) * entropy
            values.append(value)
    return sum(values) / len(values)


def total_variation(samples: Sequence[Sample], depth: int, tau: float) -> float:
    values = []
    for sample in samples:
        for path in sample.beams()[-1]:
            p, q = (cooled(ask(path[: depth - 1]), tau) for ask in (sample.ask, sample.guess))
            values.append(0.5 * sum(abs(math.exp(q[token]) - math.exp(p[token])) for token in p))
    return sum(values) / len(values)


def _joint(scores: dict[Prefix, float], tau: float) -> dict[Prefix, float]:
    total = math.log(sum(math.exp(score / tau) for score in scores.values()))
    return {prefix: score / tau - total for prefix, score in scores.items()}


def joint_kl(samples: Sequence[Sample], depth: int, tau: float) -> float:
    values = []
    for sample in samples:
        p = _joint(sample.scores(sample.ask, sample.beams()[depth - 1]), tau)
        q = _joint(sample.guessed(depth), tau)
        values.append(sum(math.exp(p[prefix]) * (p[prefix] - q[prefix]) for prefix in p))
    return sum(values) / len(values)


def joint_top_k(samples: Sequence[Sample], depth: int, tau: float) -> float:
    values = [-_joint(sample.guessed(depth), tau)[beam] for sample in samples for beam in sample.beams()[depth]]
    return sum(values) / len(values)


def top_n(samples: Sequence[Sample], depth: int, beams: int, tau: float) -> float:
    most = max(len(sample.beams()[depth]) for sample in samples)
    widths = [most >> halvings for halvings in range(most.bit_length())]
    return sum(_missed(samples, depth, k, beams, tau) for k in widths) / len(widths)


def _missed(samples: Sequence[Sample], depth: int, k: int, beams: int, tau: float) -> float:
    total, count = 0.0, 0
    for sample in samples:
        scores, wanted = sample.guessed(depth), list(sample.beams()[depth])[:k]
        others = sorted((score for prefix, score in scores.items() if prefix not in wanted), reverse=True)
        count += len(wanted)
        if len(others) > beams - len(wanted):
            threshold = others[beams - len(wanted)]
            total += sum(math.log1p(math.exp((threshold - scores[beam]) / tau)) for beam in wanted)
    return total / count


def is_accepted(sample: Sample, depth: int, beams: int) -> bool:
    """Whether all of the target's beams are among the student's N best candidates."""
    scores = sample.guessed(depth)
    best = sorted(scores, key=lambda prefix: -scores[prefix])[:beams]
    return set(sample.beams()[depth]) <= set(best)
