"""Steps: what accumulation, processes, seeds, patience and precision may change, and what not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from itertools import chain
from pathlib import Path

import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file
from torch.nn import functional as F
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, OPTConfig, OPTForCausalLM

from sidebeam.training import Items, TrainingError
from sidebeam.training.dropout import add_dropout
from sidebeam.training.job import Job
from sidebeam.training.logits import labelled_logits
from sidebeam.training.objective import NextToken
from sidebeam.training.plan import Plan
from sidebeam.training.progress import ProgressBar
from sidebeam.training.recipe import Recipe
from sidebeam.training.sequences import UNLABELLED, Batch
from sidebeam.training.shape import Shape
from sidebeam.training.trainer import Trainer
from sidebeam.training.untrained import Untrained

MakeJob = Callable[..., Job]


def _weights(job: Job) -> dict[str, torch.Tensor]:
    return load_file(job.out / "target" / "model.safetensors")


def _distance(one: Job, other: Job) -> float:
    ours, theirs = _weights(one), _weights(other)
    return max(float((ours[name] - theirs[name]).abs().max()) for name in ours)


def test_accumulated_batches_weigh_like_one_large_one(
    make_job: MakeJob, bar: ProgressBar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step over three batches of unequal lengths is the step over all of their rows: each token counts the same."""
    cut = make_job(recipe=Recipe(max_steps=1, batch_size=4, accumulate=3, weight_decay=0.0))
    cut.train_target(bar)
    whole = make_job(recipe=Recipe(max_steps=1, batch_size=12, weight_decay=0.0), out=tmp_path / "whole")
    train, _ = cut._sequences(Untrained.of(Plan(), Items.open(cut.items), cut.prompt).prompts)
    first = train.batches(4, 0, 0)[:3]
    assert len({train.collate(batch).tokens.shape for batch in first}) > 1
    monkeypatch.setattr(Trainer, "_rounds", lambda trainer, epoch: [[[*chain(*first)]]])
    whole.train_target(bar)
    assert _distance(cut, whole) < 2e-5  # of steps of 1e-3


def test_a_seed_decides_everything(make_job: MakeJob, bar: ProgressBar, tmp_path: Path) -> None:
    plan = Plan(dropout=0.3)
    recipe = Recipe(max_steps=4, batch_size=8, seed=1)
    jobs = [
        make_job(recipe=replace(recipe, seed=seed), out=tmp_path / name)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    torch.manual_seed(7)
    mine = torch.random.get_rng_state()
    for job in jobs:
        job.train_target(bar, plan)
    assert torch.equal(torch.random.get_rng_state(), mine)  # the caller's own random numbers go on as if nothing was
    assert _distance(jobs[0], jobs[1]) == 0
    assert _distance(jobs[0], jobs[2]) > 0.01


def test_training_ends_when_validation_gains_no_more(make_job: MakeJob, tmp_path: Path) -> None:
    text = StringIO()
    recipe = Recipe(epochs=30, batch_size=8, learning_rate=3e-2, seed=1, patience=2)
    job = make_job(recipe=recipe, shape=Shape(1, 32, 2))
    with ProgressBar(Console(file=text, width=200)) as bar:
        outcome = job.train_target(bar)
    losses = [float(loss) for loss in re.findall(r"validation (\d+\.\d+)", text.getvalue())]
    best = losses.index(min(losses)) + 1
    assert len(losses) == best + 2 < 30
    assert outcome.steps == len(losses) * 10
    assert outcome.valid_loss == pytest.approx(min(losses), abs=1e-4)
    assert f"nothing gained in 2 epochs; epoch {best} is the best" in text.getvalue()
    # The weights are those of the best epoch, not of the last.
    _, valid = job._sequences(Untrained.of(Plan(), Items.open(job.items), job.prompt).prompts)
    model = AutoModelForCausalLM.from_pretrained(job.out / "target").eval()
    with torch.no_grad():
        loss, _ = NextToken().loss(model, valid.collate(range(len(valid))))
    assert float(loss) == pytest.approx(min(losses), abs=1e-3)

    endless = replace(job, out=tmp_path / "endless", recipe=replace(recipe, epochs=len(losses) + 2, patience=0))
    with ProgressBar(Console(file=StringIO())) as bar:
        assert endless.train_target(bar).steps == (len(losses) + 2) * 10


def test_labelled_logits_are_the_models() -> None:
    """Whether or not the model can be asked at some columns only."""
    torch.manual_seed(1)
    model = GPT2LMHeadModel(GPT2Config(vocab_size=11, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0))
    model.eval()
    tokens = torch.randint(11, (3, 7))
    labels = torch.full_like(tokens, UNLABELLED)
    labels[0, 4:6], labels[1, 2] = torch.tensor([3, 5]), 8
    wanted = model(input_ids=tokens).logits[labels != UNLABELLED]

    class Deaf(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, **ignored: object) -> object:
            return model(input_ids=input_ids)

    for asked in (model, Deaf()):
        logits, found = labelled_logits(asked, Batch(tokens, labels))  # type: ignore[arg-type]
        assert found.tolist() == [3, 5, 8]
        assert torch.allclose(logits, wanted, atol=1e-6)


def test_labels_are_smoothed_while_training_only() -> None:
    model = GPT2LMHeadModel(
        GPT2Config(vocab_size=11, n_embd=8, n_layer=1, n_head=2, bos_token_id=0, eos_token_id=0, resid_pdrop=0.0)
    )
    add_dropout(model, 0.0)
    tokens = torch.randint(11, (3, 7))
    batch = Batch(tokens, tokens)
    with torch.no_grad():
        logits = model(input_ids=tokens).logits.flatten(0, 1)
        smoothed, _ = NextToken(0.2).loss(model.train(), batch)
        plain, _ = NextToken(0.2).loss(model.eval(), batch)
    sharp = F.cross_entropy(logits, tokens.flatten())
    even = -logits.log_softmax(-1).mean()
    assert float(plain) == pytest.approx(float(sharp), abs=1e-5)
    assert float(smoothed) == pytest.approx(float(0.8 * sharp + 0.2 * even), abs=1e-5)


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_dropout_is_for_training_and_leaves_no_trace(
    make_job: MakeJob, bar: ProgressBar, tmp_path: Path, family: str
) -> None:
    from .bases import save_base

    base = save_base(tmp_path / "base", family)
    plain, dropped = (AutoModelForCausalLM.from_pretrained(base) for _ in range(2))
    add_dropout(dropped, 0.5)
    tokens = torch.randint(300, (2, 9))
    assert torch.equal(plain.eval()(input_ids=tokens).logits, dropped.eval()(input_ids=tokens).logits)
    dropped.train()
    assert not torch.equal(dropped(input_ids=tokens).logits, dropped(input_ids=tokens).logits)
    job = make_job(recipe=Recipe(max_steps=1), max_history=6)
    job.train_target(bar, Plan(base=base, dropout=0.5))
    saved, given = (json.loads((folder / "config.json").read_text()) for folder in (job.out / "target", base))
    assert {**saved, "vocab_size": 0} == {**given, "vocab_size": 0}


def test_each_branch_of_a_llama_is_dropped() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=9, hidden_size=64, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2)
    )
    add_dropout(model, 0.25)
    block = model.model.layers[0]
    assert block.self_attn.attention_dropout == 0.25
    shares = []
    for branch in (block.self_attn, block.mlp):
        branch.register_forward_hook(
            lambda module, args, output: shares.append(float((_first(output) == 0).float().mean()))
        )
    torch.manual_seed(1)
    model.train()(input_ids=torch.randint(9, (8, 16)))
    assert shares == pytest.approx([0.25, 0.25], abs=0.02)


