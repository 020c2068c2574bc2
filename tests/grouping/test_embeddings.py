"""Vectors: files in three formats, K-means over them, and texts as vectors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from sidebeam.grouping import GroupingError
from sidebeam.grouping.collaborative import collaborative_groups
from sidebeam.grouping.embeddings import Embeddings
from sidebeam.grouping.hashing import HashingEncoder

VECTORS = np.array([[1, 2], [3, 4], [5, 6]], np.float32)


def test_three_formats_say_the_same(tmp_path: Path) -> None:
    wanted = Embeddings(("7", "x", "y"), VECTORS)
    np.savez(tmp_path / "a.npz", ids=np.array(["7", "x", "y"]), vectors=VECTORS)
    np.save(tmp_path / "b.npy", VECTORS.astype(np.float64))
    (tmp_path / "b.ids.json").write_text(json.dumps([7, "x", "y"]))
    tensors = {"vectors": torch.from_numpy(VECTORS).to(torch.bfloat16)}
    save_file(tensors, tmp_path / "c.safetensors", metadata={"ids": json.dumps([7, "x", "y"])})
    for name in ("a.npz", "b.npy", "c.safetensors"):
        found = Embeddings.open(tmp_path / name)
        assert found.ids == wanted.ids
        assert found.vectors.dtype == np.float32
        assert np.array_equal(found.vectors, VECTORS)
    wanted.write(tmp_path / "d.npz")
    assert np.array_equal(Embeddings.open(tmp_path / "d.npz").vectors, VECTORS)


def _npz(**arrays: object) -> dict[str, object]:
    return {"ids": np.array(["a", "b", "c"]), "vectors": VECTORS, **arrays}


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"vectors": VECTORS, "names": np.array(["a"])}, "must hold the array 'ids'; there are vectors, names"),
        (_npz(ids=np.array(["a", "b"])), "must hold one vector per id; given 3 vectors and 2 ids"),
        (_npz(ids=np.array(["a", "b", "a"])), "id 2: 'a' stands in the file twice"),
        (_npz(ids=np.array([1.5, 2, 3])), "id 0: must be an id, an integer or text; given 1.5"),
        (_npz(vectors=VECTORS[0]), r"vectors: must be numbers, \[entities, dimensions\]; given float32, \[2\]"),
        (_npz(vectors=np.where(VECTORS > 3, np.nan, VECTORS)), "vector 1: must be finite numbers"),
    ],
)
def test_bad_files(tmp_path: Path, arrays: dict[str, np.ndarray], says: str) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)  # type: ignore[arg-type]
    with pytest.raises(GroupingError, match=says) as error:
        Embeddings.open(path)
    assert str(error.value).startswith(str(path))


def test_files_that_are_no_embeddings(tmp_path: Path) -> None:
    with pytest.raises(GroupingError, match=r"--embeddings must end in \.npz, \.npy, \.safetensors; given .*a\.bin"):
        Embeddings.open(tmp_path / "a.bin")
    for name in ("a.npz", "a.safetensors"):
        with pytest.raises(GroupingError, match="cannot be read: No such file"):
            Embeddings.open(tmp_path / name)
        (tmp_path / name).write_bytes(b"no archive")
        with pytest.raises(GroupingError, match=f"{name}: cannot be read"):
            Embeddings.open(tmp_path / name)
    np.save(tmp_path / "b.npy", VECTORS)
    with pytest.raises(GroupingError, match=r"JSON list in b\.ids\.json, which is missing"):
        Embeddings.open(tmp_path / "b.npy")
    with pytest.raises(GroupingError, match=r"--save-embeddings must end in \.npz"):
        Embeddings(("a",), VECTORS[:1]).write(tmp_path / "a.npy")


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "b.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    (tmp_path / "b.ids.json").write_text("[1]")
    with pytest.raises(GroupingError, match=r"b\.npy: cannot be read: Object arrays cannot be loaded"):
        Embeddings.open(tmp_path / "b.npy")


def _three_clouds() -> Embeddings:
    random = np.random.default_rng(1)
    centres = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    of = np.repeat([2, 0, 1], [5, 30, 20])
    lengths = random.uniform(0.1, 9, size=(len(of), 1)).astype(np.float32)
    points = (centres[of] + 0.05 * random.normal(size=(len(of), 3)).astype(np.float32)) * lengths
    return Embeddings(tuple(f"{cloud}-{n}" for n, cloud in enumerate(of)), points.astype(np.float32))


def test_near_vectors_share_a_group_whose_name_is_stable() -> None:
    clouds = _three_clouds()
    for seed in (0, 1, 2):  # sizes name the groups, not the random order of centres
        groups = collaborative_groups(clouds, 3, seed)
        assert {entity: group for entity, group in groups.items() if group != f"near {entity[0]}"} == {}
    assert collaborative_groups(clouds, 5, 7) == collaborative_groups(clouds, 5, 7)


def test_group_counts_have_limits() -> None:
    same = Embeddings(("a", "b", "c"), np.array([[1, 0], [2, 0], [0, 1]], np.float32))
    assert set(collaborative_groups(same, 2).values()) == {"near 0", "near 1"}
    with pytest.raises(GroupingError, match="--groups must be at most 2, the number of different vectors; given 3"):
        collaborative_groups(same, 3)
    with pytest.raises(GroupingError, match="--groups must be at least 2; given 1"):
        collaborative_groups(same, 1)


def test_texts_that_share_words_are_near() -> None:
    encoder = HashingEncoder(512)
    a, b, c, empty = encoder.encode(
        ["The user likes oak tables.", "the user likes oak CHAIRS", "Brass bells ring far away", " ... "]
    )
    assert np.allclose([np.linalg.norm(v) for v in (a, b, c)], 1)
    assert not empty.any()
    assert a @ b > 0.5 > abs(a @ c) + 0.3
    assert np.array_equal(HashingEncoder(512).encode(["oak tables", "The user likes oak tables."])[1], a)
    assert not np.array_equal(encoder.encode(["oak likes"]), encoder.encode(["likes oak"]))  # pairs have an order
    with pytest.raises(GroupingError, match="--dim must be at least 1; given 0"):
        HashingEncoder(0)


def test_hashed_inner_products_are_unbiased() -> None:
    """Signs make collisions cancel: over many pairs of texts without a shared word the mean product is near 0."""
    random = np.random.default_rng(0)
    words = [f"w{n}" for n in range(4000)]
    texts = [" ".join(random.choice(words[half::2], 30)) for half in (0, 1) for _ in range(100)]
    vectors = HashingEncoder(64).encode(texts)
    products = vectors[:100] @ vectors[100:].T
    assert abs(float(products.mean())) < 0.02
    assert float(products.std()) == pytest.approx(1 / 8, rel=0.15)
