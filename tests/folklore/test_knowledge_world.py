"""The world has what the demo must show: like customers told of alike, items told of apart, texts of fitting length."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pytest

from sidebeam.bundle import Bundle
from sidebeam.folklore import KnowledgeWorld
from sidebeam.folklore.customer import EARLIER, LATER, SINCE
from sidebeam.folklore.grammar import Grammar
from sidebeam.folklore.lore import AISLES_LORE, COLOURS_LORE, MATERIALS_LORE
from sidebeam.folklore.teller import _favourites
from sidebeam.folklore.tokens import Tokens
from sidebeam.grouping import read_attributes, read_logs
from sidebeam.grouping.texts_file import read_texts
from sidebeam.prompts import read_prompts
from sidebeam.training.wares import AISLES, COLOURS, MATERIALS


def _shingles(text: str, words: int) -> set[tuple[str, ...]]:
    found = re.findall(r"\w+|[^\w\s]", text)
    return {tuple(found[at : at + words]) for at in range(len(found) - words + 1)}


def _covered(text: str, others: Iterable[str], words: int = 8) -> float:
    """The share of a text's runs of so many words that one of the others has, too."""
    return _mean_covered([text], others, words)


def _mean_covered(texts: Sequence[str], others: Iterable[str], words: int = 8) -> float:
    pool = set().union(*(_shingles(other, words) for other in others))
    runs = [_shingles(text, words) for text in texts]
    return float(np.mean([len(own & pool) / len(own) for own in runs]))


def test_one_seed_gives_one_world(world: KnowledgeWorld) -> None:
    again = KnowledgeWorld.build(7)
    assert again.wares == world.wares
    assert again.circles == world.circles
    assert again.customers(50) == world.customers(50)
    assert again.pairs(20) == world.pairs(20)
    assert KnowledgeWorld.build(8).customers(50) != world.customers(50)
    assert world.customers(50, stream=9) != world.customers(50)


def test_wares_are_the_shops_items(world: KnowledgeWorld) -> None:
    assert len(world.wares) == len(world.shop.titles) == 1536
    for item, ware in enumerate(world.wares):
        assert ware.title == f"{ware.colour} {ware.material} {ware.kind}" == world.shop.titles[item]
        assert ware.kind in AISLES[ware.aisle]
    assert set(AISLES_LORE) == set(AISLES)
    assert set(MATERIALS_LORE) == set(MATERIALS)
    assert set(COLOURS_LORE) == set(COLOURS)
    assert len({ware.brand for ware in world.wares}) == 12
    assert min(Counter(ware.price for ware in world.wares).values()) > 200


def test_customers_keep_to_the_taste_of_their_circle(world: KnowledgeWorld) -> None:
    for customer in world.customers(200):
        items = customer.known + customer.later
        assert len(set(items)) == len(items)
        assert EARLIER[0] <= len(customer.earlier) <= EARLIER[1]
        assert SINCE[0] <= len(customer.since) <= SINCE[1]
        assert len(customer.later) == LATER
    drawn = world.customers(400)
    own = np.mean(
        [world.shop.aisle[item] in world.circles[each.circle].aisles for each in drawn for item in each.known]
    )
    other = np.mean(
        [world.shop.aisle[item] in world.circles[each.circle - 1].aisles for each in drawn for item in each.known]
    )
    assert own > 0.65
    assert other < 0.35


def test_texts_are_of_80_to_200_tokens_and_come_back_whole(world: KnowledgeWorld) -> None:
    pairs = world.pairs(300)
    tokens = Tokens.train((part for pair in pairs for part in pair), 2048)
    lengths = list(map(len, tokens.answers([text for _, text in pairs])))
    assert min(lengths) >= 80
    assert max(lengths) <= 200
    for prompt, text in pairs[::50]:
        assert tokens.fast.decode(tokens.answer(text)[:-1]) == text
        assert tokens.answer(text)[-1] == tokens.end
        assert len(tokens.prompt(prompt)) < 100
    assert all("{" not in text and "  " not in text for _, text in pairs)


def test_a_text_is_about_what_its_prompt_shows(world: KnowledgeWorld) -> None:
    random = np.random.default_rng(0)
    for customer in world.customers(50):
        (prompt,) = world.user_prompts([customer.known])
        (text,) = world.user_texts([customer.known], random)
        last = world.wares[customer.known[-1]].title
        assert last in prompt
        assert last.lower() in text.lower()
        shown = [world.wares[item] for item in customer.known[-12:]]
        counts = Counter(ware.material for ware in shown)
        assert MATERIALS_LORE[max(counts, key=lambda name: counts[name])].because in text or len(
            set(counts.values())
        ) < len(counts)
    (text,) = world.item_texts([5], random)
    ware = world.wares[5]
    for said in (ware.title.lower(), ware.brand, ware.kind, MATERIALS_LORE[ware.material].like):
        assert said.lower() in text.lower()