def _first(output: torch.Tensor | tuple[torch.Tensor, ...]) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output


def test_a_family_without_a_place_for_dropout_is_refused() -> None:
    model = OPTForCausalLM(
        OPTConfig(
            vocab_size=9, hidden_size=8, ffn_dim=8, num_hidden_layers=1, num_attention_heads=1, word_embed_proj_dim=8
        )
    )
    with pytest.raises(TrainingError, match=r"--dropout: not known how in opt; leave it out\. Given: 0\.1"):
        add_dropout(model, 0.1)


def test_half_precision_needs_an_accelerator(make_job: MakeJob, bar: ProgressBar) -> None:
    job = make_job(precision="fp16")
    with pytest.raises(TrainingError, match=r"--precision fp16 needs an accelerator.*Given: fp16"):
        job.train_target(bar)
    assert not job.out.exists()


def _train(data: Path, out: Path, *options: str, launcher: tuple[str, ...] = ()) -> str:
    """`sidebeam train target` in processes of its own."""
    files = ["--items", str(data / "items.json"), "--interactions", str(data / "interactions.jsonl"), "--out", str(out)]
    size = ["--layers", "1", "--hidden", "16", "--heads", "2", "--device", "cpu", "--threads", "1"]
    command = [*launcher, "-m", "sidebeam.command.main", "train", "target", *files, *size, *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *command], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr


@pytest.mark.slow
def test_bfloat16_on_a_cpu(data: Path, tmp_path: Path) -> None:
    """Accelerate allows one precision per process. Master weights stay float32, and the loss is nearly the same."""
    losses = []
    for precision in ("no", "bf16"):
        told = _train(data, tmp_path / precision, "--epochs", "2", "--batch-size", "8", "--precision", precision)
        losses.append([float(loss) for loss in re.findall(r"validation (\d+\.\d+)", told)])
    assert losses[0] == pytest.approx(losses[1], abs=0.02)
    full, mixed = (load_file(tmp_path / name / "target" / "model.safetensors") for name in ("no", "bf16"))
    assert {weight.dtype for weight in mixed.values()} == {torch.float32}
    assert not torch.equal(full["lm_head.weight"], mixed["lm_head.weight"])


ACCELERATE = ("-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "--num_machines", "1")
ACCELERATE = (*ACCELERATE, "--mixed_precision", "no", "--dynamo_backend", "no")


@pytest.mark.slow
def test_two_processes_do_what_one_does_with_two_batches(data: Path, tmp_path: Path) -> None:
    """`accelerate launch`: the processes' batches make one step together, and a seed gives the same weights again."""
    options = ("--max-steps", "5", "--batch-size", "4", "--lr", "0.003")
    told = _train(data, tmp_path / "two", *options, launcher=ACCELERATE)
    assert told.count("target: epoch") == 1  # one process speaks
    _train(data, tmp_path / "again", *options, launcher=ACCELERATE)
    _train(data, tmp_path / "one", *options, "--accumulate", "2")
    two, again, one = (load_file(tmp_path / name / "target" / "model.safetensors") for name in ("two", "again", "one"))
    for name, weight in two.items():
        assert torch.equal(weight, again[name])
        assert torch.allclose(weight, one[name], atol=1e-5)
