"""What the loop makes of a search that a target worker refuses over a line."""

from __future__ import annotations

import asyncio

import pytest

from sidebeam.line import Line
from sidebeam.server.fleet.search_line import SearchLines
from sidebeam.server.recommendation.loop import Gone, Loop
from sidebeam.v1 import recommendation_pb2 as pb
from sidebeam.worker.v1 import target_pb2

OPEN = target_pb2.SearchRequest(open=target_pb2.OpenSearch(top_k=1))


@pytest.fixture
async def refuse(tmp_path):
    """Has a worker refuse every search so, and returns what the loop makes of one."""
    servers = []

    async def refused(code: int, details: str) -> object:
        class Worker(Line[target_pb2.SearchRequest]):
            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                super().connection_made(transport)
                refusal = target_pb2.Refusal(code=code, details=details)
                self.write(target_pb2.SearchResponse(refusal=refusal))

        path = tmp_path / "w.line"
        create = asyncio.get_running_loop().create_unix_server
        servers.append(await create(lambda: Worker(target_pb2.SearchRequest), str(path)))
        loop = Loop(None, None, pb.SCORING_CATALOG, None)
        call = SearchLines(path).take()
        try:
            return await asyncio.wait_for(loop._follow(call, OPEN, None, None, None), 5)
        finally:
            call.close()

    yield refused
    for server in servers:
        server.close()
    await asyncio.sleep(0.01)


async def test_a_search_that_this_worker_cannot_do_is_sent_to_another(refuse):
    with pytest.raises(Gone, match="catalog 7 is not held"):
        await refuse(9, "catalog 7 is not held")


async def test_a_search_that_no_worker_could_do_is_the_fronts_own_fault(refuse):
    with pytest.raises(RuntimeError, match="refused the search: top_k must be at least 1"):
        await refuse(3, "top_k must be at least 1")
