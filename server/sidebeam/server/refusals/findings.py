"""What every kind of request is checked for, and the list that finds what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from sidebeam.server.refusals.violation import Violation

SHOWN = 3  # bad values of one field that are named; the rest are counted
TEMPERATURES = (1e-3, 1e3)  # beyond, nothing but rounding errors changes


@dataclass(slots=True)
class Findings:
    """What is wrong with a request, field by field."""

    violations: list[Violation] = field(default_factory=list)

    def refuse(self, path: str, description: str) -> None:
        """Note a violation."""
        self.violations.append(Violation(path, description))


@dataclass(frozen=True, slots=True)
class PromptRules:
    """What a prompt is judged by, in the caller's own words or tokens."""

    encode: Callable[[str], list[int]]
    max_chars: int
    max_tokens: int
    vocab_size: int

    def of_text(self, prompt: str, findings: Findings) -> list[int]:
        """Tokens of the field `prompt`, as far as it is fit to be tokenized."""
        if not 1 <= len(prompt) <= self.max_chars:
            findings.refuse("prompt", f"must have 1 to {self.max_chars} characters; given {len(prompt)}")
            return []
        tokens = self.encode(prompt)
        self.check_length("prompt", tokens, findings)
        return tokens

    def of_tokens(self, token_ids: Sequence[int], findings: Findings) -> list[int]:
        """The field `tokens.token_ids`."""
        path = "tokens.token_ids"
        if not token_ids:
            findings.refuse(path, "must hold at least 1 token; given 0")
            return []
        if len(token_ids) > self.max_tokens:  # millions fit into a request: looking at each would stop everybody else
            self.check_length(path, token_ids, findings)
            return []
        tokens = list(token_ids)
        wrong = [f"{token} at {i}" for i, token in enumerate(tokens) if token >= self.vocab_size]
        if wrong:
            findings.refuse(path, f"must be below the vocabulary size of {self.vocab_size}; given {some(wrong)}")
        return tokens

    def check_length(self, path: str, tokens: Sequence[int], findings: Findings) -> None:
        """Refuse a prompt that no KV slot holds, and one of no tokens."""
        if len(tokens) > self.max_tokens:
            findings.refuse(path, f"makes a prompt of {len(tokens)} tokens; at most {self.max_tokens} fit")
        if not tokens:
            findings.refuse(path, "makes a prompt of 0 tokens; at least 1 is needed")


def check_enum(path: str, value: int, kind: object, findings: Findings) -> bool:
    """Whether a value is one that this version knows; another one is refused."""
    if value in kind.DESCRIPTOR.values_by_number:  # type: ignore[attr-defined]
        return True
    findings.refuse(path, f"must be one of {', '.join(kind.keys())}; given {value}")  # type: ignore[attr-defined]
    return False


def check_temperature(path: str, temperature: float, findings: Findings) -> None:
    """Refuse what is out of range, or no number."""
    lowest, highest = TEMPERATURES
    if not lowest <= temperature <= highest:
        findings.refuse(path, f"must be {lowest:g} to {highest:g}; given {temperature:g}")


def some(values: Sequence[str]) -> str:
    """The first few, and how many there are beyond."""
    more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return ", ".join(values[:SHOWN]) + more
