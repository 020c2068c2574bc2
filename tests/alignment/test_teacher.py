"""Teacher data against transformers and loops, and what killing, damage and other targets do to them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from sidebeam.alignment.records import Records
from sidebeam.alignment.teacher import TeacherJob, training_questions, validation_questions
from sidebeam.alignment.teacher_file import MANIFEST, SPLITS, TeacherFolder
from sidebeam.bundle import Bundle, PromptBuilder, Tokenizer, open_catalog
from sidebeam.training import History, TrainingError
from sidebeam.training.progress import ProgressBar

from .conftest import School
from .oracle import Prefix, Sample, Shares, softmax

USERS = [
    {"user": "a", "train": ["i3", "i9", "i3", "i40"], "valid": ["i8", "i59"], "test": ["i1"]},
    {"user": "b", "train": ["i7"], "valid": ["i2"], "test": []},
    {"user": "c", "train": [f"i{item}" for item in range(10, 22)], "valid": [], "test": ["i5"]},
]


@pytest.fixture
def interactions(tmp_path: Path) -> Path:
    path = tmp_path / "interactions.jsonl"
    path.write_text("".join(f"{json.dumps(user)}\n" for user in USERS))
    return path


@pytest.fixture(params=["raw", "catalog"])
def bundle(request: pytest.FixtureRequest, tiny_bundle: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, folder)
    manifest = folder / "sidebeam.toml"
    manifest.write_text(manifest.read_text().replace("[prompt]", f'scoring = "{request.param}"\n[prompt]'))
    return folder


def test_equal_to_brute_force(bundle: Path, interactions: Path, tmp_path: Path, bar: ProgressBar) -> None:
    """Prompts as served, K beams of every depth, and all children's log-probs: recomputed one path at a time."""
    folder = TeacherJob(bundle, interactions, tmp_path / "out", top_k=9, batch=3, shard_size=4).run(bar)
    opened = Bundle.open(bundle)
    tokenizer = Tokenizer.open(opened.tokenizer)
    catalog = open_catalog(opened, tokenizer)
    prompts = PromptBuilder(opened.prompt, tokenizer, catalog)
    model = AutoModelForCausalLM.from_pretrained(opened.target)
    records = {split: TeacherFolder.open(folder.root).read(split) for split in SPLITS}
    wanted = {split: list(_asked(split)) for split in SPLITS}
    assert {split: len(found) for split, found in records.items()} == {"train": 14, "valid": 3}
    for split in SPLITS:
        found = records[split]
        ends = zip(found.prompt_end.tolist(), found.edges_end.tolist(), strict=True)
        prompt_at = edges_at = 0
        for at, ((history, label), (prompt_end, edges_end)) in enumerate(zip(wanted[split], ends, strict=True)):
            items = catalog.item_indices(history).tolist()
            prompt = prompts.from_items(items)
            assert found.prompt[prompt_at:prompt_end].tolist() == prompt
            assert catalog.item_ids(found.label[at : at + 1]) == [label]
            edges = found.edges[edges_at:edges_end]
            _check(found.beams[at], found.scores[at], edges, _sample(model, catalog, prompt, opened.scoring))
            prompt_at, edges_at = prompt_end, edges_end


def _asked(split: str) -> Iterator[tuple[list[str], str]]:
    """Every label after at most eight items, straight from the file."""
    for user in USERS:
        items = [*user["train"], *user["valid"]] if split == "valid" else user["train"]
        first = len(user["train"]) if split == "valid" else 1
        for at in range(first, len(items)):
            yield list(items[max(0, at - 8) : at]), items[at]


def _sample(model: PreTrainedModel, catalog: object, prompt: list[int], scoring: str) -> Sample:
    sids = frozenset(map(tuple, catalog.sids_of(np.arange(catalog.n_items)).tolist()))  # type: ignore[attr-defined]
    known: dict[Prefix, Shares] = {}

    def ask(prefix: Prefix) -> Shares:
        if prefix not in known:
            with torch.no_grad():
                logits = model(torch.tensor([[*prompt, *prefix]])).logits[0, -1].double()
            children = sample.children(prefix)
            values = logits if scoring == "catalog" else logits.log_softmax(-1)
            known[prefix] = {token: float(values[token]) for token in children}
            known[prefix] = softmax(known[prefix]) if scoring == "catalog" else known[prefix]
        return known[prefix]

    sample = Sample(sids, ask, ask, top_k=9)
    return sample


