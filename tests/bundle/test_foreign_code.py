"""A model is data: no bundle makes Sidebeam run code, by a pickle or by a module that comes with it."""

from __future__ import annotations

import ast
import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidebeam.bundle import Bundle, BundleError

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for root in ("client", "server", "workers") for path in (ROOT / root).rglob("*.py"))
PICKLERS = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
SAFE = {"torch.load": {"weights_only": True}, "np.load": {"allow_pickle": False}, "numpy.load": {"allow_pickle": False}}


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.file,)


@pytest.fixture
def bundle_copy(tiny_bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))


@pytest.fixture
def sprung(bundle_copy: Path, tmp_path: Path) -> Path:
    """A bundle whose target is a pickle and a module, both of which would make this file."""
    file = tmp_path / "sprung"
    target = bundle_copy / "target"
    (target / "model.safetensors").unlink()
    (target / "pytorch_model.bin").write_bytes(pickle.dumps(Trap(file)))
    (target / "modeling_trap.py").write_text(f"from pathlib import Path\nPath({str(file)!r}).touch()\n")
    map_to(target / "config.json", {"AutoModelForCausalLM": "modeling_trap.Trap"})
    return file


def map_to(file: Path, names: object) -> None:
    config = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(config | {"auto_map": names}))


def test_check_and_serve_refuse_a_pickle_and_code_of_its_own(bundle_copy: Path, sprung: Path) -> None:
    for subcommand in ("check", "serve"):
        command = [sys.executable, "-m", "sidebeam.command.main", subcommand, "--bundle", str(bundle_copy)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        said = done.stderr
        assert "target holds no model.safetensors" in said
        assert "pytorch_model.bin is never opened: loading it may run code" in said
        assert "target: auto_map in target/config.json asks for code of its own (modeling_trap.Trap)" in said
    assert not sprung.exists()


def test_a_tokenizer_and_a_draft_bring_no_code_either(bundle_copy: Path) -> None:
    map_to(bundle_copy / "draft" / "config.json", {"AutoModelForCausalLM": "theirs--modeling.Model"})
    map_to(bundle_copy / "target" / "tokenizer_config.json", {"AutoTokenizer": ["tokenization.Slow", None]})
    with pytest.raises(BundleError) as caught:
        Bundle.open(bundle_copy)
    assert [problem.partition(" asks")[0] for problem in caught.value.problems] == [
        "draft: auto_map in draft/config.json",
        "tokenizer: auto_map in target/tokenizer_config.json",
    ]


def test_the_loader_itself_refuses_both(bundle_copy: Path, sprung: Path) -> None:
    from sidebeam.models import ModelError, load_model

    with pytest.raises(ModelError):
        load_model(bundle_copy / "target")
    assert not sprung.exists()


def test_no_source_opens_a_model_that_may_run_code() -> None:
    """Every call says so itself: what a library does by default changes with its versions, or it asks on a terminal."""
    assert [f"{path.relative_to(ROOT)}: {fault}" for path in SOURCES for fault in faults(path)] == []


def faults(path: Path) -> Iterator[str]:
    """What a source file does that may run code."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import | ast.ImportFrom):
            modules = [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
            yield from PICKLERS & set(modules)
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        given = {word.arg: word.value.value for word in node.keywords if isinstance(word.value, ast.Constant)}
        called, method = ast.unparse(node.func), node.func.attr
        needed = SAFE.get(called, {})
        if method in ("from_pretrained", "from_config"):
            needed = {"trust_remote_code": False}
        if method == "from_pretrained" and "Model" in called:
            needed |= {"use_safetensors": True, "local_files_only": True}
        yield from (
            f"{called} without {name}={value}" for name, value in needed.items() if given.get(name) is not value
        )
