"""A sidecar under steady load stays as large as it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import psutil
import pytest

from sidebeam.client import AsyncClient

IN_FLIGHT = 16
MEBI = 1 << 20


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_process_grows_over_two_thousand_requests(
    beauty: Path, histories: list[list[str]], start: Callable[..., Any]
) -> None:
    with start(beauty) as sidecar:
        processes = {"front": psutil.Process(sidecar.process.pid)}
        processes |= {name: sidecar.worker(name) for name in ("target-0", "draft")}
        users = iter(histories)

        def resident() -> dict[str, int]:
            return {name: process.memory_info().rss // MEBI for name, process in processes.items()}

        async def serve(n: int) -> None:
            todo = islice(users, n)

            async def one_by_one() -> None:
                for history in todo:
                    assert len((await client.recommend(history=history[-20:], top_k=10)).items) == 10

            async with AsyncClient(sidecar.address, timeout_s=60) as client:
                await asyncio.gather(*(one_by_one() for _ in range(IN_FLIGHT)))

        asyncio.run(serve(600))
        before = resident()
        asyncio.run(serve(2000))
        after = resident()
        assert before["front"] < 150
        assert {name: after[name] - before[name] for name in before if after[name] - before[name] > 48} == {}, after
        print(f"MiB after 600 requests {before}, after 2,600 {after}")
