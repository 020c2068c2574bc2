"""What the client promises to be: a fixed set of names, importable without anything heavy."""

from __future__ import annotations

import subprocess
import sys

import sidebeam.client

# Names may be added here, never taken away: callers import them.
NAMES = """
    AsyncClient Beam Beams BlockingEventStream Client DeadlineExceeded Draft Event EventStream InvalidRequest Item
    MessageTooLarge Overloaded Provisional Recommendation Relaxed RelaxedToken RequestArguments Sampled Sampling
    ServerError SidebeamError StageTimes Text TextArguments TextDraft TextEvent TextPiece TextStream Tier TryAgain
    Unauthenticated Unavailable Violation
"""

BLOCKED = ("torch", "numpy", "transformers", "accelerate", "tokenizers", "rich", "grpc_health", "grpc_reflection")


def test_public_names_are_the_promised_ones() -> None:
    assert sorted(sidebeam.client.__all__) == sorted(NAMES.split())


def test_classes_name_the_public_module_as_theirs() -> None:
    classes = [value for name in NAMES.split() if isinstance(value := getattr(sidebeam.client, name), type)]
    assert len(classes) == len(NAMES.split()) - 2, "all but the unions Event and TextEvent"
    assert {each.__module__ for each in classes} == {"sidebeam.client"}


def test_the_client_and_its_command_import_without_the_extras() -> None:
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({BLOCKED}));"
        "import sidebeam.client, sidebeam.command.main, sidebeam.command.recommend, sidebeam.command.generate;"
        f"assert not [name for name in {BLOCKED} if sys.modules[name]]"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
