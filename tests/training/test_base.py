"""A target that starts from somebody else's model: SID tokens are added, trained, saved and served."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BertConfig,
    BertLMHeadModel,
    LlamaConfig,
    LlamaForSequenceClassification,
    T5Config,
)

from sidebeam.bundle import Bundle, PromptFormat, Tokenizer
from sidebeam.evaluation import check
from sidebeam.training import Items, TrainingError, World
from sidebeam.training.adapter import adapted, merged
from sidebeam.training.base_model import BaseModel
from sidebeam.training.base_vocabulary import BaseVocabulary
from sidebeam.training.job import Job
from sidebeam.training.plan import Lora, Plan
from sidebeam.training.progress import ProgressBar
from sidebeam.training.recipe import Recipe
from sidebeam.training.template import NAMED
from sidebeam.training.vocabulary import sid_tokens

from .bases import byte_level, lower_casing, save_base

MakeJob = Callable[..., Job]

SHORT = Recipe(max_steps=8, batch_size=16, learning_rate=1e-2, seed=1)
INSTRUCTION = NAMED["instruction"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def items(data: Path) -> Items:
    return Items.open(data / "items.json")


@pytest.fixture
def make_instructed(make_job: MakeJob) -> MakeJob:
    def make(**changes: object) -> Job:
        prompt = {"template": INSTRUCTION.template, "separator": INSTRUCTION.item_separator, "max_history": 6}
        return make_job(**{"recipe": SHORT, **prompt, **changes})

    return make


def _rows(model: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return model.get_input_embeddings().weight.detach(), model.get_output_embeddings().weight.detach()


@pytest.mark.parametrize("lora", [None, Lora(rank=4, alpha=8)], ids=["full", "lora"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2"])
def test_a_base_becomes_a_bundle_that_is_served(
    make_instructed: MakeJob, bar: ProgressBar, tmp_path: Path, items: Items, family: str, lora: Lora | None
) -> None:
    base = save_base(tmp_path / "base", family)
    job = make_instructed()
    outcome = job.train_target(bar, Plan(base=base, lora=lora))
    assert outcome.steps == SHORT.max_steps
    assert outcome.valid_loss is not None

    assert check.run(argparse.Namespace(bundle=job.out, threads=1)) == 0  # answers equal transformers generate's

    tokenizer, old_tokenizer = (AutoTokenizer.from_pretrained(folder) for folder in (job.out / "target", base))
    first = len(old_tokenizer)
    added = sid_tokens(items)
    assert tokenizer.convert_tokens_to_ids(added) == list(range(first, first + len(added)))
    assert not {*added} & {*tokenizer.all_special_tokens}
    text = "The user chose a red kettle. "
    assert tokenizer(text).input_ids == old_tokenizer(text).input_ids

    target, old = (AutoModelForCausalLM.from_pretrained(folder) for folder in (job.out / "target", base))
    assert target.config.vocab_size == max(first + len(added), old.config.vocab_size)
    assert target.config.tie_word_embeddings == (family != "llama")
    untrained = BaseModel.open(base).load(BaseVocabulary.extend(base, items, job.prompt), seed=1)
    for now, before, begun in zip(_rows(target), _rows(old), _rows(untrained), strict=True):
        assert torch.equal(begun[: len(before)][:first], before[:first])
        assert (now[first : first + len(added)] != begun[first : first + len(added)]).any(dim=1).all()
        assert torch.equal(now[:first], before[:first]) == (lora is not None)


def test_new_rows_begin_near_the_mean_of_the_old(tmp_path: Path, items: Items) -> None:
    """Rows that the embedding kept in reserve are as new as those beyond it."""
    base = save_base(tmp_path / "base", "qwen2")
    old = AutoModelForCausalLM.from_pretrained(base).get_input_embeddings().weight.detach()
    known = len(AutoTokenizer.from_pretrained(base))
    assert known < len(old)
    vocabulary = BaseVocabulary.extend(base, items, PromptFormat("{history}", ""))
    model = BaseModel.open(base).load(vocabulary, seed=1)
    now = _rows(model)[0]
    assert len(now) == known + len(sid_tokens(items)) > len(old)
    assert torch.equal(now[:known], old[:known])
    distance = (now[known:] - old[:known].mean(dim=0)).std(dim=1) / old[:known].std()
    assert 0.05 < distance.min() <= distance.max() < 0.2
    assert len(torch.unique(now[known:], dim=0)) == len(now) - known
    again = BaseModel.open(base).load(vocabulary, seed=1)
    assert torch.equal(_rows(again)[0], now)


def test_a_trained_target_is_a_base_whose_tokens_are_not_added_twice(
    make_job: MakeJob, bar: ProgressBar, tmp_path: Path
) -> None:
    first = make_job(recipe=SHORT, max_history=6)
    first.train_target(bar)
    again = replace(first, out=tmp_path / "again")
    again.train_target(bar, Plan(base=first.out / "target"))
    ids = [Tokenizer.open(job.out / "target").encode("<a_0><b_0>") for job in (first, again)]
    assert ids[0] == ids[1]
    sizes = [AutoModelForCausalLM.from_pretrained(job.out / "target").config.vocab_size for job in (first, again)]
    assert sizes[0] == sizes[1]


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_merged_adapters_say_what_the_adapted_model_says(tmp_path: Path, items: Items, family: str) -> None:
    base = save_base(tmp_path / "base", family)
    vocabulary = BaseVocabulary.extend(base, items, PromptFormat("{history}", ""))
    sids = sorted(vocabulary.ids[token] for token in sid_tokens(items))
    model = adapted(BaseModel.open(base).load(vocabulary, seed=1), Lora(rank=3, alpha=12), sids, seed=1)
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert sum("token" in name for name in trained) == (2 if family == "llama" else 1)
    for layer in ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"):
        assert sum(f".{layer}.lora_" in name for name in trained) == 4  # two matrices in each of two blocks
    with torch.no_grad():
        for weight in trained.values():
            weight.add_(0.05 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(2)))
    tokens = torch.tensor([[1, *sids[:9], 7, *sids[-4:]]])
    wanted = model.eval()(input_ids=tokens).logits.detach()
    plain = merged(model)
    assert "lora" not in "".join(plain.state_dict())
    assert torch.allclose(plain(input_ids=tokens).logits, wanted, atol=1e-5)
    plain.save_pretrained(tmp_path / "merged")
    found = AutoModelForCausalLM.from_pretrained(tmp_path / "merged").eval()(input_ids=tokens).logits
    assert torch.allclose(found, wanted, atol=1e-5)


def test_what_a_base_was_told_about_sampling_is_not_passed_on(
    make_job: MakeJob, bar: ProgressBar, tmp_path: Path
) -> None:
    """A penalty or a longest answer would make generate, and so the check, rank other items."""
    base = save_base(tmp_path / "base", "qwen2")
    settings = {"do_sample": True, "temperature": 0.7, "repetition_penalty": 1.3, "eos_token_id": [0, 1]}
    (base / "generation_config.json").write_text(json.dumps(settings))
    job = make_job(recipe=SHORT, max_history=6)
    job.train_target(bar, Plan(base=base))
    kept = json.loads((job.out / "target" / "generation_config.json").read_text())
    assert kept["eos_token_id"] == [0, 1]
    assert not {"repetition_penalty", "temperature", "do_sample"} & kept.keys()
    assert check.run(argparse.Namespace(bundle=job.out, threads=1)) == 0


def test_sid_tokens_are_never_normalised_nor_split(
    make_job: MakeJob, bar: ProgressBar, tmp_path: Path, world: World
) -> None:
    """In a tokenizer that lowers case and cuts at punctuation, and that has some of the tokens as plain words."""
    raised = {str(item): [token.upper() for token in sid] for item, sid in enumerate(world.sids)}
    (tmp_path / "items.json").write_text(json.dumps(raised))
    known = lower_casing(["<A_0>", "<B_0>"])
    assert known("<A_0>").input_ids != [known.convert_tokens_to_ids("<A_0>")]
    base = save_base(tmp_path / "base", "llama", known)
    job = make_job(recipe=SHORT, items=tmp_path / "items.json", max_history=6, template="The user chose: {history}.")
    job = replace(job, separator=", ")
    job.train_target(bar, Plan(base=base))
    tokenizer = AutoTokenizer.from_pretrained(job.out / "target")
    assert tokenizer.convert_tokens_to_ids(["<A_0>", "<B_0>"]) == known.convert_tokens_to_ids(["<A_0>", "<B_0>"])
    read = tokenizer.tokenize(f"The user chose: {''.join(raised['5'])}, {''.join(raised['7'])}.")
    assert read == ["the", "user", "chose", ":", *raised["5"], ",", *raised["7"], "."]
    assert check.run(argparse.Namespace(bundle=job.out, threads=1)) == 0


def test_a_tokenizer_that_swallows_sids_is_refused(make_job: MakeJob, bar: ProgressBar, tmp_path: Path) -> None:
    tokenizer = byte_level(None)
    tokenizer.add_tokens([AddedToken("<a_0><b_0>", normalized=False)])  # longer than any SID token, so it wins
    base = save_base(tmp_path / "base", "qwen2", tokenizer)
    job = make_job()
    says = r"--base .*base: the tokenizer reads the SID <a_0><b_0>\S+ as <a_0><b_0> <c_"
    with pytest.raises(TrainingError, match=says):
        job.train_target(bar, Plan(base=base))
    assert not job.out.exists()


def test_a_special_token_is_no_sid_token(make_job: MakeJob, bar: ProgressBar, tmp_path: Path) -> None:
    (tmp_path / "items.json").write_text('{"1": ["<s>", "<b_1>"]}')
    base = save_base(tmp_path / "base", "llama")
    with pytest.raises(TrainingError, match="the items use the SID token <s>, which the tokenizer needs"):
        make_job(items=tmp_path / "items.json").train_target(bar, Plan(base=base))


def test_a_context_that_is_too_short_is_refused(make_instructed: MakeJob, bar: ProgressBar, tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", "llama", max_position_embeddings=100)
    job = make_instructed(max_history=20)
    says = r"a prompt of 20 items and its SID take (\d+) tokens; the model takes 100\. Lower --max-history"
    with pytest.raises(TrainingError, match=says) as error:
        job.train_target(bar, Plan(base=base))
    assert not job.out.exists()
    needed = int(str(error.value).split(" tokens;")[0].split()[-1])
    # Exactly as many positions are enough.
    for positions, fits in ((needed - 1, False), (needed, True)):
        enough = save_base(tmp_path / str(positions), "llama", max_position_embeddings=positions)
        if fits:
            replace(job, recipe=Recipe(max_steps=1)).train_target(bar, Plan(base=enough))
            assert check.run(argparse.Namespace(bundle=job.out, threads=1)) == 0
        else:
            with pytest.raises(TrainingError, match=f"takes {positions}"):
                job.train_target(bar, Plan(base=enough))


def _no_folder(folder: Path) -> None:
    pass


def _empty(folder: Path) -> None:
    folder.mkdir()


def _unknown_type(folder: Path) -> None:
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "abacus"}')


def _encoder_decoder(folder: Path) -> None:
    T5Config(vocab_size=20, d_model=8, num_layers=1, num_heads=1, d_ff=8).save_pretrained(folder)


def _pickled(folder: Path) -> None:
    save_base(folder, "llama")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def _no_tokenizer(folder: Path) -> None:
    save_base(folder, "llama")
    (folder / "tokenizer.json").unlink()


def _damaged_tokenizer(folder: Path) -> None:
    save_base(folder, "llama")
    (folder / "tokenizer.json").write_text('{"version": "1.0", "model": {"type": "abacus"}}')


def _damaged_weights(folder: Path) -> None:
    save_base(folder, "llama")
    (folder / "model.safetensors").write_bytes(b"half a fi")


def _other_sizes(folder: Path) -> None:
    save_base(folder, "llama")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 64}))


def _no_head(folder: Path) -> None:
    tokenizer = byte_level("<s>")
    tokenizer.save_pretrained(folder)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForSequenceClassification(LlamaConfig(vocab_size=len(tokenizer), pad_token_id=0, **sizes)).save_pretrained(
        folder
    )


def _sees_the_future(folder: Path) -> None:
    tokenizer = byte_level(None)
    tokenizer.save_pretrained(folder)
    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    torch.manual_seed(1)
    BertLMHeadModel(BertConfig(vocab_size=len(tokenizer), initializer_range=1.0, **sizes)).save_pretrained(folder)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (_no_folder, "no such folder"),
        (_empty, "holds no model"),
        (_unknown_type, "holds no model: .*abacus"),
        (_encoder_decoder, "t5 is an encoder-decoder; a causal LM is needed"),
        (_pickled, r"holds no model\.safetensors"),
        (_no_tokenizer, r"has no fast tokenizer: tokenizer\.json is missing"),
        (_damaged_tokenizer, "the tokenizer cannot be opened: it has no 'added_tokens'"),
        (_damaged_weights, "cannot be loaded"),
        (_other_sizes, r"weights unlike config\.json: model\.layers\.0\.mlp\.down_proj\.weight"),
        (_no_head, r"lacks weights of llama: lm_head\.weight"),
        (_sees_the_future, "bert sees later tokens; a causal LM is needed"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_folders_that_are_no_base(
    make_job: MakeJob, bar: ProgressBar, tmp_path: Path, make: Callable[[Path], None], says: str
) -> None:
    base = tmp_path / "base"
    make(base)
    job = make_job()
    with pytest.raises(TrainingError, match=says) as error:
        job.train_target(bar, Plan(base=base))
    assert str(error.value).startswith(f"--base {base}: ")
    assert "\n" not in str(error.value)
    assert not job.out.exists()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Lora(0, 1), "--lora must be at least 1. Given: 0"),
        (lambda: Lora(1, 0), "--lora-alpha must be at least 1. Given: 0"),
        (lambda: Lora(1, 1, 1.0), "--lora-dropout must be from 0 to below 1. Given: 1.0"),
        (lambda: Plan(lora=Lora(2, 4)), "--lora needs a trained model, --base. Given: --lora 2 alone"),
        (lambda: Plan(dropout=-0.1), "--dropout must be from 0 to below 1. Given: -0.1"),
        (lambda: Plan(label_smoothing=1), "--label-smoothing must be from 0 to below 1. Given: 1"),
        (lambda: Plan(shuffle=1.1), "--shuffle must be from 0 to 1. Given: 1.1"),
    ],
)
def test_bad_plans(make: Callable[[], object], says: str) -> None:
    with pytest.raises(TrainingError) as error:
        make()
    assert str(error.value) == says


def test_a_rank_beyond_the_width_is_refused(make_job: MakeJob, bar: ProgressBar, tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", "llama")
    with pytest.raises(TrainingError, match=r"--lora must be at most the model's width, 32\. Given: 33"):
        make_job(max_history=6).train_target(bar, Plan(base=base, lora=Lora(33, 66)))


def test_the_base_stays_as_it_was(make_job: MakeJob, bar: ProgressBar, tmp_path: Path) -> None:
    base = save_base(tmp_path / "base", "qwen2")
    before = {path.name: path.read_bytes() for path in base.iterdir()}
    make_job(recipe=SHORT, max_history=6).train_target(bar, Plan(base=base, lora=Lora(2, 4)))
    assert {path.name: path.read_bytes() for path in base.iterdir()} == before
    Bundle.open(make_job().out)