def _check(beams: np.ndarray, scores: np.ndarray, edges: np.ndarray, sample: Sample) -> None:
    asked: list[float] = []
    for d, depth in enumerate(sample.beams()):
        if d:
            used = int((beams[d - 1] > 0).sum())
            assert used == len(depth)
            np.testing.assert_allclose(scores[d - 1, :used], list(depth.values()), atol=1e-4)
        if d < 4:
            asked += [sample.ask(prefix)[token] for prefix in depth for token in sample.children(prefix)]
    np.testing.assert_allclose(edges, asked, atol=1e-3, rtol=1e-3)  # float16


def test_questions_are_what_is_served() -> None:
    history = History("u", (1, 2, 3, 4), (5, 6), (7,))
    found = [(question.history, question.label) for question in training_questions(history, 2)]
    assert found == [((1,), 2), ((1, 2), 3), ((2, 3), 4)]
    found = [(question.history, question.label) for question in validation_questions(history, 3)]
    assert found == [((2, 3, 4), 5), ((3, 4, 5), 6)]
    assert not list(training_questions(History("u", (1,), (2,), ()), 5))


def _files(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.glob("*.safetensors")}


def test_a_killed_run_goes_on_after_its_last_shard(school: School, tmp_path: Path, bar: ProgressBar) -> None:
    job = replace(school.teacher, out=tmp_path / "killed", shard_size=15, users=12, threads=1)
    options = ["--bundle", str(job.bundle), "--interactions", str(job.interactions), "--out", str(job.out)]
    options += ["--top-k", str(job.top_k), "--shard-size", "15", "--users", "12", "--threads", "1"]
    program = [sys.executable, "-m", "sidebeam.command.main", "train", "teacher", *options]
    with subprocess.Popen(program, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}) as first:
        until = time.monotonic() + 120
        while first.poll() is None and time.monotonic() < until and len(_listed(job.out)) < 2:
            time.sleep(0.002)
        first.send_signal(signal.SIGKILL)
    assert first.returncode == -signal.SIGKILL
    listed = _listed(job.out)
    kept = {name: state for name, state in _files(job.out).items() if name in listed}
    (job.out / ".train-00009.safetensors.partial").write_bytes(b"half a sha")

    with pytest.raises(TrainingError, match=r"\d+ of \d+ shards are not made yet; `sidebeam train teacher --resume`"):
        TeacherFolder.open(job.out).read("train")
    with pytest.raises(TrainingError, match="there already; continue it with --resume"):
        job.run(bar)
    folder = replace(job, resume=True).run(bar)
    assert not folder.missing
    assert sorted(_files(job.out)) == sorted(folder.written)
    assert {name: state for name, state in _files(job.out).items() if name in kept} == kept
    whole = replace(job, out=tmp_path / "whole").run(bar)
    assert json.loads((whole.root / MANIFEST).read_text())["origin"] == json.loads(_manifest(job.out))["origin"]
    for split in SPLITS:
        _assert_same(TeacherFolder.open(job.out).read(split), whole.read(split))


def _manifest(folder: Path) -> str:
    path = folder / MANIFEST
    return path.read_text() if path.exists() else '{"shards": {}}'


def _listed(folder: Path) -> set[str]:
    return set(json.loads(_manifest(folder))["shards"])


def _assert_same(found: Records, wanted: Records) -> None:
    """Passes of other sizes round differently: log-probs agree to that, all else to the last bit."""
    for field in fields(Records):
        ours, theirs = getattr(found, field.name), getattr(wanted, field.name)
        assert ours.dtype == theirs.dtype
        if field.name in ("scores", "edges"):
            np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=2e-3)
        else:
            np.testing.assert_array_equal(ours, theirs)


