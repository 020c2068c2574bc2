"""The language model's data and its files; that it learns; that a first use is whole or leaves nothing."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from sidebeam.bundle import Bundle
from sidebeam.bundle import Tokenizer as BundleTokenizer
from sidebeam.folklore import PLAN, KnowledgeWorld, prepare_folklore
from sidebeam.folklore.language_model import train_lm
from sidebeam.folklore.lessons import Lessons
from sidebeam.folklore.tokens import Tokens
from sidebeam.training.progress import ProgressBar
from sidebeam.training.recipe import Recipe
from sidebeam.training.sequences import UNLABELLED
from sidebeam.training.shape import Shape

from .conftest import TINY


def test_lessons_label_the_text_and_its_end_alone(world: KnowledgeWorld) -> None:
    pairs = world.pairs(20)[:24]
    tokens = Tokens.train((part for pair in pairs for part in pair), 700)
    lessons = Lessons(pairs, tokens)
    assert sorted(index for batch in lessons.batches(5, 0, 0) for index in batch) == list(range(24))
    assert lessons.batches(5, 0, 0) == lessons.batches(5, 0, 0) != lessons.batches(5, 0, 1)
    batch = lessons.collate([3, 21])
    for row, (prompt, text) in enumerate([pairs[3], pairs[21]]):
        labelled = batch.labels[row] != UNLABELLED
        said = batch.labels[row][labelled].tolist()
        assert said == tokens.answer(text)
        first = int(labelled.nonzero()[0])
        assert batch.tokens[row, : first + 1].tolist() == tokens.prompt(prompt)
        assert batch.tokens[row, first + 1 : first + len(said)].tolist() == said[:-1]
    assert lessons.tokens == sum(len(tokens.prompt(a)) + len(tokens.answer(b)) for a, b in pairs)


def test_any_text_goes_through_the_tokenizer_and_back(world: KnowledgeWorld, tmp_path: Path) -> None:
    pairs = world.pairs(50)
    tokens = Tokens.train((part for pair in pairs for part in pair), 2048)
    tokens.save(tmp_path, 512)
    opened, plain = AutoTokenizer.from_pretrained(tmp_path), BundleTokenizer.open(tmp_path)
    for text in (pairs[0][1], "Ünbekannt — 7 * 8 , and  two spaces\n", "</s", pairs[-1][0]):
        ids = tokens.prompt(text)
        assert opened(text).input_ids == plain.encode(text) == ids
        assert opened.decode(ids, skip_special_tokens=True) == text
    assert opened.eos_token_id == tokens.end
    again = Tokens.train((part for pair in pairs for part in pair), 2048)
    assert again.fast.get_vocab() == tokens.fast.get_vocab()


def test_a_first_use_makes_a_whole_bundle_once(tmp_path: Path, bar: ProgressBar) -> None:
    path = prepare_folklore(tmp_path, bar, TINY)
    assert path == tmp_path / "knowledge-tiny"
    bundle = Bundle.open(path)
    model = AutoModelForCausalLM.from_pretrained(bundle.target)
    assert model.config.eos_token_id == AutoTokenizer.from_pretrained(bundle.target).eos_token_id
    written = (path / "target" / "model.safetensors").stat().st_mtime_ns
    assert prepare_folklore(tmp_path, bar, TINY) == path
    assert (path / "target" / "model.safetensors").stat().st_mtime_ns == written
    assert sorted(each.name for each in tmp_path.iterdir()) == [".knowledge.lock", "knowledge-tiny"]
    assert [str(each.relative_to(path)) for each in path.rglob(".*")] == ["pools/.lock"]


def test_a_prepared_world_opens_without_torch(tmp_path: Path) -> None:
    """Later starts must be quick: what is cached is used before anything heavy is imported."""
    PLAN.bundle(tmp_path).mkdir(parents=True)
    probe = (
        "import sys\n"
        "from pathlib import Path\n"
        "from sidebeam.folklore import prepare_folklore\n"
        "from sidebeam.training.progress import ProgressBar\n"
        "prepare_folklore(Path(sys.argv[1]), ProgressBar())\n"
        "print(sorted({'torch', 'transformers', 'sklearn'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_what_a_killed_first_use_left_is_no_harm(tmp_path: Path, bar: ProgressBar) -> None:
    left = tmp_path / ".knowledge-tiny.partial"
    left.mkdir()
    (left / "attributes.jsonl").write_text("half a li")
    path = prepare_folklore(tmp_path, bar, TINY)
    assert not left.exists()
    assert len((path / "attributes.jsonl").read_text().splitlines()) == 3 * 128


def test_a_seed_decides_the_model(tmp_path: Path, bar: ProgressBar) -> None:
    pairs = KnowledgeWorld.build(3, aisles=2, circles=2).pairs(16)[:32]
    weights = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        recipe = replace(TINY.recipe, seed=seed, batch_size=2)
        train_lm(pairs, tmp_path / name, TINY.model, recipe, bar)
        weights.append(AutoModelForCausalLM.from_pretrained(tmp_path / name).lm_head.weight.detach())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.slow
def test_a_small_model_learns_to_tell_texts_that_end(tmp_path: Path, bar: ProgressBar) -> None:
    """A tenth of the demo's training on a world of two aisles: whole sentences of the grammar, and an end."""
    world = KnowledgeWorld.build(5, aisles=2, circles=2)
    recipe = Recipe(epochs=20, max_steps=260, batch_size=8, learning_rate=5e-3, seed=1)
    train_lm(world.pairs(600, 0), tmp_path / "lm", Shape(2, 96, 4), recipe, bar)
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "lm").eval()
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "lm")
    strangers = world.customers(400, stream=5)
    texts = world.user_texts([each.known for each in strangers], np.random.default_rng(0))
    known = {sentence for text in texts for sentence in text.split(". ")}
    whole = []
    for prompt in world.user_prompts([each.known for each in world.customers(8)]):
        ids = tokenizer(prompt, return_tensors="pt")
        answer = model.generate(**ids, max_new_tokens=220, do_sample=False)[0, ids.input_ids.shape[1] :]
        assert int(answer[-1]) == tokenizer.eos_token_id
        assert 80 <= len(answer) <= 200
        sentences = tokenizer.decode(answer, skip_special_tokens=True).split(". ")
        whole += [sentence in known for sentence in sentences[1:-1]]  # the first repeats a title of the prompt
    assert np.mean(whole) > 0.6  # it may say "oak, and next to it oak", which the grammar never does
