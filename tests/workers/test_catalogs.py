"""Workers that hold several versions of the catalog at once."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from itertools import pairwise

import grpc
import pytest

from sidebeam.bundle import Bundle, Tokenizer, open_catalog
from sidebeam.worker.v1 import draft_pb2, target_pb2, tree_pb2

START_S = 120
SERVICES = {"target": "TargetService", "draft": "DraftService"}


class Worker:
    """A worker process on a bundle, and calls to it."""

    def __init__(self, kind, bundle, socket):
        command = [sys.executable, "-m", f"sidebeam.workers.{kind}", "--bundle", str(bundle), "--threads", "1"]
        self.process = subprocess.Popen([*command, "--listen", f"unix:{socket}"], stderr=subprocess.DEVNULL)
        self.channel = grpc.insecure_channel(f"unix:{socket}", options=(("grpc.max_reconnect_backoff_ms", 100),))
        self.service = f"/sidebeam.worker.v1.{SERVICES[kind]}"

    def _unary(self, name, request, kind):
        call = self.channel.unary_unary(f"{self.service}/{name}", type(request).SerializeToString, kind.FromString)
        return call(request, timeout=START_S, wait_for_ready=True)

    def version(self):
        return self._unary("Describe", tree_pb2.DescribeRequest(), tree_pb2.DescribeResponse).info.catalog_version

    def open(self, version, path=""):
        request = tree_pb2.OpenCatalogRequest(version=version, path=str(path))
        return self._unary("OpenCatalog", request, tree_pb2.OpenCatalogResponse)

    def close(self, version):
        return self._unary("CloseCatalog", tree_pb2.CloseCatalogRequest(version=version), tree_pb2.CloseCatalogResponse)

    def refused(self, version, path=""):
        with pytest.raises(grpc.RpcError) as caught:
            self.open(version, path)
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        return caught.value.details()

    def search(self, version):
        """Leaves of a search."""
        call = self.channel.stream_stream(
            f"{self.service}/Search", target_pb2.SearchRequest.SerializeToString, target_pb2.SearchResponse.FromString
        )
        opening = target_pb2.OpenSearch(prompt=[1, 4], top_k=5, catalog_version=version)
        *_, last = call(iter([target_pb2.SearchRequest(open=opening)]), timeout=60)
        return list(last.result.leaves)

    def draft(self, version):
        """Paths of a whole draft, as tokens."""
        call = self.channel.stream_stream(
            f"{self.service}/Propose", draft_pb2.ProposeRequest.SerializeToString, draft_pb2.ProposeResponse.FromString
        )
        request = draft_pb2.ProposeRequest(prompt=[1, 4], beams=5, length=4, top_k=5, catalog_version=version)
        (answer,) = call(iter([request]), timeout=60)
        paths = []
        for token, parent in zip(answer.tree.tokens, answer.tree.parents, strict=True):
            paths.append((*(paths[parent] if parent >= 0 else ()), token))
        return {path for path in paths if len(path) == 4}


@pytest.fixture(scope="module")
def catalogs(tiny_bundle, tmp_path_factory):
    """Compiled files of the tiny bundle's catalog, of its first half, and of two that do not fit."""
    folder = tmp_path_factory.mktemp("catalogs")
    sids = json.loads((tiny_bundle / "items.json").read_text())
    bundle = Bundle.open(tiny_bundle)
    made = {}
    for name, items in (
        ("whole", sids),
        ("half", dict(list(sids.items())[:30])),
        ("short", {item: sid[:3] for item, sid in sids.items()}),
    ):
        root = folder / name
        shutil.copytree(bundle.root, root)
        (root / "items.json").write_text(json.dumps(items))
        catalog = open_catalog(Bundle.open(root), Tokenizer.open(bundle.tokenizer))
        catalog.save(folder / f"{name}.catalog")
        made[name] = (catalog, folder / f"{name}.catalog", root)
    return made


@pytest.fixture(scope="module", params=["target", "draft"])
def worker(request, catalogs, tmp_path_factory):
    """A worker whose bundle lost most of its items after it had started."""
    folder = tmp_path_factory.mktemp(request.param)
    shutil.copytree(catalogs["whole"][2], folder / "bundle")
    one = Worker(request.param, folder / "bundle", folder / "socket")
    assert one.version() == catalogs["whole"][0].version
    one.bundle = folder / "bundle"
    one.kind = request.param
    yield one
    one.channel.close()
    one.process.kill()
    one.process.wait()


def asked(worker, version):
    return worker.search(version) if worker.kind == "target" else worker.draft(version)


def test_two_versions_are_held_and_each_answers_for_itself(worker, catalogs):
    (whole, _, _), (half, path, _) = catalogs["whole"], catalogs["half"]
    before = asked(worker, whole.version)
    with pytest.raises(grpc.RpcError) as caught:
        asked(worker, half.version)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert whole.version in caught.value.details()
    worker.open(half.version, path)
    worker.open(half.version, path)  # once more is no error
    assert worker.version() == half.version
    after = asked(worker, half.version)
    assert asked(worker, whole.version) == before
    if worker.kind == "target":
        assert max(after) < half.n_leaves
    else:
        known = {tuple(sid) for sid in half.path(half.leaf_node(range(half.n_leaves))).tolist()}
        assert after <= known
        assert after
    worker.close(half.version)
    with pytest.raises(grpc.RpcError, match="FAILED_PRECONDITION"):
        asked(worker, half.version)
    assert asked(worker, whole.version) == before


def test_what_cannot_be_held_is_refused_in_words(worker, catalogs):
    whole = catalogs["whole"][0]
    short, path, _ = catalogs["short"]
    assert "its SIDs have 3 tokens, the running catalog's 4" in worker.refused(short.version, path)
    assert f"{path} is of version {short.version}" in worker.refused("another", path)
    said = worker.refused("another", "/no/such.catalog")
    assert said.startswith("/no/such.catalog is not here; ")
    assert f"are of version {whole.version}" in said
    (worker.bundle / "cut.catalog").write_bytes(path.read_bytes()[:200])
    assert "cut.catalog" in worker.refused("another", worker.bundle / "cut.catalog")


def test_without_the_file_the_workers_own_items_do_if_they_are_of_that_version(worker, catalogs):
    half, _, root = catalogs["half"]
    items = (worker.bundle / "items.json").read_text()
    shutil.copy(root / "items.json", worker.bundle / "items.json")
    worker.open(half.version, "/elsewhere/x.catalog")
    assert asked(worker, half.version)
    worker.close(half.version)
    (worker.bundle / "items.json").write_text(items)


def test_no_more_than_eight_are_held_and_those_in_use_stay(worker, catalogs, tmp_path):
    whole = catalogs["whole"][0]
    bundle = Bundle.open(worker.bundle)
    sids = json.loads((worker.bundle / "items.json").read_text())
    versions = []
    for n in range(9):
        (worker.bundle / "items.json").write_text(json.dumps(dict(list(sids.items())[: 40 + n])))
        catalog = open_catalog(bundle, Tokenizer.open(bundle.tokenizer))
        catalog.save(tmp_path / "x.catalog")
        worker.open(catalog.version, tmp_path / "x.catalog")
        asked(worker, whole.version)
        versions.append(catalog.version)
    (worker.bundle / "items.json").write_text(json.dumps(sids))
    assert all(a != b for a, b in pairwise(versions))
    for version in versions[:2]:
        with pytest.raises(grpc.RpcError, match="FAILED_PRECONDITION"):
            asked(worker, version)
    for version in versions[2:]:
        assert asked(worker, version)
        worker.close(version)
