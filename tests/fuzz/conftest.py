"""A sidecar with every service there is, and who sends to it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fuzz.patient import Patient
from tests.fuzz.sender import Sender
from tests.server.conftest import START_S, Sidecar, running, until


@pytest.fixture(scope="module")
def sidecar(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    """It recommends, writes, learns texts, and tells metrics."""
    root = tmp_path_factory.mktemp("fuzz")
    shutil.copytree(tiny_bundle, root / "bundle")
    with (root / "bundle" / "sidebeam.toml").open("a") as file:
        file.write("[texts]\nmax_new_tokens = 40\n")
    with running(root / "bundle", "--pools", str(root / "pools"), "--metrics", "127.0.0.1:0") as one:
        until(lambda: one.events("worker_up", worker="draft"), START_S)
        yield one


@pytest.fixture
def sender(sidecar: Sidecar) -> Iterator[Sender]:
    with Sender(sidecar.address) as one:
        yield one


@pytest.fixture
def patient(sidecar: Sidecar, sender: Sender) -> Patient:
    return Patient(sidecar, sender)
