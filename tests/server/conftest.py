"""Real sidecars: `sidebeam serve` as a process, with its real workers."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest

from sidebeam.v1 import knowledge_pb2, knowledge_pb2_grpc, recommendation_pb2_grpc
from sidebeam.v1 import recommendation_pb2 as pb

LATE_S = 0.5  # of a log line
START_S = 90.0
STOP_S = 20.0


class Sidecar:
    """A running `sidebeam serve`; its log lines are read in the background."""

    def __init__(self, bundle: Path, *arguments: str, **settings: object) -> None:
        environment = os.environ | {f"SIDEBEAM_{key.upper()}": str(value) for key, value in settings.items()}
        command = [sys.executable, "-m", "sidebeam.command.main", "serve", "--bundle", str(bundle)]
        command += ["--listen", "127.0.0.1:0", "--log-format", "json", *arguments]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, start_new_session=True
        )
        self.lines: list[str] = []
        self.address = ""
        self._readers = [
            threading.Thread(target=self._read_log, daemon=True),
            threading.Thread(target=self._read_address, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def wait_until_serving(self) -> None:
        """Return once it has said that it serves."""
        until(lambda: self.address or self.process.poll() is not None, START_S)
        assert self.address, "\n".join(self.lines)

    def events(self, name: str, **fields: object) -> list[dict[str, Any]]:
        """Log lines of one event. The log may be a moment behind what callers know, so none is not believed at once."""
        late = time.monotonic() + LATE_S
        while True:
            logged = [json.loads(line) for line in list(self.lines) if line.startswith("{")]
            found = [each for each in logged if each["event"] == name and fields.items() <= each.items()]
            if found or time.monotonic() > late:
                return found
            time.sleep(LATE_S / 10)

    def worker(self, name: str) -> psutil.Process:
        """The running worker process that is called `name`."""
        for child in psutil.Process(self.process.pid).children():
            line = child.cmdline()
            if "--name" in line and line[line.index("--name") + 1] == name:
                return child
        raise LookupError(name)

    def stop(self) -> int:
        """Drain it; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; returns the exit code."""
        code = self.process.wait(STOP_S)
        for reader in self._readers:
            reader.join(STOP_S)
        return code

    def kill(self) -> None:
        """Whatever became of it, leave nothing behind."""
        if self.process.poll() is None:
            for child in psutil.Process(self.process.pid).children(recursive=True):
                child.kill()
            self.process.kill()
        self.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()

    def _read_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())

    def _read_address(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.address = line.partition("serving on ")[2].strip()


def until(condition: Callable[[], Any], timeout_s: float) -> None:
    """Return once `condition` holds; fail after `timeout_s`."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


@contextmanager
def running(bundle: Path, *arguments: str, **settings: object) -> Iterator[Sidecar]:
    """A sidecar that serves, for the length of the block."""
    sidecar = Sidecar(bundle, *arguments, target__threads=1, **settings)
    try:
        sidecar.wait_until_serving()
        yield sidecar
    finally:
        sidecar.kill()


@pytest.fixture(scope="session")
def start() -> Callable[..., Any]:
    """Starts a sidecar that serves: `with start(bundle, flags..., section__key=value) as sidecar`."""
    return running


@pytest.fixture(scope="session")
def launch() -> Iterator[Callable[..., Sidecar]]:
    """Starts a sidecar that may never serve."""
    launched: list[Sidecar] = []

    def launch_one(bundle: Path, *arguments: str, **settings: object) -> Sidecar:
        launched.append(Sidecar(bundle, *arguments, **settings))
        return launched[-1]

    yield launch_one
    for sidecar in launched:
        sidecar.kill()


@pytest.fixture(scope="session")
def wait_until() -> Callable[[Callable[[], Any], float], None]:
    return until


@pytest.fixture(scope="session")
def sidecar(tiny_bundle: Path) -> Iterator[Sidecar]:
    """One sidecar for all tests that leave it as it is; both workers are up, and no draft is ever late."""
    patient = {"draft__first_wait_ms": 10_000, "target__draft_wait_ms": 10_000}
    with running(tiny_bundle, draft__provisional="always", **patient) as one:
        until(lambda: one.events("worker_up", worker="draft"), START_S)
        yield one


class Caller:
    """Calls the public service over a channel of its own."""

    def __init__(self, address: str) -> None:
        self.channel = grpc.insecure_channel(address)
        self.stub = recommendation_pb2_grpc.RecommendationServiceStub(self.channel)
        self.knowledge = knowledge_pb2_grpc.KnowledgeServiceStub(self.channel)

    def events(self, timeout_s: float | None = 20.0, **fields: Any) -> list[pb.RecommendResponse]:
        """All events of one call."""
        return list(self.stub.Recommend(pb.RecommendRequest(**fields), timeout=timeout_s))

    def final(self, timeout_s: float | None = 20.0, **fields: Any) -> pb.Final:
        """The answer of one call."""
        return self.events(timeout_s, **fields)[-1].final

    def text_events(self, timeout_s: float | None = 60.0, **fields: Any) -> list[knowledge_pb2.GenerateResponse]:
        """All events of one text."""
        return list(self.knowledge.Generate(knowledge_pb2.GenerateRequest(**fields), timeout=timeout_s))

    def text(self, timeout_s: float | None = 60.0, **fields: Any) -> knowledge_pb2.Summary:
        """One text, without its pieces."""
        return self.text_events(timeout_s, summary_only=True, **fields)[-1].summary

    def text_error(self, timeout_s: float | None = 60.0, **fields: Any) -> grpc.RpcError:
        """The error of one text that must fail."""
        with pytest.raises(grpc.RpcError) as caught:
            self.text_events(timeout_s, **fields)
        return caught.value

    def error(self, timeout_s: float | None = 20.0, **fields: Any) -> grpc.RpcError:
        """The error of one call that must fail."""
        with pytest.raises(grpc.RpcError) as caught:
            self.events(timeout_s, **fields)
        return caught.value


@pytest.fixture(scope="session")
def connect() -> Iterator[Callable[[Sidecar], Caller]]:
    callers: list[Caller] = []

    def connect_one(sidecar: Sidecar) -> Caller:
        callers.append(Caller(sidecar.address))
        return callers[-1]

    yield connect_one
    for caller in callers:
        caller.channel.close()


@pytest.fixture(scope="session")
def caller(sidecar: Sidecar, connect: Callable[[Sidecar], Caller]) -> Caller:
    return connect(sidecar)


@pytest.fixture(scope="session")
def both_bundle(tiny_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny bundle, which writes texts as well: of SID tokens, at most 40 of them."""
    root = tmp_path_factory.mktemp("both") / "bundle"
    shutil.copytree(tiny_bundle, root)
    with (root / "sidebeam.toml").open("a") as file:
        file.write("[texts]\nmax_new_tokens = 40\n")
    return root


@pytest.fixture(scope="session")
def text_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts alone, of up to 300 tokens: a tiny random model, whose tokens are bytes of letters now and then."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from sidebeam.folklore.tokens import Tokens

    root = tmp_path_factory.mktemp("texts")
    tokens = Tokens.train(["red boat", "blue house", "the river häuft Größe 河流", "likes a stone with"] * 5, 320)
    torch.manual_seed(11)
    config = LlamaConfig(
        vocab_size=tokens.fast.get_vocab_size(),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=400,
        initializer_range=0.4,  # log-probs far apart, so that no choice hangs on rounding
        bos_token_id=1,
        eos_token_id=tokens.end,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(root / "target")
    tokens.save(root / "target", 400)
    (root / "sidebeam.toml").write_text("[texts]\nmax_new_tokens = 300\n")
    return root
