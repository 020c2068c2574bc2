"""How a history becomes a prompt: free text, or a template by name."""

from __future__ import annotations

from collections.abc import Mapping

from sidebeam.bundle import PromptFormat
from sidebeam.training.error import TrainingError

HISTORY = "{history}"
BARE = PromptFormat(HISTORY, "")

NAMED: Mapping[str, PromptFormat] = {
    "instruction": PromptFormat(
        "Here is an instruction. Write the response that answers it.\n\n"
        "### Instruction:\n"
        "A user chose these items, oldest first: {history}. Which item will the user choose next?\n\n"
        "### Response:",
        ", ",
    )
}
"""Templates with a name, in the style of Alpaca and LC-Rec (AtSpeed, section 2.1)."""


def prompt_format(template: str, separator: str | None, max_history: int) -> PromptFormat:
    """The format of `--template` and `--separator`; without a separator, that of a named template, or none.

    Raises `TrainingError` for a template that does not hold `{history}` exactly once, or that is not text.
    """
    named = NAMED.get(template, PromptFormat(template, ""))
    chosen = PromptFormat(named.template, named.item_separator if separator is None else separator, max_history)
    if chosen.template.count(HISTORY) != 1:
        names = ", ".join(NAMED)
        raise TrainingError(f"--template must hold {HISTORY} exactly once, or be a name ({names}). Given: {template!r}")
    for option, text in (("--template", chosen.template), ("--separator", chosen.item_separator)):
        try:
            text.encode()
        except UnicodeEncodeError:
            raise TrainingError(f"{option} must be UTF-8 text. Given: {text!r}") from None
    return chosen
