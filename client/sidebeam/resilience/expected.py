"""What a sidecar answers when nothing is wrong, to hold other answers against."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from sidebeam.client import AsyncClient, Item, Recommendation

TOLERANCE = 1e-4  # of log-probs: passes of other shapes round otherwise
AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Expected:
    """The right answers to `histories`, in their order, for `top_k` items."""

    histories: Sequence[Sequence[str]]
    top_k: int
    answers: Sequence[Sequence[Item]]

    @classmethod
    async def of(
        cls, client: AsyncClient, histories: Sequence[Sequence[str]], top_k: int, timeout_s: float
    ) -> Expected:
        """Ask for all of them, undrafted. Raises SidebeamError."""
        answers: list[Sequence[Item]] = [()] * len(histories)
        todo = iter(range(len(histories)))

        async def work() -> None:
            for i in todo:
                answer = await client.recommend(history=histories[i], top_k=top_k, draft="off", timeout_s=timeout_s)
                answers[i] = answer.items

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        return cls(histories, top_k, answers)

    def is_right(self, number: int, answer: Recommendation) -> bool:
        """Whether an answer to the history of that number has the same items in the same order, and their log-probs.

        Items whose log-probs are closer than `TOLERANCE` may stand in each other's place.
        """
        right = self.answers[number]
        if len(answer.items) != len(right):
            return False
        known = {item.item_id: item.log_prob for item in right}
        if len({item.item_id for item in answer.items}) != len(known):
            return False
        return all(
            abs(item.log_prob - known.get(item.item_id, right[-1].log_prob)) <= TOLERANCE
            and abs(item.log_prob - there.log_prob) <= TOLERANCE
            for item, there in zip(answer.items, right, strict=True)
        )
