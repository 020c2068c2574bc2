"""The world's old texts in pools, grouped by what a team knows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sidebeam.bundle import Bundle
from sidebeam.folklore import prepare_folklore
from sidebeam.grouping.texts_file import read_texts
from sidebeam.knowledge.pools import Pools
from sidebeam.knowledge.tokenizer import TextTokenizer, tokenizer_fingerprint
from sidebeam.training.progress import ProgressBar

from .conftest import TINY


def test_the_bundle_brings_pools_of_all_old_texts(tmp_path: Path, bar: ProgressBar) -> None:
    bundle = Bundle.open(prepare_folklore(tmp_path, bar, TINY))
    assert bundle.items is None
    assert bundle.texts is not None
    assert bundle.texts.pools == bundle.root / "pools"
    pools = Pools.open(bundle.texts.pools, tokenizer_fingerprint(bundle.tokenizer))
    told = {**read_texts(bundle.root / "texts-users-old.jsonl"), **read_texts(bundle.root / "texts-items-old.jsonl")}
    assert read_texts(bundle.root / "texts-old.jsonl") == told
    assert pools.n_texts == len(told) == TINY.users + 3 * 64
    tokenizer = TextTokenizer.open(bundle.tokenizer)
    for entity in ("u0", "u11", "0"):
        held = pools.text(entity)
        assert held is not None
        assert held[:-1].tolist() == tokenizer.encode([told[entity]])[0]  # and the token that ends it
    groups = json.loads((bundle.root / "groups.json").read_text())
    assert len({groups[f"u{user}"] for user in range(TINY.users)}) == TINY.circles
    assert set(pools.groups) == {groups[entity] for entity in told}
    assert all(pools.group_of(entity) == groups[entity] for entity in told)


def test_items_without_a_text_have_a_group_to_draft_from(tmp_path: Path, bar: ProgressBar) -> None:
    folder = prepare_folklore(tmp_path, bar, TINY)
    groups = json.loads((folder / "groups.json").read_text())
    for line in (folder / "prompts-items-new.jsonl").read_text().splitlines():
        entity, prompt = json.loads(line)["entity"], json.loads(line)["prompt"]
        assert f"aisle {groups[entity].removeprefix('aisle=')}," in prompt


def test_interrupted_while_pools_are_made(tmp_path: Path, bar: ProgressBar, monkeypatch: pytest.MonkeyPatch) -> None:
    begin = ProgressBar.begin

    def interrupted(self: ProgressBar, label: str, steps: int, done: int = 0) -> None:
        if label == "indexing":
            raise KeyboardInterrupt
        begin(self, label, steps, done)

    monkeypatch.setattr(ProgressBar, "begin", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare_folklore(tmp_path, bar, TINY)
    assert [each.name for each in tmp_path.iterdir()] == [".knowledge.lock"]
