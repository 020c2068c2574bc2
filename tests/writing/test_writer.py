"""A bundle as a writer: transformers' own texts, limits, and pools that are no use."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sidebeam.bundle import Bundle
from sidebeam.knowledge.pools import Pools
from sidebeam.knowledge.tokenizer import tokenizer_fingerprint
from sidebeam.models import ModelError
from sidebeam.texts import Drafting, Sampled
from sidebeam.writing import WritingError
from sidebeam.writing.writer import Asked, Failure, Text, Writer

from .conftest import MOST_NEW, POSITIONS, Shop, asked


def texts_of(writer: Writer, users: list[dict[str, str]], **options: object) -> dict[str, Text]:
    wanted = (
        (user["entity"], Asked(user["prompt"], user["entity"], user["group"], **options))  # type: ignore[arg-type]
        for user in users
    )
    found = dict(writer.write(wanted))
    assert all(isinstance(text, Text) for text in found.values())
    return found  # type: ignore[return-value]


@pytest.mark.parametrize("mode", ["auto", "explicit", "off"])
@pytest.mark.parametrize("with_pools", [True, False])
def test_texts_are_what_transformers_writes(shop: Shop, pools: Path, mode: str, with_pools: bool) -> None:
    users = asked(30)
    drafting = Drafting(mode)  # type: ignore[arg-type]
    with Writer.load(shop.bundle, pools=pools if with_pools else None, slots=5, drafting=drafting) as writer:
        assert writer.pools_problem == ""
        assert (writer.pools is not None) == (with_pools and mode != "off")
        texts = texts_of(writer, users)
    stops = set()
    for user in users:
        text, wanted = texts[user["entity"]], shop.greedy(user["prompt"])
        assert text.result.tokens.tolist() == wanted
        assert text.text == shop.tokenizer._fast.decode(wanted[:-1] if wanted[-1] in shop.ends else wanted)
        stops.add(text.result.stop)
    assert stops == {"end", "max_new_tokens"}
    passes = sum(text.result.passes for text in texts.values())
    tokens = sum(len(text.result.tokens) for text in texts.values())
    if mode == "off":
        assert passes == tokens
    else:
        assert any(text.result.accepted for text in texts.values()) or mode == "auto"
    if mode == "explicit" and with_pools:
        assert writer.tiers == ("request", "entity", "group", "global")
        assert passes < 0.7 * tokens
        assert sum(sum(text.result.accepted_by_tier[1:]) for text in texts.values()) > tokens / 4


def test_prompts_are_encoded_as_the_recommender_does(shop: Shop) -> None:
    writer = Writer.load(shop.bundle, slots=1)
    request = writer.request(Asked("a boat"))
    assert request.prompt.tolist() == shop.tokenizer.encode("a boat")
    assert request.prompt[0] == 1  # the start token
    by_ids = writer.request(Asked(request.prompt))
    np.testing.assert_array_equal(by_ids.prompt, request.prompt)


def test_what_the_model_cannot_take_fails_alone(shop: Shop) -> None:
    writer = Writer.load(shop.bundle, slots=2, max_prompt_tokens=POSITIONS * 9)
    assert writer.max_prompt_tokens == POSITIONS - 1
    fitting = np.arange(3, 3 + POSITIONS - 1)
    found = dict(
        writer.write(
            [
                ("long", Asked("stone " * 200)),
                ("fits", Asked(fitting)),
                ("none", Asked(np.zeros(0, np.int64))),
                ("more", Asked("a", max_new_tokens=MOST_NEW + 1)),
                ("zero", Asked("a", max_new_tokens=0)),
                ("half", Asked("a \ud800")),
                ("alien", Asked(np.array([5, 5000]))),
                ("short", Asked("a", max_new_tokens=3)),
            ]
        )
    )
    size = len(shop.tokenizer.encode("stone " * 200))
    vocab = writer.engine.vocabulary.size
    assert {key: failed.reason for key, failed in found.items() if isinstance(failed, Failure)} == {
        "long": f"prompt must be 1 to {POSITIONS - 1} tokens; given {size}",
        "none": f"prompt must be 1 to {POSITIONS - 1} tokens; given 0",
        "more": f"max_new_tokens must be 1 to {MOST_NEW}; given {MOST_NEW + 1}",
        "zero": f"max_new_tokens must be 1 to {MOST_NEW}; given 0",
        "half": "prompt is not valid Unicode at character 2",
        "alien": f"prompt tokens must be 0 to {vocab - 1}; given 5000",
    }
    fits, short = found["fits"], found["short"]
    assert isinstance(fits, Text)
    assert (len(fits.result.tokens), fits.result.stop) == (1, "model_length")
    assert isinstance(short, Text)
    assert short.result.tokens.tolist() == shop.greedy("a", 3)


def test_slots_hold_the_longest_prompt_and_text(shop: Shop, pools: Path) -> None:
    """Within the model's positions nothing is cut short, though slots are no larger than they must be."""
    for longest in (1, 40):
        with Writer.load(shop.bundle, pools=pools, slots=3, max_prompt_tokens=longest) as writer:
            prompts = [np.random.default_rng(seed).integers(60, 200, longest) for seed in range(6)]
            found = list(writer.write((i, Asked(prompt)) for i, prompt in enumerate(prompts)))
            assert {text.result.stop for _, text in found if isinstance(text, Text)} <= {"end", "max_new_tokens"}
            assert any(text.result.stop == "max_new_tokens" for _, text in found if isinstance(text, Text))
            (_, failure), *_ = writer.write([(0, Asked(np.arange(3, 4 + longest)))])
            assert failure == Failure(f"prompt must be 1 to {longest} tokens; given {longest + 1}")


