"""The console command `sidebeam`: finds the subcommand and imports only that one.

A subcommand, of one word or two, is a module with `SUMMARY: str`, `add_arguments(parser) -> None` and
`run(args) -> int`. Exit codes:
0 done, 1 failed, 2 bad usage or bad input, 130 interrupted, 143 terminated.
"""

from __future__ import annotations

import argparse
import difflib
import importlib
import importlib.metadata
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass(frozen=True, slots=True)
class Subcommand:
    """Where a subcommand is, what it does, and the extra that brings what it imports ("" for none)."""

    module: str
    summary: str
    extra: str


SUBCOMMANDS = {
    "serve": Subcommand("sidebeam.server.command", "run the sidecar on a bundle", "server"),
    "recommend": Subcommand("sidebeam.command.recommend", "ask a running sidecar for recommendations", ""),
    "status": Subcommand("sidebeam.command.status", "show workers, versions, load and acceptance", ""),
    "generate": Subcommand("sidebeam.command.generate", "have a running sidecar write a text", ""),
    "demo": Subcommand("sidebeam.command.demo", "train, serve and query a small synthetic world", "all"),
    "demo knowledge": Subcommand("sidebeam.command.knowledge_demo", "the same for texts, drafted from pools", "all"),
    "train": Subcommand("sidebeam.alignment.command", "train a target or a draft model on interactions", "workers"),
    "check": Subcommand("sidebeam.evaluation.check", "say whether a bundle can be served", "workers"),
    "load": Subcommand("sidebeam.load.command", "load-test a running sidecar", "loadtest"),
    "bench": Subcommand("sidebeam.command.bench", "measure speed side by side in one run", "workers"),
    "evaluate": Subcommand("sidebeam.report.evaluate", "report quality and speed on test users", "workers"),
    "evaluate knowledge": Subcommand("sidebeam.downstream.command", "judge texts by a click model", "workers"),
    "knowledge generate": Subcommand("sidebeam.writing.command", "write texts, drafted from earlier ones", "workers"),
    "knowledge groups": Subcommand("sidebeam.grouping.command", "say who shares a pool of texts", "workers"),
    "knowledge pools": Subcommand("sidebeam.knowledge.command", "make, show and change pools of texts", "workers"),
    "knowledge prompts": Subcommand("sidebeam.prompts.command", "write what a model is asked", "workers"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line `argv`, the process's own if None, and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        print(overview())
        return 0
    if arguments[0] == "--version":
        print(f"sidebeam {_version()}")
        return 0
    name = " ".join(arguments[:2])
    if name not in SUBCOMMANDS:
        name = arguments[0]
    parts = [each.removeprefix(f"{name} ") for each in SUBCOMMANDS if each.startswith(f"{name} ")]
    if name not in SUBCOMMANDS and parts:
        print(f"sidebeam {name}: the second word must be one of {', '.join(parts)}", file=sys.stderr)
        return 2
    if name not in SUBCOMMANDS:
        near = difflib.get_close_matches(name, SUBCOMMANDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(SUBCOMMANDS)}"
        print(f"sidebeam: no subcommand {name!r}; {hint}", file=sys.stderr)
        return 2
    try:
        with _ended_by_sigterm():
            return _run(name, arguments[len(name.split()) :])
    except _Terminated:
        return 143
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def overview() -> str:
    """Return the help text that lists every subcommand."""
    width = max(map(len, SUBCOMMANDS))
    lines = [f"  {name:<{width}}  {each.summary}" for name, each in SUBCOMMANDS.items()]
    usage = ["usage: sidebeam SUBCOMMAND ...", "       sidebeam --version", ""]
    return "\n".join([*usage, "subcommands:", *lines, "", "`sidebeam SUBCOMMAND --help` says more about each."])


def _run(name: str, arguments: Sequence[str]) -> int:
    subcommand = SUBCOMMANDS[name]
    try:
        module = importlib.import_module(subcommand.module)
        parser = argparse.ArgumentParser(prog=f"sidebeam {name}", description=module.SUMMARY, allow_abbrev=False)
        module.add_arguments(parser)
        return int(module.run(parser.parse_args(arguments)))
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if not subcommand.extra or missing in ("", "sidebeam"):
            raise
        need = f"sidebeam {name} needs the extra {subcommand.extra!r}: pip install 'sidebeam[{subcommand.extra}]'"
        print(f"{need}\n(there is no module {error.name!r})", file=sys.stderr)
        return 2
    except SystemExit as stop:  # argparse: 0 after --help, 2 after a usage error
        if isinstance(stop.code, int | None):
            return stop.code or 0
        raise


class _Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that what it has started ends, too. `serve` drains instead."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise _Terminated

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _version() -> str:
    try:
        return importlib.metadata.version("sidebeam")
    except importlib.metadata.PackageNotFoundError:
        return "(run from a folder that is not installed)"


if __name__ == "__main__":
    sys.exit(main())
