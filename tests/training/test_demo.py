"""The demo's bundle appears complete or not at all, and the demo really runs."""

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
from sidebeam.training import Items, read_interactions
from sidebeam.training.demo import PLAN, DemoPlan, demo_cache, prepare_demo
from sidebeam.training.progress import ProgressBar
from sidebeam.training.recipe import Recipe
from sidebeam.training.shape import Shape

TINY = DemoPlan(
    version="tiny",
    seed=3,
    aisles=2,
    users=40,
    target=Shape(1, 16, 2),
    target_recipe=Recipe(max_steps=4),
    draft=Shape(1, 8, 2),
    draft_recipe=Recipe(max_steps=4),
)

ENDLESS = """
import sys
from dataclasses import replace
from pathlib import Path
from sidebeam.training.demo import PLAN, prepare_demo
from sidebeam.training.progress import ProgressBar
from sidebeam.training.recipe import Recipe
from sidebeam.training.shape import Shape
endless = replace(PLAN, version="tiny", users=40, target=Shape(1, 16, 2), target_recipe=Recipe(epochs=100_000))
with ProgressBar() as bar:
    prepare_demo(Path(sys.argv[1]), bar, endless)
"""


def test_the_bundle_is_whole(tmp_path: Path, bar: ProgressBar) -> None:
    path = prepare_demo(tmp_path, bar, TINY)
    assert path == tmp_path / "tiny"
    assert Bundle.open(path).draft == path / "draft"
    items = Items.open(path / "items.json")
    assert len(read_interactions(path / "interactions.jsonl", items)) == 40
    written = (path / "target" / "model.safetensors").stat().st_mtime_ns
    assert prepare_demo(tmp_path, bar, TINY) == path
    assert (path / "target" / "model.safetensors").stat().st_mtime_ns == written


def test_a_killed_first_use_does_no_harm(tmp_path: Path, bar: ProgressBar) -> None:
    with subprocess.Popen([sys.executable, "-c", ENDLESS, str(tmp_path)], stderr=subprocess.DEVNULL) as first:
        try:
            until = time.monotonic() + 60
            state = tmp_path / ".tiny.partial" / ".target.training"
            while not state.exists() and first.poll() is None and time.monotonic() < until:
                time.sleep(0.05)
            assert state.exists()
        finally:
            first.kill()
    assert not (tmp_path / "tiny").exists()
    path = prepare_demo(tmp_path, bar, TINY)
    assert Bundle.open(path).draft is not None
    assert sorted(left.name for left in tmp_path.iterdir()) == [".lock", "tiny"]


def test_the_cache_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert demo_cache() == tmp_path / "sidebeam" / "demo"


def test_a_prepared_demo_starts_without_torch(tmp_path: Path) -> None:
    """Later starts must be quick: what is cached is used before anything heavy is imported."""
    PLAN.bundle(tmp_path / "sidebeam" / "demo").mkdir(parents=True)
    probe = (
        "import sys\n"
        "from sidebeam.training.demo import demo_cache, prepare_demo\n"
        "from sidebeam.training.progress import ProgressBar\n"
        "prepare_demo(demo_cache(), ProgressBar())\n"
        "sys.exit('torch' in sys.modules or 'transformers' in sys.modules)\n"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    assert subprocess.run([sys.executable, "-c", probe], env=environment, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_demo_from_nothing_and_again(tmp_path: Path) -> None:
    first, seconds = _demo(tmp_path, "--requests", "2")
    assert "First start" in first
    for told in (first, _demo(tmp_path, "--requests", "1")[0]):
        assert "beams, depth 1" in told
        assert "The same items in the same order for 24 of 24 customers." in told
        hits = [int(found) for found in re.findall(r"(\d+) of 24", told)]
        assert min(hits) >= 5  # of the next purchases, among 1536 items: the models have learned
    assert seconds < 300


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_kept_demo_ends_with_ctrl_c(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sidebeam.command.main", "demo", "--requests", "1", "--keep-serving"]
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        try:
            assert any(line.startswith("Serving on 127.0.0.1:") for line in demo.stdout)
            demo.send_signal(signal.SIGINT)
            assert demo.wait(30) == 0
        finally:
            demo.terminate()


def _demo(cache: Path, *options: str) -> tuple[str, float]:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "sidebeam.command.main", "demo", *options],
        env={**os.environ, "XDG_CACHE_HOME": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, time.monotonic() - started
