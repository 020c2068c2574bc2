"""One worker writes the pools, others map them: what each of them sees, and what it does about bad ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sidebeam.knowledge.error import PoolError
from sidebeam.knowledge.pools import Pools
from sidebeam.worker.v1 import draft_pb2
from sidebeam.workers import pool_keeper
from sidebeam.workers.pool_keeper import PoolKeeper
from sidebeam.workers.pool_shelf import PoolShelf

PRINT = "0011223344556677"


def text(entity: str, *tokens: int, group: str = "") -> draft_pb2.LearnRequest:
    return draft_pb2.LearnRequest(entity_id=entity, group=group, tokens=tokens)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "pools"


def test_a_reader_sees_what_the_writer_commits(folder: Path) -> None:
    keeper, shelf = PoolKeeper(folder, PRINT, 2), PoolShelf(folder, PRINT)
    shelf.look()
    assert shelf.pools is None
    assert shelf.problem == f"{folder}: no such folder"
    keeper.learn(text("u1", 5, 6, 7, 2, 9, group="g1"))
    shelf.look()
    assert shelf.pools is None
    assert not folder.exists()  # nothing is made before there is something to write
    assert keeper.write()
    shelf.look()
    assert shelf.pools is not None
    assert shelf.problem == ""
    first = shelf.pools.text("u1")
    assert first is not None
    assert first.tolist() == [5, 6, 7, 2]  # up to the end token
    version = shelf.pools.version
    keeper.learn(text("u1", 8, 8, 8))
    keeper.learn(text("u2", 4, 4))
    assert keeper.write()
    shelf.look()
    second = shelf.pools.text("u1")
    assert second is not None
    assert second.tolist() == [8, 8, 8]
    assert shelf.pools.group_of("u1") == "g1"  # nobody named one: it stays where it was
    assert shelf.pools.group_of("u2") is None
    assert shelf.pools.version != version
    keeper.close()


def test_the_lock_is_held_only_while_there_is_something_to_write(folder: Path) -> None:
    keeper = PoolKeeper(folder, PRINT, None)
    keeper.learn(text("u1", 5, 6))
    assert keeper.write()
    with pytest.raises(PoolError, match="another process"):
        Pools.open(folder, PRINT, write=True)
    keeper._let_go()
    with Pools.open(folder, PRINT, write=True) as other:
        keeper.learn(text("u2", 7))
        assert not keeper.write()
        other.delete("u1")
        other.commit()
    assert keeper.write()  # what was queued was not lost
    keeper.close()
    with Pools.open(folder, PRINT) as left:
        assert left.text("u1") is None
        assert left.text("u2") is not None


def test_what_is_queued_is_written_at_the_end(folder: Path) -> None:
    keeper = PoolKeeper(folder, PRINT, None)
    keeper.learn(text("u1", 5, 6))
    keeper.close()
    with Pools.open(folder, PRINT) as left:
        assert left.n_texts == 1


def test_a_long_journal_becomes_a_snapshot_that_readers_take_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_keeper, "JOURNAL_BYTES", 4000)
    keeper, shelf = PoolKeeper(folder, PRINT, None), PoolShelf(folder, PRINT)
    rng = np.random.default_rng(0)
    for n in range(30):
        keeper.learn(text(f"u{n}", *rng.integers(3, 90, 60).tolist(), group=f"g{n % 2}"))
        assert keeper.write()
        shelf.look()
        assert shelf.problem == ""
        assert shelf.pools is not None
        assert shelf.pools.n_texts == n + 1
    assert len(list(folder.glob("*.journal"))) == 1
    assert sum(path.stat().st_size for path in folder.glob("*.journal")) < 4000 + 400
    assert len(list(folder.glob("*.pool"))) == 3
    keeper.close()


def test_a_text_that_is_none_keeps_no_other_from_being_learned(folder: Path) -> None:
    keeper = PoolKeeper(folder, PRINT, None)
    keeper.learn(text("u1", 2**31 + 5))
    keeper.learn(text("u2", 5, 6))
    assert keeper.write()
    keeper.close()
    with Pools.open(folder, PRINT) as left:
        assert (left.text("u1"), left.n_texts) == (None, 1)


def test_a_folder_of_other_things_is_let_be(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    keeper = PoolKeeper(tmp_path, PRINT, None)
    keeper.learn(text("u1", 5))
    assert not keeper.write()
    keeper.close()
    assert {path.name for path in tmp_path.iterdir()} <= {"letter.txt", ".lock"}


def test_pools_that_break_while_they_are_used_stay_as_they_were(folder: Path) -> None:
    keeper, shelf = PoolKeeper(folder, PRINT, None), PoolShelf(folder, PRINT)
    keeper.learn(text("u1", 5, 6))
    keeper.close()
    shelf.look()
    (journal,) = folder.glob("*.journal")
    content = journal.read_bytes()
    journal.write_bytes(b"X" + content[1:] + b"more")
    shelf.look()
    assert "not a journal" in shelf.problem
    assert shelf.pools is not None
    assert shelf.pools.text("u1") is not None
    journal.write_bytes(content)
    shelf.look()
    assert shelf.problem == ""
