"""Which lines to a worker are kept for another search, and which are not."""

from __future__ import annotations

import asyncio

import pytest

from sidebeam.line import Line, LineLost
from sidebeam.server.fleet.search_line import SearchLines
from sidebeam.worker.v1 import target_pb2, tree_pb2

WAIT_S = 5
OPEN = target_pb2.SearchRequest(open=target_pb2.OpenSearch(top_k=1))
DRAFT = target_pb2.SearchRequest(draft=tree_pb2.TokenTree())
RESULT = target_pb2.SearchResponse(result=target_pb2.SearchResult(leaves=[4]))
WANTED = target_pb2.SearchResponse(draft_wanted=target_pb2.DraftWanted(beams=1, length=1))
REFUSAL = target_pb2.SearchResponse(refusal=target_pb2.Refusal(code=3, details="no"))


class Worker:
    """Answers every message with the next of `answers`; None hangs up."""

    def __init__(self) -> None:
        self.answers: list[target_pb2.SearchResponse | None] = []
        self.lines: list[Line[target_pb2.SearchRequest]] = []
        self.ended = asyncio.Semaphore(0)

    def accept(self) -> Line[target_pb2.SearchRequest]:
        self.lines.append(Line(target_pb2.SearchRequest))
        asyncio.get_running_loop().create_task(self._serve(self.lines[-1]))
        return self.lines[-1]

    async def _serve(self, line: Line[target_pb2.SearchRequest]) -> None:
        while await line.read() is not None:
            if (answer := self.answers.pop(0)) is None:
                line.close()
            else:
                line.write(answer)
        self.ended.release()


@pytest.fixture
async def worker(tmp_path):
    one = Worker()
    server = await asyncio.get_running_loop().create_unix_server(one.accept, str(tmp_path / "w.line"))
    yield one
    for line in one.lines:
        line.close()
    server.close()
    await asyncio.sleep(0.01)


@pytest.fixture
def lines(tmp_path, worker):
    some = SearchLines(tmp_path / "w.line")
    yield some
    some.close()


async def searched(lines, *requests):
    """A call that sent those, each answered before the next one, and its last answer."""
    call = lines.take()
    for request in requests:
        await call.write(request)
        answer = await asyncio.wait_for(call.read(), WAIT_S)
    return call, answer


async def test_one_search_after_another_takes_one_line(lines, worker):
    for _ in range(3):
        worker.answers = [RESULT]
        call, answer = await searched(lines, OPEN)
        assert answer == RESULT
        lines.give_back(call)
    assert len(worker.lines) == 1


async def test_searches_at_once_take_a_line_each(lines, worker):
    worker.answers = [RESULT, RESULT]
    calls = [(await searched(lines, OPEN))[0] for _ in range(2)]
    assert len(worker.lines) == 2
    for call in calls:
        lines.give_back(call)
    worker.answers = [RESULT, RESULT]
    for _ in range(2):
        await searched(lines, OPEN)
    assert len(worker.lines) == 2


@pytest.mark.parametrize(
    ("requests", "answers"),
    [([OPEN, DRAFT], [WANTED, RESULT]), ([OPEN], [WANTED]), ([OPEN], [REFUSAL])],
    ids=["answered a question", "no result yet", "refused"],
)
async def test_a_line_that_something_may_still_come_over_is_ended(lines, worker, requests, answers):
    worker.answers = list(answers)
    call, _ = await searched(lines, *requests)
    lines.give_back(call)
    await asyncio.wait_for(worker.ended.acquire(), WAIT_S)
    worker.answers = [RESULT]
    _, answer = await searched(lines, OPEN)
    assert answer == RESULT
    assert len(worker.lines) == 2


async def test_a_line_that_the_worker_ended_is_not_taken_again(lines, worker):
    worker.answers = [RESULT]
    call, _ = await searched(lines, OPEN)
    lines.give_back(call)
    worker.lines[0].close()
    await asyncio.sleep(0.05)
    worker.answers = [RESULT]
    _, answer = await searched(lines, OPEN)
    assert answer == RESULT


async def test_a_worker_that_goes_in_the_middle_ends_the_events(lines, worker):
    worker.answers = [None]
    call, answer = await searched(lines, OPEN)
    assert answer is None
    with pytest.raises(LineLost):
        await call.write(DRAFT)
    lines.give_back(call)


async def test_where_nobody_listens_the_first_message_says_so(tmp_path):
    call = SearchLines(tmp_path / "nobody.line").take()
    with pytest.raises(LineLost, match=r"cannot connect to nobody\.line: No such file"):
        await call.write(OPEN)
    assert await call.read() is None
    call.close()


async def test_after_the_end_no_line_is_kept(lines, worker):
    worker.answers = [RESULT, RESULT]
    first, _ = await searched(lines, OPEN)
    second, _ = await searched(lines, OPEN)
    lines.give_back(first)
    lines.close()
    lines.give_back(second)
    for _ in range(2):
        await asyncio.wait_for(worker.ended.acquire(), WAIT_S)