def test_texts_of_like_customers_and_of_one_customer_at_two_times_are_near_duplicates(world: KnowledgeWorld) -> None:
    random = np.random.default_rng(0)
    customers = world.customers(700)
    old = list(world.user_texts([each.earlier for each in customers], random))
    new = list(world.user_texts([each.known for each in customers], random))
    circles = [each.circle for each in customers]
    others = range(1, 60)
    same_customer = np.mean([_covered(new[k], [old[k]]) for k in others])
    circle = np.mean(
        [_covered(new[k], [t for t, c in zip(old, circles, strict=True) if c == circles[k]]) for k in others]
    )
    stranger = np.mean(
        [_covered(new[k], [t for t, c in zip(old, circles, strict=True) if c == (circles[k] + 1) % 24]) for k in others]
    )
    assert same_customer > 0.4  # each was told once, with paraphrases of its own
    assert circle > 0.7
    assert stranger < circle - 0.3


def test_texts_of_items_share_phrases_but_not_sentences(world: KnowledgeWorld) -> None:
    random = np.random.default_rng(0)
    old = dict(zip(world.old_items, world.item_texts(world.old_items, random), strict=True))
    new = dict(zip(world.new_items, world.item_texts(world.new_items, random), strict=True))
    pool = list(old.values())
    assert sorted((*old, *new)) == list(range(len(world.wares)))
    assert not {world.wares[item].kind for item in old} & {world.wares[item].kind for item in new}
    sample = list(new.values())[::40]
    assert _mean_covered(sample, pool) < 0.5
    assert _mean_covered(sample, pool[:100]) < 0.25
    assert _mean_covered(sample, pool, words=3) > 0.75


def test_favourites_are_the_most_frequent_then_the_first() -> None:
    assert _favourites(["c", "b", "a", "b", "a"], "abcd") == ["b", "a"]
    assert _favourites(["b", "a"], "abcd") == ["b", "a"]
    assert _favourites(["b"], "abcd") == ["b", "a"]


def test_every_voice_has_its_own_order_of_ways() -> None:
    grammar = Grammar({"s": ("{x} one", "{x} two", "{x} three"), "x": ("a", "b")}, falloff=0.5)
    random = np.random.default_rng(0)
    counts = Counter(grammar.text("s", {}, "v", random).split()[1] for _ in range(3000))
    assert sorted(counts.values()) == pytest.approx([3000 / 7, 6000 / 7, 12000 / 7], rel=0.1)
    voices = {grammar.text("s", {}, f"v{n}", np.random.default_rng(1)).split()[1] for n in range(30)}
    assert voices == {"one", "two", "three"}
    assert grammar.text("s", {"x": "{s}"}, "v", random).startswith("{s} ")  # facts are not expanded
    with pytest.raises(ValueError, match="neither a rule nor a fact 'y'"):
        Grammar({"s": ("{y}",)}, 1).text("s", {}, "v", random)


def test_the_files_are_what_a_team_has(world: KnowledgeWorld, tmp_path: Path) -> None:
    world.write(tmp_path, users=30)
    logs, old = read_logs(tmp_path / "interactions.jsonl"), read_logs(tmp_path / "interactions-old.jsonl")
    customers = world.customers(30)
    for customer, log, before in zip(customers, logs, old, strict=True):
        assert log.train == tuple(map(str, customer.known))
        assert log.valid + log.test == tuple(map(str, customer.later))
        assert before.train == tuple(map(str, customer.earlier))
        assert before.valid == before.test == ()
    assert read_attributes(tmp_path / "attributes.jsonl") == world.attributes
    users = [f"u{user}" for user in range(30)]
    assert list(read_prompts(tmp_path / "prompts-users-old.jsonl")) == users
    assert list(read_prompts(tmp_path / "prompts-users-new.jsonl").values()) == world.user_prompts(
        [each.known for each in customers]
    )
    assert list(read_texts(tmp_path / "texts-users-old.jsonl")) == users
    asked, told = read_prompts(tmp_path / "prompts-items-old.jsonl"), read_texts(tmp_path / "texts-items-old.jsonl")
    assert list(asked) == list(told)
    assert not set(asked) & set(read_prompts(tmp_path / "prompts-items-new.jsonl"))
    assert len(json.loads((tmp_path / "items.json").read_text())) == len(world.wares)


def test_bad_sizes() -> None:
    with pytest.raises(ValueError, match=r"circles must be at least 1\. Given: 0"):
        KnowledgeWorld.build(circles=0)
    with pytest.raises(ValueError, match="aisles must be from 2 to 12"):
        KnowledgeWorld.build(aisles=13)


def test_the_bundle_opens(tmp_path: Path, world: KnowledgeWorld) -> None:
    """The manifest of the plan is all that a bundle needs; model and pools are made in other tests."""
    from sidebeam.folklore.plan import MANIFEST

    world.write(tmp_path, users=2)
    (tmp_path / "sidebeam.toml").write_text(MANIFEST)
    (tmp_path / "target").mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (tmp_path / "target" / name).write_text('{"vocab_size": 5}')
    assert Bundle.open(tmp_path).target == tmp_path / "target"
