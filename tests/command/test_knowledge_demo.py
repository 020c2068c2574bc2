"""The knowledge demo really runs, from nothing and again; interrupted, it leaves a whole cache or none."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sidebeam.bundle import Bundle
from sidebeam.command.main import main
from sidebeam.knowledge.pools import Pools
from sidebeam.knowledge.tokenizer import tokenizer_fingerprint

SMALL = """
import sys
from pathlib import Path
from sidebeam.command import knowledge_demo
from sidebeam.command.main import main
from sidebeam.folklore import FolklorePlan
from sidebeam.training.recipe import Recipe
from sidebeam.training.shape import Shape

knowledge_demo.PLAN = FolklorePlan(
    version="small", seed=3, aisles=2, circles=2, users=60, pupils=400, item_rounds=1, model=Shape(1, 32, 2),
    recipe=Recipe(epochs=100_000, max_steps=int(sys.argv[2]), batch_size=8, learning_rate=5e-3, seed=1),
)
knowledge_demo.COMPARED = 3
knowledge_demo.demo_cache = lambda: Path(sys.argv[1])
sys.exit(main(["demo", "knowledge"]))
"""


def _demo(folder: Path, steps: int) -> subprocess.Popen[str]:
    """A demo whose cache and temporary files are in `folder`."""
    (folder / "tmp").mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-u", "-c", SMALL, str(folder / "cache"), str(steps)],
        env={**os.environ, "TMPDIR": str(folder / "tmp"), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_bad_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "knowledge", "--requests", "0"]) == 2
    assert "--requests must be at least 1. Given: 0" in capsys.readouterr().err
    assert main(["demo", "knowledg"]) == 2
    assert "unrecognized arguments: knowledg" in capsys.readouterr().err


@pytest.mark.timeout(300)
def test_interrupted_in_training_it_leaves_nothing(tmp_path: Path) -> None:
    with _demo(tmp_path, 10_000_000) as first:
        try:
            state = tmp_path / "cache" / ".knowledge-small.partial" / ".target.training"
            until = time.monotonic() + 200
            while not state.exists() and first.poll() is None and time.monotonic() < until:
                time.sleep(0.05)
            assert state.exists()
            first.send_signal(signal.SIGINT)
            assert first.wait(60) == 130
        finally:
            first.kill()
    assert [each.name for each in (tmp_path / "cache").iterdir()] == [".knowledge.lock"]


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_demo_from_nothing_again_and_interrupted(tmp_path: Path) -> None:
    for use in ("first", "second"):
        with _demo(tmp_path, 80) as running:
            told, errors = running.communicate()
        assert running.returncode == 0, errors
        assert ("First use" in told) == (use == "first")
        assert max(map(len, told.split("Try next:")[0].replace(str(tmp_path), "").splitlines())) <= 80
        assert told.count("the same, token for token") == 2
        assert "6 of 6 texts are those without drafts, token for token" in told
        assert re.search(r"learned \d+\.\d s later", told)
        after = told.split("is told of anew")[1].split("asked before")[0]
        assert int(re.findall(r"entity (\d+) of \d+", after)[0]) > 0  # drafted from what was just learned
        (tokens, allowed) = re.findall(r"(\d+) of [\d,]+ tokens were traded,\s+(\d+) of them within", told)[0]
        assert tokens == allowed
        assert not list((tmp_path / "tmp").glob("sidebeam*"))
    bundle = Bundle.open(tmp_path / "cache" / "knowledge-small")
    assert bundle.texts is not None
    assert bundle.texts.pools is not None
    pools = Pools.open(bundle.texts.pools, tokenizer_fingerprint(bundle.tokenizer))
    assert pools.text("newcomer") is None  # the kept pools are as they were
    with _demo(tmp_path, 80) as stopped:
        assert stopped.stdout is not None
        assert any("Without drafts" in line for line in stopped.stdout)
        stopped.send_signal(signal.SIGTERM)
        stopped.communicate(timeout=60)
        assert stopped.returncode == 143
    assert not list((tmp_path / "tmp").glob("sidebeam*"))  # no copy, no sockets of a sidecar that lives on
    assert Bundle.open(bundle.root) == bundle
