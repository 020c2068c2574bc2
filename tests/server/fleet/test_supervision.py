"""A worker that cannot be started, and a background task that fails, are told, and end the front."""

from __future__ import annotations

import asyncio
import os
import sys

import pytest
from structlog.testing import capture_logs

from sidebeam.bundle import Bundle, Tokenizer, open_catalog
from sidebeam.server.config.config import Config, DraftConfig, SupervisionConfig, TargetConfig
from sidebeam.server.fleet.catalog_link import CatalogFile
from sidebeam.server.fleet.fleet import Fleet
from sidebeam.server.fleet.supervision import LocalWorker
from sidebeam.server.fleet.worker_link import WorkerLink
from sidebeam.server.lifecycle import background

SUPERVISION = SupervisionConfig(restart_first_s=0.01, restart_most_s=0.1, start_attempts=3)


@pytest.fixture
async def link(tmp_path):
    async def accept(*_: object) -> bool:
        return True

    one = WorkerLink("target-0", f"unix:{tmp_path}/s", "Service", SUPERVISION, accept, lambda: None)
    yield one
    await one.close()


@pytest.fixture
def no_interpreter(tmp_path, monkeypatch):
    """An interpreter that may not be executed, as after a broken upgrade."""
    path = tmp_path / "python"
    path.write_text("")
    monkeypatch.setattr(sys, "executable", str(path))
    return path


async def test_a_needed_worker_without_a_process_is_given_up(link, no_interpreter):
    given_up = []
    worker = LocalWorker("module", list, 1, link, SUPERVISION, True, lambda *told: given_up.append(told))
    with capture_logs() as lines:
        await asyncio.wait_for(worker.run(), 10)
    ((message, code),) = given_up
    assert code == 1
    assert message.startswith("the target-0 worker ended 3 times before it was ready, last without a process")
    told = [line for line in lines if line["event"] == "worker_not_started"]
    assert len(told) == 3
    assert f"Permission denied: '{no_interpreter}'" in told[0]["reason"]
    assert not [line for line in lines if line["event"] == "worker_exited"]


async def test_a_worker_that_is_not_needed_is_tried_again_for_ever(link, no_interpreter):
    worker = LocalWorker("module", list, 1, link, SUPERVISION, False, lambda *told: pytest.fail(str(told)))
    with capture_logs() as lines, pytest.raises(TimeoutError):
        await asyncio.wait_for(worker.run(), 0.7)
    assert len([line for line in lines if line["event"] == "worker_not_started"]) > SUPERVISION.start_attempts
    await worker.stop()


async def test_a_background_task_that_fails_is_logged_and_given_up():
    async def fails() -> None:
        raise LookupError("no such thing")

    given_up = []
    with capture_logs() as lines:
        task = background.begin("watching", fails(), lambda *told: given_up.append(told))
        await asyncio.wait((task,))
    assert given_up == [("watching failed: LookupError: no such thing; the log above says where", 1)]
    assert [(line["event"], line["task"]) for line in lines] == [("background_failed", "watching")]


async def test_a_background_task_that_is_cancelled_gives_nothing_up():
    task = background.begin("watching", asyncio.sleep(60), lambda *told: pytest.fail(str(told)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait((task,))


async def test_a_fleet_whose_watching_fails_is_given_up(tiny_bundle, tmp_path):
    def described(_: object) -> None:
        raise LookupError("cannot be described")

    bundle = Bundle.open(tiny_bundle)
    given_up: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    config = Config(target=TargetConfig(threads=1), draft=DraftConfig(mode="off"), supervision=SUPERVISION)
    version = open_catalog(bundle, Tokenizer.open(bundle.tokenizer)).version
    files = [CatalogFile(version, None)]

    def give_up(told: str, code: int) -> None:
        given_up.set_result(told)

    async with Fleet(bundle, config, tmp_path, lambda: files, "", None, described, lambda: None, give_up):
        said = await asyncio.wait_for(given_up, 60)
    assert said.startswith("watching target-0 failed: LookupError: cannot be described")


async def test_a_fleet_counts_the_cores_it_may_use(tiny_bundle, tmp_path, monkeypatch):
    bundle = Bundle.open(tiny_bundle)
    config = Config(target=TargetConfig(threads=1))

    def has_spare_cores() -> bool:
        nothing = lambda *_: None  # noqa: E731
        return Fleet(bundle, config, tmp_path, list, "", None, nothing, nothing, nothing).has_spare_cores

    for cores, spare in ((1, False), (2, False), (3, True)):  # one each for target, draft and front
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, cores=cores: set(range(cores)))
        assert has_spare_cores() is spare
