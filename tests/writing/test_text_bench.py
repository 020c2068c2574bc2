"""`sidebeam bench knowledge` on the tiny shop: what it measures from, what it finds, what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sidebeam.command.main import main
from sidebeam.knowledge.pools import Pools
from sidebeam.knowledge.tokenizer import tokenizer_fingerprint
from sidebeam.texts import Exact, Relaxed, RelaxedToken, TextResult
from sidebeam.writing import WritingError
from sidebeam.writing.bench_report import as_json, is_right, report
from sidebeam.writing.bench_set import BenchSet
from sidebeam.writing.text_bench import TextBench, audit_failures
from sidebeam.writing.writer import Writer

from .conftest import Shop, asked, write_lines

USERS = 24
ARMS = ["none", "lookup", "global", "group", "tiers", "relaxed"]


@pytest.fixture(scope="module")
def files(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Prompts with groups; earlier texts, half of them what the model would say now, and a failure."""
    folder = tmp_path_factory.mktemp("bench")
    users = asked(USERS)
    texts = [
        {"entity": user["entity"], "text": shop.tokenizer._fast.decode(shop.greedy(users[i - i % 2]["prompt"]))}
        for i, user in enumerate(users)
    ]
    failed = {"entity": "gone", "error": "prompt must be 1 to 95 tokens; given 99"}
    return write_lines(folder / "prompts-users.jsonl", users), write_lines(folder / "texts.jsonl", [*texts, failed])


@pytest.fixture
def users(shop: Shop, files: tuple[Path, Path]) -> BenchSet:
    return BenchSet.open(shop.bundle, *files, None, 8, 6)


def test_nobody_who_is_asked_about_is_in_the_others_pools(shop: Shop, users: BenchSet, tmp_path: Path) -> None:
    assert users.name == "users"
    measured, served = ({each.entity for each in part} for part in (users.measured, users.served))
    assert (len(measured), len(served)) == (8, 6)
    assert not measured & served
    fingerprint = tokenizer_fingerprint(shop.bundle.tokenizer)
    others = Pools.open(users.pools(shop.bundle, tmp_path / "others", own=False), fingerprint)
    everybody = Pools.open(users.pools(shop.bundle, tmp_path / "own", own=True), fingerprint)
    for user in asked(USERS):
        known = everybody.text(user["entity"])
        assert known is not None
        np.testing.assert_array_equal(known, users.earlier[user["entity"]])
        assert (others.text(user["entity"]) is None) == (user["entity"] in measured | served)
    assert sorted(others.groups) == sorted(everybody.groups) == ["g0", "g1", "g2"]


def test_every_arm_writes_every_text_and_exact_ones_are_exact(shop: Shop, users: BenchSet) -> None:
    first = asked(USERS)[0]
    said = np.array(shop.greedy(first["prompt"]), np.int32)  # a text of nowadays that is as it was
    users = replace(users, earlier={**users.earlier, first["entity"]: said})
    with Writer.load(shop.bundle, slots=3) as writer:
        bench = TextBench(shop.bundle, writer, Relaxed())
        rows = list(bench.run([users], [1, 3], lambda _: None))
        check = bench.check([users], 3, "cpu", "float32")
    assert [(row.at_once, row.arm) for row in rows] == [(n, arm) for n in (1, 3) for arm in ARMS]
    assert (check.texts, check.identical) == (3, 3)
    for row in rows:
        assert row.texts == 8
        assert row.is_exact == (row.arm != "relaxed")
        assert row.identical == 1.0 or not row.is_exact
        assert row.tokens_per_pass >= 1
        assert all(0 <= yes <= every for yes, every in row.accepted.values())
        if row.arm == "none":
            assert (row.tokens_per_pass, row.ms_ratio, row.tokens_per_s_ratio, row.length_ratio) == (1, 1, 1, 1)
            assert not row.accepted
        if row.arm in ("lookup", "global", "group"):
            assert set(row.accepted) <= {"request", row.arm}
        assert row.unchanged == 1 / 8 or not row.is_exact
    assert is_right(rows, check)
    assert not is_right([replace(rows[1], identical=0.5), *rows], check)
    assert not is_right(rows, replace(check, identical=2))
    assert not is_right([*rows, replace(rows[-1], audit_failures=1)], check)
    told = report(rows, check, 1)
    assert len(told.splitlines()) == 1 + len(rows) + 2
    assert json.loads(json.dumps(as_json(rows, check, 1)))["rows"][5]["arm"] == "relaxed"


def test_the_audit_finds_what_the_rule_forbids() -> None:
    def result(*relaxed: RelaxedToken) -> TextResult:
        return TextResult(np.arange(3), "end", 1, 1, (), (), relaxed, 0.0, None, 0, 0, 0, 0)

    fine, far, rare = (RelaxedToken(0, 1, 2, rank, q, 0.5) for rank, q in ((2, 0.2), (3, 0.2), (2, 0.1)))
    assert audit_failures([result(fine), result()], Relaxed(2, 0.1)) == 0
    assert audit_failures([result(fine, far), result(rare)], Relaxed(2, 0.1)) == 2
    assert audit_failures([result(fine)], Exact()) == 1


def test_too_few_prompts_are_refused(shop: Shop, files: tuple[Path, Path]) -> None:
    with pytest.raises(WritingError, match=f"must hold {USERS + 1} prompts or more; given {USERS}"):
        BenchSet.open(shop.bundle, *files, None, USERS, 1)


def test_pools_need_somebody_else(shop: Shop, files: tuple[Path, Path], tmp_path: Path) -> None:
    everybody = BenchSet.open(shop.bundle, *files, None, USERS - 1, 1)
    with pytest.raises(WritingError, match="all texts are of entities that are asked about"):
        everybody.pools(shop.bundle, tmp_path / "pools", own=False)


def test_the_command(shop: Shop, files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prompts, texts = map(str, files)
    given = ["bench", "knowledge", "--bundle", str(shop.root), "--prompts", prompts, "--threads", "1"]
    sizes = ["--measure", "4", "--served", "2", "--at-once", "2", "--check", "1"]
    out = tmp_path / "rows.json"
    assert main([*given, "--texts", texts, *sizes, "--json", str(out)]) == 0
    assert [row["arm"] for row in json.loads(out.read_text())["rows"]] == ARMS
    assert "1 of 1 texts identical" in capsys.readouterr().out
    for wrong, message in (
        (["--texts", texts, "--texts", texts], "--texts must be given once for each --prompts"),
        (["--texts", texts, "--groups", texts, "--groups", texts], "--groups must be given once"),
        (["--texts", str(tmp_path / "none.jsonl")], "none.jsonl"),
        (["--texts", texts, "--k", "0"], "k must be 1 to 64; given 0"),
    ):
        assert main([*given, *wrong, *sizes]) == 2
        assert message in capsys.readouterr().err
