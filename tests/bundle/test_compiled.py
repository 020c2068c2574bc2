"""The compiled catalog as a file of its own, made here or in another process."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from sidebeam.bundle import Bundle, BundleError, Tokenizer, compiled_catalog, open_catalog
from sidebeam.bundle.compiled import KEPT
from sidebeam.bundle.compiler import compile_apart
from sidebeam.catalog import Catalog


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copytree(tiny_bundle, tmp_path / "bundle")
    return Bundle.open(tmp_path / "bundle")


def compiled(bundle: Bundle, spare: Path) -> Path:
    path = compiled_catalog(bundle, Tokenizer.open(bundle.tokenizer), spare)
    assert path is not None
    return path


def put(bundle: Bundle, items: object) -> None:
    assert bundle.items is not None
    bundle.items.write_text(json.dumps(items))


def sids(bundle: Bundle) -> dict[str, list[str]]:
    assert bundle.items is not None
    return json.loads(bundle.items.read_text())  # type: ignore[no-any-return]


def test_it_is_kept_in_the_cache_and_outlives_its_items(bundle: Bundle, tmp_path: Path) -> None:
    path = compiled(bundle, tmp_path / "spare")
    assert path.is_relative_to(tmp_path / "cache")
    right = open_catalog(bundle, Tokenizer.open(bundle.tokenizer)).version
    put(bundle, {})
    assert Catalog.open(path).version == right
    again = Bundle.open(bundle.root, path)
    assert open_catalog(again, Tokenizer.open(bundle.tokenizer)).version == right
    assert bundle.items is not None
    bundle.items.unlink()
    Bundle.open(bundle.root, path)


def test_without_a_cache_the_spare_folder_takes_it(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder can be made below this")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert compiled(bundle, tmp_path / "spare").parent == tmp_path / "spare"
    assert compiled_catalog(bundle, Tokenizer.open(bundle.tokenizer), tmp_path / "file" / "x") is None


def test_the_cache_keeps_the_latest_used_ones(bundle: Bundle, tmp_path: Path) -> None:
    items = list(sids(bundle).items())
    paths = []
    for n in range(KEPT + 3):
        put(bundle, dict(items[: 10 + n]))
        paths.append(compiled(bundle, tmp_path))
        os.utime(paths[-1], (n + 1, n + 1))
    put(bundle, dict(items[:10]))
    assert [path.exists() for path in paths] == [False] * 3 + [True] * KEPT
    assert compiled(bundle, tmp_path) == paths[0]
    assert not paths[3].exists()


def test_compiled_items_are_copied_and_must_be_whole(bundle: Bundle, tmp_path: Path) -> None:
    source = compiled(bundle, tmp_path)
    shutil.copy(source, bundle.root / "items.catalog")
    toml = bundle.root / "sidebeam.toml"
    toml.write_text(toml.read_text().replace("items.json", "items.catalog"))
    mapped = Bundle.open(bundle.root)
    assert mapped.items is not None
    copy = compiled(mapped, tmp_path)
    assert copy != mapped.items
    assert Catalog.open(copy).version == Catalog.open(source).version
    copy.unlink()
    content = bytearray(mapped.items.read_bytes())
    content[-200] ^= 1
    mapped.items.write_bytes(content)
    with pytest.raises(BundleError, match=r"items.catalog is damaged"):
        compiled(mapped, tmp_path)
    mapped.items.write_bytes(content[:-100])
    with pytest.raises(BundleError, match="cut short"):
        compiled(mapped, tmp_path)


async def test_another_process_compiles_the_same_and_tells_the_same_problems(bundle: Bundle, tmp_path: Path) -> None:
    (bundle.root / "sidebeam.toml").write_text("what it says by now does not matter")
    path = await compile_apart(bundle, tmp_path)
    assert path == compiled(bundle, tmp_path)
    put(bundle, {"a": ["<a_1>", "<b_1>", "<c_1>", "<d_77>"]})
    with pytest.raises(BundleError) as there:
        await compile_apart(bundle, tmp_path)
    with pytest.raises(BundleError) as here:
        compiled(bundle, tmp_path)
    assert there.value.problems == here.value.problems
    assert "<d_77>" in str(here.value)
