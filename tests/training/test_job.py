"""A job writes a bundle that transformers and Sidebeam open, and leaves nothing new behind when it fails."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from sidebeam.bundle import Bundle, PromptBuilder, Tokenizer, open_catalog
from sidebeam.training import Items, TrainingError, World
from sidebeam.training.job import Job
from sidebeam.training.lesson import word_kd
from sidebeam.training.progress import ProgressBar
from sidebeam.training.recipe import Recipe
from sidebeam.training.shape import Shape

MakeJob = Callable[..., Job]

DRAFT = Shape(layers=1, hidden=16, heads=2)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_a_target_becomes_a_bundle(make_job: MakeJob, bar: ProgressBar, world: World) -> None:
    job = make_job()
    outcome = job.train_target(bar)
    assert outcome.valid_loss is not None
    assert outcome.valid_loss < 0.9 * np.log(3 + len({token for sid in world.sids for token in sid}))

    bundle = Bundle.open(job.out)
    assert bundle.draft is None
    assert bundle.prompt.max_history == 20
    model = AutoModelForCausalLM.from_pretrained(bundle.target)
    tokenizer = AutoTokenizer.from_pretrained(bundle.target)
    text = "".join(world.sids[5] + world.sids[9])
    ids = tokenizer(text).input_ids
    assert tokenizer.convert_ids_to_tokens(ids) == ["<s>", *world.sids[5], *world.sids[9]]
    assert model(torch.tensor([ids])).logits.shape == (1, 9, len(tokenizer))
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)

    own = Tokenizer.open(bundle.tokenizer)
    assert own.encode(text) == ids
    catalog = open_catalog(bundle, own)
    assert PromptBuilder(bundle.prompt, own, catalog).from_items([5, 9]) == ids
    assert sorted(path.name for path in job.out.iterdir()) == ["items.json", "sidebeam.toml", "target"]


def test_a_draft_shares_the_vocabulary_and_follows_its_target(make_job: MakeJob, bar: ProgressBar) -> None:
    job = make_job()
    job.train_target(bar)
    manifest = job.out / "sidebeam.toml"
    manifest.write_text(manifest.read_text().replace("top_k = 20", "top_k = 7"))
    taught = replace(job, shape=DRAFT)
    wholly = partial(word_kd, alpha=1.0)
    first = taught.train_draft(bar, wholly).valid_loss
    longer = replace(taught, overwrite=True, recipe=replace(taught.recipe, epochs=9))
    again = longer.train_draft(bar, wholly).valid_loss
    assert first is not None
    assert again is not None
    assert 0 < again < first  # the divergence from the target, nats

    bundle = Bundle.open(job.out)
    assert bundle.draft == job.out / "draft"
    assert bundle.defaults.top_k == 7  # the user's own change stays
    target, draft = (AutoModelForCausalLM.from_pretrained(part) for part in (bundle.target, bundle.draft))
    assert draft.config.vocab_size == target.config.vocab_size
    assert draft.config.num_hidden_layers == 1
    assert (bundle.draft / "tokenizer.json").read_bytes() == (bundle.target / "tokenizer.json").read_bytes()


def test_training_learns_the_habits_of_the_world(make_job: MakeJob, bar: ProgressBar, tmp_path: Path) -> None:
    """Recall@3 of the last item among all 96, against popularity, on users that training never saw."""
    world = World.build(3, aisles=2, shelves=3)
    world.write(tmp_path, users=400)
    job = make_job(interactions=tmp_path / "interactions.jsonl", recipe=Recipe(epochs=6, batch_size=16, seed=1))
    job = replace(job, recipe=replace(job.recipe, learning_rate=5e-3))
    job.train_target(bar)
    model = AutoModelForCausalLM.from_pretrained(job.out / "target")
    tokenizer = AutoTokenizer.from_pretrained(job.out / "target")
    sids = torch.tensor([tokenizer("".join(sid), add_special_tokens=False).input_ids for sid in world.sids])
    users = world.histories(60, stream=2)
    counts = np.bincount([item for items in world.histories(400) for item in items], minlength=len(sids))
    popular = np.argsort(-counts)[:3].tolist()
    hits = [user[-1] in _best(model, sids, user[:-1], 3) for user in users]
    assert np.mean(hits) > 1.5 * np.mean([user[-1] in popular for user in users])


@torch.no_grad()
def _best(model: torch.nn.Module, sids: torch.Tensor, history: list[int], k: int) -> list[int]:
    prompt = torch.cat([torch.tensor([1]), sids[history[-20:]].ravel()]).expand(len(sids), -1)
    logits = model(torch.cat([prompt, sids], dim=1)).logits[:, prompt.shape[1] - 1 : -1].log_softmax(-1)
    return logits.gather(-1, sids[..., None]).sum(dim=(1, 2)).topk(k).indices.tolist()


def test_a_model_is_not_replaced_unasked(make_job: MakeJob, bar: ProgressBar) -> None:
    job = make_job(recipe=Recipe(max_steps=1))
    job.train_target(bar)
    before = (job.out / "target" / "model.safetensors").read_bytes()
    with pytest.raises(TrainingError, match=r"target: there already; --overwrite"):
        job.train_target(bar)
    replace(job, overwrite=True, recipe=Recipe(max_steps=1, seed=5)).train_target(bar)
    assert (job.out / "target" / "model.safetensors").read_bytes() != before
    assert not [path for path in job.out.iterdir() if path.name.startswith(".")]


def test_bad_data_leaves_nothing(make_job: MakeJob, bar: ProgressBar, tmp_path: Path) -> None:
    lonely = tmp_path / "lonely.jsonl"
    lonely.write_text('{"user": 1, "train": [3]}\n')
    job = make_job(interactions=lonely)
    with pytest.raises(TrainingError, match="no user has two training items"):
        job.train_target(bar)
    assert not job.out.exists()


def test_without_validation_items_the_last_weights_are_kept(
    make_job: MakeJob, bar: ProgressBar, tmp_path: Path
) -> None:
    short = tmp_path / "short.jsonl"
    short.write_text('{"train": [3, 4, 5]}\n{"train": ["6", 7]}\n')
    job = make_job(interactions=short, recipe=Recipe(epochs=2))
    assert job.train_target(bar).valid_loss is None
    Bundle.open(job.out)


def test_a_draft_needs_a_fitting_target(make_job: MakeJob, bar: ProgressBar, data: Path, tmp_path: Path) -> None:
    job = make_job(shape=DRAFT, recipe=Recipe(max_steps=1))
    with pytest.raises(TrainingError, match=r"a draft needs the bundle of its target in --out.*no such folder"):
        job.train_draft(bar)
    job.train_target(bar)

    items = json.loads((data / "items.json").read_text())
    items["new"] = ["<a_9>", "<b_0>", "<c_0>", "<d_99>"]
    more = tmp_path / "more.json"
    more.write_text(json.dumps(items))
    with pytest.raises(TrainingError, match=r"the target's tokenizer lacks SID tokens of the items: \d, such as <a_9>"):
        replace(job, items=more).train_draft(bar)

    manifest = job.out / "sidebeam.toml"
    plain = manifest.read_text()
    manifest.write_text(plain + '\n[draft]\npath = "draft"\n')
    with pytest.raises(TrainingError, match=r"\[draft\] names a model that is not there"):
        job.train_draft(bar)
    assert not (job.out / "draft").exists()

    shutil.copytree(job.out / "target", job.out / "draft")
    manifest.write_text(plain + '\n[draft]\npath = "draft"\nscoring = "raw"\n')
    with pytest.raises(TrainingError, match=r"draft\.scoring must be 'catalog' for a draft .* Given: 'raw'"):
        replace(job, overwrite=True).train_draft(bar)


def test_an_item_may_not_be_spelled_like_a_mark(make_job: MakeJob, bar: ProgressBar, tmp_path: Path) -> None:
    items = tmp_path / "items.json"
    items.write_text('{"1": ["<s>", "<b_1>"]}')
    with pytest.raises(TrainingError, match="the SID token <s>, which the tokenizer needs"):
        make_job(items=items).train_target(bar)


def test_the_vocabulary_is_in_numeric_order(make_job: MakeJob, bar: ProgressBar, tmp_path: Path) -> None:
    items = tmp_path / "items.json"
    items.write_text('{"1": ["<a_10>", "<b_1>"], "2": ["<a_9>", "<b_0>"]}')
    interactions = tmp_path / "two.jsonl"
    interactions.write_text('{"train": [1, 2]}\n')
    job = make_job(items=items, interactions=interactions, recipe=Recipe(max_steps=1))
    job.train_target(bar)
    vocabulary = json.loads((job.out / "target" / "tokenizer.json").read_text())["model"]["vocab"]
    assert list(vocabulary) == ["<pad>", "<s>", "</s>", "<a_9>", "<a_10>", "<b_0>", "<b_1>"]
    assert Items.open(job.out / "items.json").ids == ("1", "2")
    assert not os.path.samefile(items, job.out / "items.json")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Shape(0, 32, 2), "--layers must be at least 1. Given: 0"),
        (lambda: Shape(1, 30, 4), "--hidden must be a multiple of twice --heads, 8. Given: 30"),
        (lambda: Recipe(epochs=0), "--epochs must be at least 1. Given: 0"),
        (lambda: Recipe(max_steps=0), "--max-steps must be at least 1. Given: 0"),
        (lambda: Recipe(batch_size=-1), "--batch-size must be at least 1. Given: -1"),
        (lambda: Recipe(learning_rate=0), "--lr must be above 0. Given: 0"),
        (lambda: Recipe(learning_rate=float("nan")), "--lr must be above 0. Given: nan"),
    ],
)
def test_bad_settings(make: Callable[[], object], says: str) -> None:
    with pytest.raises(TrainingError) as error:
        make()
    assert str(error.value) == says


def test_bad_history_length(make_job: MakeJob) -> None:
    with pytest.raises(TrainingError, match=r"--max-history must be at least 1. Given: 0"):
        make_job(max_history=0)
