"""What requests are judged by, at this moment."""

from __future__ import annotations

from sidebeam.bundle import Bundle, Tokenizer
from sidebeam.server.config.running_config import RunningConfig
from sidebeam.server.knowledge.text_validation import TextRules
from sidebeam.server.recommendation.editions import Editions
from sidebeam.server.recommendation.validation import Rules
from sidebeam.server.refusals.findings import PromptRules
from sidebeam.worker.v1 import tree_pb2


class Rulebook:
    """Rules are None until a target has said what it holds, and for what the bundle does not do.

    `unable` says why no text can be learned; empty: they can.
    """

    def __init__(
        self, bundle: Bundle, tokenizer: Tokenizer, editions: Editions | None, running: RunningConfig, unable: str
    ) -> None:
        self.items: Rules | None = None
        self.texts: TextRules | None = None
        self._bundle = bundle
        self._tokenizer = tokenizer
        self._editions = editions
        self._running = running
        self._unable = unable
        self._least: tree_pb2.WorkerInfo | None = None  # of all targets

    def describe(self, info: tree_pb2.WorkerInfo) -> None:
        """Take a target's limits into account; replicas may differ, and any of them must hold every prompt."""
        least = tree_pb2.WorkerInfo()
        least.CopyFrom(self._least or info)
        least.max_prompt_tokens = min(least.max_prompt_tokens, info.max_prompt_tokens)
        least.texts.max_prompt_tokens = min(least.texts.max_prompt_tokens, info.texts.max_prompt_tokens)
        least.texts.max_new_tokens = min(least.texts.max_new_tokens, info.texts.max_new_tokens)
        self._least = least
        self.renew()

    def renew(self) -> None:
        """Judge by the catalog and the settings of now; to be called in the step in which one of them changes."""
        if self._least is None:
            return
        if self._editions is not None:
            self.items = self._of_items(self._editions, self._least)
        if self._bundle.texts is not None:
            self.texts = self._of_texts(self._least)

    def _of_items(self, editions: Editions, least: tree_pb2.WorkerInfo) -> Rules:
        return Rules(
            edition=editions.current,
            defaults=self._bundle.defaults,
            limits=self._running.now.limits,
            vocab_size=least.vocab_size,
            max_prompt_tokens=least.max_prompt_tokens,
        )

    def _of_texts(self, least: tree_pb2.WorkerInfo) -> TextRules:
        prompts = PromptRules(
            self._tokenizer.encode,
            self._running.now.limits.max_prompt_chars,
            least.texts.max_prompt_tokens,
            least.vocab_size,
        )
        return TextRules(prompts, least.texts.max_new_tokens, self._unable)
