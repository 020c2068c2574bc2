"""`sidebeam bench serve`: what gRPC, processes and batching cost and bring, against the same engine in process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from operator import sub
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sidebeam.client import AsyncClient, Recommendation
from sidebeam.command.awake import awake_cores, can_keep_awake
from sidebeam.command.sidecar import START_S, Sidecar
from sidebeam.engine import Recommender
from sidebeam.search import DraftSettings, SearchRequest, SearchResult

WARM_UP = 64
STAGES = ("prompt_ms", "admission_ms", "draft_ms", "queue_ms", "pass_ms", "search_ms", "total_ms")
SETTLE_S = 0.01  # after a pass OpenMP threads spin for some milliseconds, on a core that the other side needs


def measure(bundle: Path, histories: list[list[str]], k: int, clients: int, threads: int) -> dict[str, Any]:
    """Serve `bundle` in processes of its own and time the same histories there and here. Times in milliseconds."""
    recommender = Recommender.load(bundle, threads=threads)
    equal = {"SIDEBEAM_TARGET__THREADS": str(threads)}
    with Sidecar.of(bundle, "--log-level", "warning", environment=equal) as sidecar:
        return asyncio.run(_measure(sidecar.address, recommender, histories, k, clients)) | {"threads": threads}


async def _measure(
    address: str, recommender: Recommender, histories: list[list[str]], k: int, clients: int
) -> dict[str, Any]:
    async with AsyncClient(address, timeout_s=60) as client, grpc.aio.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        await client.wait_until_ready(START_S)
        for history in (histories * WARM_UP)[:WARM_UP]:
            await client.recommend(history=history, top_k=k)
            _in_process(recommender, history, k)
        answers: list[Recommendation] = []
        results: list[SearchResult] = []

        async def remote(history: list[str]) -> None:
            answers.append(await client.recommend(history=history, top_k=k, draft="off"))

        async def streamed(history: list[str]) -> None:
            async with client.stream(history=history, top_k=k, draft="off") as events:
                async for _ in events:
                    pass

        async def local(history: list[str]) -> None:
            results.append(_in_process(recommender, history, k))

        async def empty(_: list[str]) -> None:
            await health.Check(health_pb2.HealthCheckRequest())

        async def compared() -> dict[str, Any]:
            answers.clear()
            results.clear()
            return _figures(await _by_turns(histories, (remote, streamed, local, empty)), answers, results)

        asleep, awake = await compared(), None
        if can_keep_awake():
            with awake_cores():
                awake = await compared()
        one_s = await _all_of(client, histories, k, 1)
        many_s = await _all_of(client, histories, k, clients)
    same = [a == b for a, b in zip(map(_items, answers), map(_items, many_s[1]), strict=True)]
    return {
        "schema": 2,
        "prompts": len(histories),
        "top_k": k,
        **asleep,
        "awake": awake,
        "clients": clients,
        "one_client_rps": round(len(histories) / one_s[0], 2),
        "many_clients_rps": round(len(histories) / many_s[0], 2),
        "throughput_ratio": round(one_s[0] / many_s[0], 3),
        "identical": float(np.mean(same)),
    }


def _figures(
    took: Sequence[Sequence[float]], answers: Sequence[Recommendation], results: Sequence[SearchResult]
) -> dict[str, Any]:
    """Of what `remote`, `streamed`, `local` and `empty` took; stages by the clocks of either side."""
    stages = {name: _median(getattr(answer.times, name) for answer in answers) for name in STAGES}
    remote, streamed, local, empty = map(_median, took)
    # The same passes take some milliseconds more in one process than in another, either way: told apart.
    work = [answer.times.pass_ms + answer.times.search_ms for answer in answers]
    own = [(result.pass_ns + result.search_ns) / 1e6 for result in results]
    around, around_own = (_median(map(sub, total, inner)) for total, inner in ((took[0], work), (took[2], own)))
    return {
        "grpc_median_ms": remote,
        "in_process_median_ms": local,
        "overhead_ms": round(remote - local, 3),
        "overhead_around_passes_ms": round(around - around_own, 3),
        "stream_overhead_ms": round(streamed - local, 3),
        "empty_call_median_ms": empty,
        "stages_median_ms": stages,
        "in_process_stages_median_ms": {
            "pass_ms": _median(result.pass_ns / 1e6 for result in results),
            "search_ms": _median(result.search_ns / 1e6 for result in results),
        },
    }


def _median(values: Iterable[float]) -> float:
    return round(float(np.median(list(values))), 3)


async def _by_turns(
    histories: list[list[str]], arms: Sequence[Callable[[list[str]], Awaitable[None]]]
) -> list[list[float]]:
    """Milliseconds of each arm. All serve a history before the next one, in an order drawn anew each time.

    So a noisy machine disturbs all alike, and none always meets the threads and caches of the same other one.
    """
    random = np.random.default_rng(0)
    took: list[list[float]] = [[] for _ in arms]
    for history in histories:
        for arm in random.permutation(len(arms)).tolist():
            await asyncio.sleep(SETTLE_S)
            start = time.perf_counter()
            await arms[arm](history)
            took[arm].append((time.perf_counter() - start) * 1e3)
    return took


def _in_process(recommender: Recommender, history: list[str], k: int) -> SearchResult:
    """Without drafts, as the arms beside it: what is learned from one of them would spare another one passes."""
    prompt = np.array(recommender.prompt(history), np.int64)
    (result,) = recommender.search([SearchRequest(prompt, k, draft=DraftSettings("off"))])
    return result


async def _all_of(
    client: AsyncClient, histories: list[list[str]], k: int, clients: int
) -> tuple[float, list[Recommendation]]:
    """Answer all histories with so many requests in flight. Returns seconds and the answers in order."""
    answers: list[Recommendation | None] = [None] * len(histories)
    todo = iter(range(len(histories)))

    async def work() -> None:
        for i in todo:
            answers[i] = await client.recommend(history=histories[i], top_k=k)

    start = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(clients)))
    return time.perf_counter() - start, [answer for answer in answers if answer is not None]


def _items(answer: Recommendation) -> list[str]:
    return [item.item_id for item in answer.items]


def report(result: dict[str, Any]) -> str:
    """The table a person reads."""
    lines = [
        f"{result['prompts']} prompts, K = {result['top_k']}, target threads on both sides: {result['threads']}",
        *_overhead(result),
    ]
    if result["awake"] is not None:
        lines += ["  the same while no core may fall asleep:", *_overhead(result["awake"])]
    lines.append(
        f"  {result['one_client_rps']:.1f} requests/s with 1 client, {result['many_clients_rps']:.1f} with "
        f"{result['clients']}: {result['throughput_ratio']:.2f}x; identical answers {result['identical']:.1%}"
    )
    return "\n".join(lines)


def _overhead(figures: dict[str, Any]) -> list[str]:
    there, here = (_told(figures[name]) for name in ("stages_median_ms", "in_process_stages_median_ms"))
    return [
        f"  through gRPC {figures['grpc_median_ms']:.2f} ms, in process {figures['in_process_median_ms']:.2f} ms: "
        f"overhead {figures['overhead_ms']:.2f} ms; with every event streamed {figures['stream_overhead_ms']:.2f} ms",
        f"  around the passes and the search themselves {figures['overhead_around_passes_ms']:.2f} ms",
        f"  an empty call to the front takes {figures['empty_call_median_ms']:.2f} ms; a request makes two such hops",
        f"  median ms by stage: {there}; in process: {here}",
    ]


def _told(stages: dict[str, float]) -> str:
    return ", ".join(f"{name.removesuffix('_ms')} {ms:.2f}" for name, ms in stages.items())