def test_whoever_stops_listening_leaves_nothing_open(shop: Shop, pools: Path) -> None:
    with Writer.load(shop.bundle, pools=pools, slots=3) as writer:
        answers = writer.write((i, Asked(f"{i} boats")) for i in range(20))
        next(answers)
        assert not writer.engine.is_idle
        answers.close()  # type: ignore[attr-defined]
        assert writer.engine.is_idle
        assert writer.engine._model.slots.n_free == 3


def test_texts_of_a_seed_do_not_depend_on_drafts(shop: Shop, pools: Path) -> None:
    users, found = asked(12), []
    for folder in (pools, None):
        with Writer.load(shop.bundle, pools=folder, slots=4) as writer:
            texts = texts_of(writer, users, verification=Sampled(1.5, seed=4))
            found.append({entity: text.result.tokens.tolist() for entity, text in texts.items()})
    assert found[0] == found[1]
    assert found[0]["u0"] != shop.greedy(users[0]["prompt"])


def _cut(folder: Path) -> None:
    (path,) = folder.glob("global-*.pool")
    path.write_bytes(path.read_bytes()[:-50])


def _other_tokenizer(folder: Path) -> None:
    manifest = folder / "manifest.json"
    (fingerprint,) = {line.split('"')[3] for line in manifest.read_text().splitlines() if '"fingerprint"' in line}
    manifest.write_text(manifest.read_text().replace(fingerprint, "0" * 16))


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (_cut, r"global-1\.pool: "),
        (_other_tokenizer, "made with another tokenizer, of fingerprint 0{16}; this one's is "),
        (shutil.rmtree, "no such folder"),
        (lambda folder: (folder / "manifest.json").unlink(), "no pools; `sidebeam knowledge pools build` makes them"),
    ],
    ids=["cut short", "another tokenizer", "gone", "empty"],
)
def test_pools_of_no_use_are_named_and_done_without(
    shop: Shop, pools: Path, tmp_path: Path, harm: Callable[[Path], object], says: str
) -> None:
    folder = tmp_path / "pools"
    shutil.copytree(pools, folder)
    harm(folder)
    writer = Writer.load(shop.bundle, pools=folder, slots=2)
    assert writer.pools is None
    assert str(folder) in writer.pools_problem
    assert re.search(says, writer.pools_problem)
    (user,) = asked(1)
    assert texts_of(writer, [user])["u0"].result.tokens.tolist() == shop.greedy(user["prompt"])
    if folder.exists():
        with pytest.raises(WritingError, match="the pools cannot learn: "):
            Writer.load(shop.bundle, pools=folder, slots=2, learn=True)


def test_learned_texts_are_drafted_from(shop: Shop, tmp_path: Path) -> None:
    """Of pools that were not there: the second time around, an entity's own text is known."""
    users = asked(4)
    drafting = Drafting("explicit")
    with Writer.load(shop.bundle, pools=tmp_path / "new", slots=2, learn=True, drafting=drafting) as writer:
        first = texts_of(writer, users)
        with pytest.raises(WritingError, match=r"the pools cannot learn: .*another process is writing"):
            Writer.load(shop.bundle, pools=tmp_path / "new", learn=True)
        assert writer.commit() == 4
        again = texts_of(writer, users)
    for user in users:
        one, two = first[user["entity"]].result, again[user["entity"]].result
        assert one.tokens.tolist() == two.tokens.tolist()
        assert two.passes <= one.passes
        assert sum(two.accepted_by_tier[1:]) > 0
    assert sum(t.result.passes for t in again.values()) < sum(t.result.passes for t in first.values()) / 2
    known = Pools.open(tmp_path / "new", tokenizer_fingerprint(shop.bundle.tokenizer))
    assert known.n_texts == 4
    assert known.groups == ["g0", "g1", "g2"]


def test_the_bundle_says_which_pools(shop: Shop, pools: Path, tmp_path: Path) -> None:
    shutil.copytree(shop.root, tmp_path / "bundle")
    toml = tmp_path / "bundle" / "sidebeam.toml"
    toml.write_text(toml.read_text() + f'pools = "{pools}"\n')
    with Writer.load(Bundle.open(tmp_path / "bundle"), slots=1) as writer:
        assert writer.pools is not None
        assert writer.pools.n_texts == 15
        assert writer.max_new_tokens == MOST_NEW


def test_what_cannot_be_used_is_named(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(WritingError, match="slots must be at least 1; given 0"):
        Writer.load(shop.bundle, slots=0)
    with pytest.raises(WritingError, match="device nowhere cannot be used: "):
        Writer.load(shop.bundle, device="nowhere")
    with pytest.raises(WritingError, match="there are no pools that could learn"):
        Writer.load(shop.bundle, learn=True)
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(WritingError, match=r"tokenizer\.json: not a tokenizer: "):
        Writer.load(replace(shop.bundle, tokenizer=tmp_path))
    for learn in (False, True):
        with pytest.raises(ModelError, match="cannot be loaded"):
            Writer.load(replace(shop.bundle, target=tmp_path), pools=tmp_path / "new", learn=learn)
    assert not (tmp_path / "new").exists()
