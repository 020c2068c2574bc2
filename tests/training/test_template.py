"""Prompts that a model is trained on are, token for token, those that it is served with."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tokenizers import processors
from transformers import AutoModelForCausalLM

from sidebeam.bundle import Bundle, PromptBuilder, PromptFormat, Tokenizer, open_catalog
from sidebeam.evaluation import check
from sidebeam.training import Items, TrainingError
from sidebeam.training.job import Job
from sidebeam.training.lesson import sft, word_kd
from sidebeam.training.plan import Plan
from sidebeam.training.progress import ProgressBar
from sidebeam.training.recipe import Recipe
from sidebeam.training.sequences import UNLABELLED
from sidebeam.training.shape import Shape
from sidebeam.training.template import NAMED, prompt_format
from sidebeam.training.untrained import Untrained

from .bases import byte_level, lower_casing, save_base

MakeJob = Callable[..., Job]

ONE_STEP = Recipe(max_steps=1, batch_size=8)
MAX_HISTORY = 4
ODD = 'Say "next"\\ <then>:\t{history}\n\x7f é 🫖 <'


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def _fresh(folder: Path) -> None:
    return None


def _llama(folder: Path) -> Path:
    return save_base(folder, "llama")


def _qwen2(folder: Path) -> Path:
    return save_base(folder, "qwen2")


def _ending(folder: Path) -> Path:
    """Its tokenizer puts a mark behind every text, so a prompt is never only history."""
    tokenizer = byte_level("<s>")
    marks = [(mark, tokenizer.convert_tokens_to_ids(mark)) for mark in ("<s>", "<|end|>")]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A <|end|>", special_tokens=marks
    )
    return save_base(folder, "llama", tokenizer)


def _lower(folder: Path) -> Path:
    return save_base(folder, "llama", lower_casing())


@pytest.mark.parametrize("make_base", [_fresh, _llama, _qwen2, _ending, _lower])
@pytest.mark.parametrize(
    "prompt",
    [("{history}", None), ("{history}", ", "), ("instruction", None), (ODD, " <")],
    ids=["bare", "commas", "instruction", "odd"],
)
def test_training_prompts_are_served_prompts(
    make_job: MakeJob,
    bar: ProgressBar,
    data: Path,
    tmp_path: Path,
    make_base: Callable[[Path], Path | None],
    prompt: tuple[str, str | None],
) -> None:
    chosen = prompt_format(*prompt, MAX_HISTORY)
    job = make_job(
        items=_renamed(data, tmp_path),
        recipe=ONE_STEP,
        template=chosen.template,
        separator=chosen.item_separator,
        max_history=MAX_HISTORY,
    )
    plan = Plan(base=make_base(tmp_path / "base"))
    items = Items.open(job.items)
    sequences, valid = job._sequences(Untrained.of(plan, items, job.prompt).prompts)
    packed = prompt == ("{history}", None) and make_base is not _ending
    assert (sequences._prompts is None) == packed
    job.train_target(bar, plan)

    bundle = Bundle.open(job.out)
    assert bundle.prompt == chosen
    tokenizer = Tokenizer.open(bundle.tokenizer)
    catalog = open_catalog(bundle, tokenizer)
    prompts = PromptBuilder(bundle.prompt, tokenizer, catalog)
    labels = 0
    for rows in (sequences, valid):
        for at in range(0, len(rows), 7):
            window = rows._windows[at]
            batch = rows.collate([at])
            row = [*batch.tokens[0].tolist(), int(batch.labels[0, -1])]
            for label in range(window.first_label, len(window.items)):
                history = catalog.item_indices([items.ids[item] for item in window.items[:label]])
                served = prompts.from_items(history.tolist())
                sid = [tokenizer.token_id(token) for token in items.sids[window.items[label]]]
                assert row[: len(served) + len(sid)] == served + sid
                assert batch.labels[0, len(served) - 1 :][: len(sid)].tolist() == sid
                labels += 1
            assert (batch.labels[0] != UNLABELLED).sum() == items.depth * (len(window.items) - window.first_label)
    assert labels > 20


def _renamed(data: Path, tmp_path: Path) -> Path:
    """The same items in an order that the catalog, which sorts by id, does not keep."""
    items = list(json.loads((data / "items.json").read_text()).items())
    path = tmp_path / "items.json"
    path.write_text(json.dumps(dict(items[50:] + items[:50])))
    return path


@pytest.mark.parametrize("template", [NAMED["instruction"].template, ODD])
def test_a_fresh_model_takes_each_piece_of_a_template_as_one_token(
    make_job: MakeJob, bar: ProgressBar, template: str
) -> None:
    job = make_job(recipe=ONE_STEP, template=template, separator=" + ", max_history=MAX_HISTORY)
    job.train_target(bar)
    tokenizer = Tokenizer.open(job.out / "target")
    pad = tokenizer.token_id("<pad>")
    sid = "".join(Items.open(job.items).sids[0])
    for history in ("", sid, f"{sid} + {sid}"):
        ids = tokenizer.encode(template.replace("{history}", history))
        assert pad not in ids
        assert len(ids) <= 1 + 3 + 4 + 1 + 4 + 1  # start, pieces, SID, separator, SID, piece
    assert check.run(argparse.Namespace(bundle=job.out, threads=1)) == 0


def test_loss_on_all_labels_the_prompt_too(make_job: MakeJob) -> None:
    for template in ("{history}", "then: {history}; now:"):
        job = make_job(template=template, max_history=MAX_HISTORY)
        prompts = Untrained.of(Plan(), Items.open(job.items), job.prompt).prompts
        train, valid = job._sequences(prompts, label_all=True)
        batch = train.collate([0])
        assert batch.labels[0].tolist() == [*batch.tokens[0, 1:].tolist(), int(batch.labels[0, -1])]
        assert (valid.collate([0]).labels != UNLABELLED).sum() == 4  # models are judged by items alone


def test_a_draft_learns_on_its_targets_prompts(make_job: MakeJob, bar: ProgressBar, tmp_path: Path) -> None:
    chosen = NAMED["instruction"]
    job = make_job(recipe=ONE_STEP, template=chosen.template, separator=chosen.item_separator, max_history=MAX_HISTORY)
    job.train_target(bar, Plan(base=_qwen2(tmp_path / "base")))
    draft = make_job(recipe=ONE_STEP, shape=Shape(1, 16, 2))  # says nothing of prompts: they are the target's
    for teach in (sft, word_kd):
        replace(draft, overwrite=True).train_draft(bar, teach)
        assert check.run(argparse.Namespace(bundle=job.out, threads=1)) == 0
    sizes = {AutoModelForCausalLM.from_pretrained(job.out / part).config.vocab_size for part in ("target", "draft")}
    assert len(sizes) == 1


@pytest.mark.parametrize(
    ("template", "separator", "says"),
    [
        ("Next?", None, "--template must hold {history} exactly once, or be a name (instruction). Given: 'Next?'"),
        ("{history} {history}", None, "exactly once"),
        ("{history}\udcff", None, "--template must be UTF-8 text"),
        ("{history}", "\udcff", "--separator must be UTF-8 text"),
    ],
)
def test_bad_templates(template: str, separator: str | None, says: str) -> None:
    with pytest.raises(TrainingError) as error:
        prompt_format(template, separator, 20)
    assert says in str(error.value)


def test_a_named_template_brings_its_separator() -> None:
    assert prompt_format("instruction", None, 5) == replace(NAMED["instruction"], max_history=5)
    assert prompt_format("instruction", "", 5).item_separator == ""
    assert prompt_format("{history}", None, 5) == PromptFormat("{history}", "", 5)


@pytest.mark.parametrize(
    ("manifest", "says"),
    [
        ('[prompt]\ntemplate = "Bought: {history}"\nitem_separator = ""\n', r"prompt\.template must be '\{history\}'"),
        ('[prompt]\ntemplate = "{history}"\n', r"prompt\.item_separator must be '' for this target\. Given: ', '"),
        (
            '[prompt]\ntemplate = "{history}"\nitem_separator = ""\nmax_history = 3\n',
            r"max_history must be 20.*Given: 3",
        ),
        ('[target]\npath = "elsewhere"\n', r"target\.path must be 'target' for this target\. Given: 'elsewhere'"),
        ('[catalog]\nitems = "other.json"\n', r"catalog\.items must be 'items\.json'"),
        (
            '[tokenizer]\npath = "t"\n[prompt]\ntemplate = "{history}"\nitem_separator = ""\n',
            r"\[tokenizer\] names another",
        ),
        ("[prompt\n", r"sidebeam\.toml: Expected"),
        ("prompt = 3\n", r"prompt\.item_separator must be"),
    ],
)
def test_a_manifest_that_would_serve_other_prompts_is_refused(
    make_job: MakeJob, bar: ProgressBar, manifest: str, says: str
) -> None:
    job = make_job()
    job.out.mkdir()
    (job.out / "sidebeam.toml").write_text(manifest)
    with pytest.raises(TrainingError, match=says):
        job.train_target(bar)
    assert [path.name for path in job.out.iterdir()] == ["sidebeam.toml"]


def test_a_draft_of_another_vocabulary_is_refused(make_job: MakeJob, bar: ProgressBar) -> None:
    job = make_job(recipe=ONE_STEP, template="then: {history}")
    job.train_target(bar)
    job.train_draft(bar, sft)
    config = job.out / "draft" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "vocab_size": 7}))
    with pytest.raises(TrainingError, match=r"\[draft\] has a vocabulary of 7 tokens, this target one of \d+; take"):
        replace(job, overwrite=True).train_target(bar)
