"""How many versions may be in use, and what becomes of their files."""

from __future__ import annotations

import asyncio
import json
import shutil
from contextlib import ExitStack

import pytest
from structlog.testing import capture_logs

from sidebeam.bundle import Bundle, Tokenizer
from sidebeam.server.config.config import Config
from sidebeam.server.fleet.fleet import Fleet
from sidebeam.server.lifecycle.seen_files import SeenFiles
from sidebeam.server.recommendation.edition import Edition
from sidebeam.server.recommendation.editions import Editions
from sidebeam.server.reload.catalog_reload import MOST, CatalogReload


class Front:
    """What a front has for catalogs, before any worker is up."""

    def __init__(self, root, spare):
        self.bundle = Bundle.open(root)
        self.spare = spare
        tokenizer = Tokenizer.open(self.bundle.tokenizer)
        self.sids = json.loads(self.bundle.items.read_text())
        self.editions = Editions(Edition.first(self.bundle, tokenizer, spare))
        nothing = lambda *_: None  # noqa: E731
        fleet = Fleet(self.bundle, Config(), spare, lambda: self.editions.files, "", None, nothing, nothing, nothing)
        self.switched = self.told = 0
        self.outcomes = []
        self.reload = CatalogReload(
            self.bundle,
            tokenizer,
            SeenFiles([self.bundle.items]),
            self.editions,
            fleet,
            spare,
            self._switch,
            self.outcomes.append,
        )

    def _switch(self):
        self.switched += 1

    async def put(self, n):
        """Have the catalog of the first `n` items taken, if it is."""
        self.bundle.items.write_text(json.dumps(dict(list(self.sids.items())[:n])))
        await self.reload.look(False)

    @property
    def n_items(self):
        return self.editions.current.catalog.n_items


@pytest.fixture
async def front(tiny_bundle, tmp_path, monkeypatch):
    """Its cache takes no file, so that all of them are in the spare folder."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    shutil.copytree(tiny_bundle, tmp_path / "bundle")
    (tmp_path / "spare").mkdir()
    return Front(tmp_path / "bundle", tmp_path / "spare")


async def test_one_version_too_many_waits_until_another_is_left(front, wait_until):
    with ExitStack() as requests, capture_logs() as lines:
        for n in range(MOST - 1):
            requests.enter_context(front.editions.used(front.editions.current))
            await front.put(30 + n)
            assert front.n_items == 30 + n
        requests.enter_context(front.editions.used(front.editions.current))
        for _ in range(3):
            await front.put(50)  # tried at every look
            assert front.n_items == 30 + MOST - 2
        refusals = [line for line in lines if line["event"] == "catalog_not_reloaded"]
        assert len(refusals) == 1
        assert refusals[0]["reason"].startswith("4 versions are in use, as many as may be")
        assert front.outcomes == ["taken"] * (MOST - 1) + ["refused"]
        assert len(list(front.spare.glob("*.catalog"))) == MOST + 1
    await front.reload.look(False)
    assert front.n_items == 50
    assert front.outcomes[-1] == "taken"
    assert front.switched == MOST
    kept = [front.editions.current.file.path]
    await asyncio.to_thread(wait_until, lambda: list(front.spare.glob("*.catalog")) == kept, 20)


async def test_items_that_are_put_back_are_in_force_without_a_switch(front):
    before = front.editions.current
    front.bundle.items.write_text("{")
    await front.reload.look(False)
    assert front.outcomes == ["refused"]
    await front.put(len(front.sids))
    assert front.editions.current is before
    assert front.outcomes == ["refused", "taken"]
    assert front.switched == 0
