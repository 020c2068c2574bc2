"""Every way in which a bundle can be wrong, and what its owner is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from sidebeam.bundle import Bundle, BundleError, PromptBuilder, PromptFormat, Tokenizer, open_catalog


@pytest.fixture
def bundle_copy(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


def use(folder: Path) -> None:
    bundle = Bundle.open(folder)
    open_catalog(bundle, Tokenizer.open(bundle.tokenizer))


def problems(folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        use(folder)
    assert caught.value.problems
    return str(caught.value)


def test_all_missing_files_are_named_at_once(bundle_copy: Path) -> None:
    (bundle_copy / "items.json").unlink()
    (bundle_copy / "target" / "model.safetensors").unlink()
    (bundle_copy / "draft" / "config.json").unlink()
    message = problems(bundle_copy)
    assert "items.json is missing" in message
    assert "target holds no model.safetensors" in message
    assert "draft/config.json is missing" in message


def test_a_folder_without_description(tmp_path: Path) -> None:
    assert "sidebeam.toml is missing" in problems(tmp_path)
    assert "no such folder" in problems(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[catalog]\nscorring = 'raw'", "did you mean 'scoring'"),
        ("[catalogue]", "did you mean 'catalog'"),
        ("[catalog]\nscoring = 'best'", "catalog.scoring must be 'raw' or 'catalog'; given 'best'"),
        ("[draft]\nscoring = 'best'", "draft.scoring must be 'raw' or 'catalog'; given 'best'"),
        ("[prompt]\nmax_history = 0", "prompt.max_history must be at least 1; given 0"),
        ("[prompt]\nmax_history = 'all'", "must be of type int; given 'all'"),
        ("[prompt]\ntemplate = 'no place'", "must hold {history} exactly once"),
        ("[defaults]\ntop_k = -1", "defaults.top_k must be at least 1; given -1"),
        ("target = 3", "[target] must be a section"),
        ("[texts]\nmax_new_tokens = 0", "texts.max_new_tokens must be at least 1; given 0"),
        ("[texts]\npool = 'pools'", "did you mean 'pools'"),
        ("[target", "sidebeam.toml"),
    ],
)
def test_a_wrong_description_is_told_with_key_and_value(bundle_copy: Path, text: str, told: str) -> None:
    (bundle_copy / "sidebeam.toml").write_text(text)
    assert told in problems(bundle_copy)


def test_a_draft_with_another_vocabulary_is_refused(bundle_copy: Path) -> None:
    config = bundle_copy / "draft" / "config.json"
    values = json.loads(config.read_text())
    size = values["vocab_size"]
    config.write_text(json.dumps({**values, "vocab_size": size + 5}))
    assert f"its vocabulary has {size + 5} tokens; the target's has {size}" in problems(bundle_copy)
    del values["vocab_size"]
    config.write_text(json.dumps(values))
    assert "draft/config.json states no vocab_size" in problems(bundle_copy)


@pytest.mark.parametrize(
    ("items", "told"),
    [
        ("{", "not JSON"),
        ("[]", "must be one object"),
        ("{}", "holds no items"),
        ('{"1": "<a_1>"}', "items 1 are not lists"),
        ('{"1": ["<a_1>", "<b_1>"], "2": ["<a_1>", "<b_1>"], "3": ["<a_1>"]}', "not items 3 (1)"),
        ('{"1": ["<a_1>", "<zz_9>"]}', "<zz_9> of items.json are not in the vocabulary"),
        ('{"1": ["<a_1>"], "1": ["<a_2>"]}', "1 stand more than once"),
        ('{"1": []}', "SIDs are empty"),
    ],
)
def test_items_that_make_no_catalog(bundle_copy: Path, items: str, told: str) -> None:
    (bundle_copy / "items.json").write_text(items)
    assert told in problems(bundle_copy)


def test_the_compiled_catalog_is_reused_and_follows_the_items(bundle_copy: Path, tmp_path: Path) -> None:
    bundle = Bundle.open(bundle_copy)
    tokenizer = Tokenizer.open(bundle.tokenizer)
    first = open_catalog(bundle, tokenizer)
    (compiled,) = (tmp_path / "cache" / "sidebeam" / "catalogs").iterdir()
    assert open_catalog(bundle, tokenizer).version == first.version
    compiled.write_bytes(compiled.read_bytes()[:100])  # damaged: compiled again
    assert open_catalog(bundle, tokenizer).version == first.version

    items = json.loads((bundle_copy / "items.json").read_text())
    items.popitem()
    (bundle_copy / "items.json").write_text(json.dumps(items))
    assert open_catalog(bundle, tokenizer).n_items == first.n_items - 1


def test_a_compiled_catalog_may_be_part_of_the_bundle(bundle_copy: Path) -> None:
    bundle = Bundle.open(bundle_copy)
    catalog = open_catalog(bundle, Tokenizer.open(bundle.tokenizer))
    catalog.save(bundle_copy / "items.catalog")
    (bundle_copy / "sidebeam.toml").write_text('[catalog]\nitems = "items.catalog"\n')
    assert open_catalog(Bundle.open(bundle_copy), Tokenizer.open(bundle.tokenizer)).version == catalog.version


def test_prompts_follow_the_template_and_keep_the_latest_items(bundle_copy: Path) -> None:
    bundle = Bundle.open(bundle_copy)
    tokenizer = Tokenizer.open(bundle.tokenizer)
    catalog = open_catalog(bundle, tokenizer)
    builder = PromptBuilder(PromptFormat("{history}", "", 2), tokenizer, catalog)
    start = tokenizer.encode("")
    wanted = start + catalog.sids_of([1, 2]).ravel().tolist()
    assert builder.from_items([0, 1, 2]) == wanted
    assert builder.from_text("".join(builder.spell(wanted[len(start) :]))) == wanted


def test_tokenizer_problems_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"tokenizer\.json is missing"):
        Tokenizer.open(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ValueError, match="is not a tokenizer"):
        Tokenizer.open(tmp_path)


def test_a_bundle_that_writes_texts_needs_no_catalog(bundle_copy: Path) -> None:
    (bundle_copy / "items.json").unlink()
    (bundle_copy / "sidebeam.toml").write_text("[texts]\npools = 'old'\n")
    bundle = Bundle.open(bundle_copy)
    assert bundle.items is None
    assert bundle.texts is not None
    assert bundle.texts.pools == bundle_copy.resolve() / "old"
    assert "it writes texts, it recommends no items" in problems(bundle_copy)


def test_a_bundle_may_do_both(bundle_copy: Path) -> None:
    with (bundle_copy / "sidebeam.toml").open("a") as file:
        file.write("\n[texts]\nmax_new_tokens = 64\n")
    bundle = Bundle.open(bundle_copy)
    assert bundle.items is not None
    assert bundle.texts is not None
    assert bundle.texts.pools is None
    assert bundle.texts.max_new_tokens == 64