def test_a_finished_run_has_nothing_to_resume(school: School, bar: ProgressBar) -> None:
    before = _files(school.teacher.out)
    replace(school.teacher, resume=True).run(bar)
    assert _files(school.teacher.out) == before


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-100]), r"damaged: \d+ bytes instead of \d+"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x07"), "damaged: its content is not what was"),
        (lambda path: path.unlink(), "damaged: No such file or directory"),
    ],
    ids=["cut short", "changed", "gone"],
)
def test_a_damaged_shard_is_named_and_made_again(
    school: School, tmp_path: Path, bar: ProgressBar, harm: object, says: str
) -> None:
    shutil.copytree(school.teacher.out, tmp_path / "copy")
    shard = tmp_path / "copy" / "train-00001.safetensors"
    harm(shard)  # type: ignore[operator]
    with pytest.raises(TrainingError, match=rf"train-00001\.safetensors: {says}"):
        TeacherFolder.open(tmp_path / "copy").read("train")
    folder = replace(school.teacher, out=tmp_path / "copy", resume=True).run(bar)
    _assert_same(folder.read("train"), TeacherFolder.open(school.teacher.out).read("train"))


def test_other_settings_are_refused(school: School, bar: ProgressBar, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"manifest\.json: .*: top_k was 5, is 6; shard_size was 150, is 99"):
        replace(school.teacher, top_k=6, shard_size=99, resume=True).run(bar)
    other = tmp_path / "bundle"
    shutil.copytree(school.teacher.bundle, other)
    config = other / "target" / "config.json"
    config.write_text(config.read_text() + "\n")
    with pytest.raises(TrainingError, match=r"other things or settings: target was '\w{16}', is '\w{16}'$"):
        replace(school.teacher, bundle=other, resume=True).run(bar)
    with pytest.raises(TrainingError, match="no teacher data; `sidebeam train teacher` makes them"):
        replace(school.teacher, out=tmp_path / "nothing", resume=True).run(bar)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "cannot be read: Expecting property name"),
        ("[]", r"schema must be 1\. Given: \[\]"),
        ('{"schema": 2}', r"schema must be 1\. Given: 2"),
        ('{"schema": 1, "shards": {}}', "damaged: KeyError"),
    ],
)
def test_a_bad_manifest_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(TrainingError, match=rf"manifest\.json: {says}"):
        TeacherFolder.open(tmp_path)


def test_bad_input_leaves_nothing(school: School, bar: ProgressBar, tmp_path: Path) -> None:
    job = replace(school.teacher, out=tmp_path / "out")
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"train": [1, 2]}\n{"train": [1, "nobody"]}\n')
    with pytest.raises(TrainingError, match=r"bad\.jsonl, line 2, train: item id 'nobody' is not one of the 96 items"):
        replace(job, interactions=bad).run(bar)
    bad.write_text('{"train": [1]}\n')
    with pytest.raises(TrainingError, match="no user has two training items, so there is nothing to ask"):
        replace(job, interactions=bad).run(bar)
    with pytest.raises(TrainingError, match="no such folder"):
        replace(job, bundle=tmp_path / "nowhere").run(bar)
    with pytest.raises(TrainingError, match=r"--shard-size must be at least 1. Given: 0"):
        replace(job, shard_size=0)
    assert not job.out.exists()


def test_a_prompt_that_the_target_cannot_take_names_its_user(school: School, bar: ProgressBar, tmp_path: Path) -> None:
    other = tmp_path / "bundle"
    shutil.copytree(school.teacher.bundle, other)
    config = other / "target" / "config.json"
    settings = json.loads(config.read_text())
    config.write_text(json.dumps({**settings, "max_position_embeddings": 40}))
    with pytest.raises(TrainingError, match=r"user \d+: a prompt of 20 items has 81 tokens; the target takes 37"):
        replace(school.teacher, bundle=other, out=tmp_path / "out").run(bar)
    assert not (tmp_path / "out").exists()


def test_a_target_gone_mad_is_noticed(school: School, bar: ProgressBar, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    other = tmp_path / "bundle"
    shutil.copytree(school.teacher.bundle, other)
    path = other / "target" / "model.safetensors"
    weights = load_file(path)
    weights["lm_head.weight"][5, 0] = torch.nan
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(TrainingError, match=r"user 0: the target's log-probs are not finite"):
        replace(school.teacher, bundle=other, out=tmp_path / "out").run(bar)
