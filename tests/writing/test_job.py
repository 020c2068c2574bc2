"""Jobs: every prompt has its line, once, whatever came between."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from sidebeam.bundle import Bundle
from sidebeam.knowledge.pools import Pools
from sidebeam.knowledge.tokenizer import tokenizer_fingerprint
from sidebeam.texts import Relaxed, Sampled
from sidebeam.training.progress import ProgressBar
from sidebeam.writing import WritingError
from sidebeam.writing.job import WritingJob, in_order, verification_for
from sidebeam.writing.prompt_list import Prompt
from sidebeam.writing.text_file import TextFile

from .conftest import MOST_NEW, Shop, asked, read, write_lines

CHILD = """
import json, os, sys
from sidebeam.command import main
from sidebeam.writing import job  # everything is imported once, before any child
main.SUBCOMMANDS.setdefault("knowledge generate", main.Subcommand("sidebeam.writing.command", "", "workers"))
for line in sys.stdin:
    child = os.fork()
    if not child:
        os.dup2(2, 1)
        os._exit(main.main(["knowledge", "generate", *json.loads(line)]))
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Processes:
    """Real processes of the command, which need not import everything anew."""

    def __init__(self, errors: Path) -> None:
        self.errors = errors
        with errors.open("w") as file:
            self._parent = subprocess.Popen(
                [sys.executable, "-c", CHILD],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    def start(self, *arguments: object) -> int:
        assert self._parent.stdin is not None
        self._parent.stdin.write(json.dumps([*map(str, arguments), "--threads", "1"]) + "\n")
        self._parent.stdin.flush()
        return self._line()

    def code(self) -> int:
        return self._line()

    def close(self) -> None:
        self._parent.communicate()

    def _line(self) -> int:
        assert self._parent.stdout is not None
        return int(self._parent.stdout.readline())


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    processes = Processes(tmp_path_factory.mktemp("processes") / "errors.txt")
    yield processes
    processes.close()


@pytest.fixture
def job(shop: Shop, pools: Path, tmp_path: Path) -> WritingJob:
    """Thirty users, pools that know half of them, and one prompt that is too long."""
    lines = [*asked(30), {"entity": "long", "prompt": "river " * 300}]
    prompts = write_lines(tmp_path / "prompts.jsonl", lines)
    return WritingJob(shop.root, prompts, tmp_path / "texts.jsonl", pools=pools, batch=4)


def told(path: Path) -> dict[str, tuple[str | None, int | None, str | None]]:
    """What of each line does not depend on drafts, by entity; every entity once."""
    lines = read(path)
    found = {line["entity"]: (line.get("text"), line.get("tokens"), line.get("stop")) for line in lines}
    assert len(found) == len(lines)
    return found


def by_transformers(shop: Shop, user: dict[str, str]) -> tuple[str, int, str]:
    tokens = shop.greedy(user["prompt"])
    ended = tokens[-1] in shop.ends
    text = shop.tokenizer._fast.decode(tokens[:-1] if ended else tokens)
    return text, len(tokens), "end" if ended else "max_new_tokens"


def test_every_prompt_has_its_line(shop: Shop, job: WritingJob, bar: ProgressBar) -> None:
    tally = job.run(bar)
    found = told(job.out)
    size = len(shop.tokenizer.encode("river " * 300))
    (failed,) = [line for line in read(job.out) if "error" in line]
    assert failed == {"entity": "long", "error": f"prompt must be 1 to 95 tokens; given {size}"}
    del found["long"]
    assert found == {user["entity"]: by_transformers(shop, user) for user in asked(30)}
    lines = [line for line in read(job.out) if "text" in line]
    assert list(lines[0]) == ["entity", "text", "tokens", "passes", "stop", "drafted", "accepted", "relaxed"]
    assert (tally.texts, tally.failures, tally.kept, tally.learned) == (30, 1, 0, 0)
    for name in ("tokens", "passes", "relaxed"):
        assert getattr(tally, name) == sum(line[name] for line in lines)
    for name in ("drafted", "accepted"):
        assert getattr(tally, name).sum() == sum(line[name] for line in lines)
    assert tally.passes <= tally.tokens
    first, second, *_ = tally.told()
    assert first == "30 texts, 1 failed"
    assert second.startswith(f"{tally.tokens} tokens, ")
    assert second.endswith(f" tokens/s, {tally.tokens / tally.passes:.2f} tokens per pass")


def test_texts_do_not_depend_on_order_or_speed(shop: Shop, job: WritingJob, bar: ProgressBar, tmp_path: Path) -> None:
    shuffled = [*asked(30), {"entity": "long", "prompt": "river " * 300}]
    random.Random(2).shuffle(shuffled)
    prompts = write_lines(tmp_path / "shuffled.jsonl", shuffled)
    for name, rule in (("exact", job.verification), ("sampled", Sampled(1.2, top_k=50, seed=3))):
        first = replace(job, out=tmp_path / f"{name}.jsonl", verification=rule)
        other = replace(first, prompts=prompts, batch=1, drafts="off", out=tmp_path / f"{name}-2.jsonl")
        first.run(bar)
        assert other.run(bar).drafted.sum() == 0
        assert told(first.out) == told(other.out)
        assert [line["entity"] for line in read(first.out)] != [line["entity"] for line in read(other.out)]
    assert told(tmp_path / "exact.jsonl") != told(tmp_path / "sampled.jsonl")


def test_each_entity_draws_from_a_seed_of_its_own() -> None:
    seeds = {verification_for(Sampled(seed=seed), entity) for seed in (0, 1) for entity in ("a", "b", "1\0a")}
    assert len(seeds) == 6
    assert verification_for(Sampled(seed=1), "a") == verification_for(Sampled(seed=1), "a")
    assert verification_for(Relaxed(), "a") == Relaxed()


def test_groups_stay_together_and_alike_lengths_too() -> None:
    rng = random.Random(0)
    prompts = [Prompt(str(i), rng.choice([None, "x", "y"]), i, i, 1) for i in range(40)]
    lengths = {str(i): rng.randrange(5) for i in range(40)}
    ordered = in_order(prompts, lengths)
    assert sorted(ordered, key=lambda prompt: prompt.start) == prompts
    groups = [prompt.group for prompt in ordered]
    assert sum(a != b for a, b in pairwise(groups)) == 2
    for group in set(groups):
        own = [lengths[prompt.entity] for prompt in ordered if prompt.group == group]
        assert own == sorted(own)


def test_relaxed_tokens_are_counted(job: WritingJob, bar: ProgressBar, tmp_path: Path) -> None:
    """Drafted are the same users' texts as they were drawn: likely, but not what is likeliest."""
    drawn = replace(job, out=tmp_path / "drawn.jsonl", pools=tmp_path / "drawn", verification=Sampled(0.8), learn=True)
    drawn.run(bar)
    tally = replace(job, verification=Relaxed(64, 0.05), pools=tmp_path / "drawn").run(bar)
    assert tally.relaxed > 0
    lines = [line for line in read(job.out) if line.get("relaxed")]
    assert sum(line["relaxed"] for line in lines) == tally.relaxed
    for line in lines:
        assert len(line["audit"]) == line["relaxed"]
        assert [token["position"] for token in line["audit"]] == sorted({t["position"] for t in line["audit"]})
        assert all(t["rank"] <= 64 and t["q"] > 0.05 and t["token"] != t["argmax"] for t in line["audit"])
        lost = sum(math.log(token["q_max"] / token["q"]) for token in line["audit"])
        assert line["divergence"] == pytest.approx(lost, abs=1e-5)
    assert any("relaxed tokens: " in line for line in tally.told())


def test_a_finished_job_has_nothing_to_resume(job: WritingJob, bar: ProgressBar) -> None:
    job.run(bar)
    before = job.out.read_bytes()
    tally = replace(job, resume=True).run(bar)
    assert tally.told() == ["0 texts, 0 failed, 31 from before"]
    assert job.out.read_bytes() == before
    with pytest.raises(WritingError, match="there already; continue it with --resume"):
        job.run(bar)


def test_other_options_are_refused_by_name(job: WritingJob, bar: ProgressBar, tmp_path: Path) -> None:
    job = replace(job, verification=Relaxed(k=3), prompts=write_lines(tmp_path / "few.jsonl", asked(3)))
    job.run(bar)
    again = replace(job, resume=True)
    for changed, says in (
        ({"max_new_tokens": 7}, f"--max-new-tokens was {MOST_NEW}, is 7$"),
        (
            {"verification": Relaxed(k=2, max_divergence=1.0)},
            r"--k was 3, is 2; --max-divergence was not given, is 1.0$",
        ),
        (
            {"verification": Sampled(seed=1)},
            "--verification was relaxed, is sampled; .*--seed was not given, is 1; --k was 3",
        ),
        ({"dtype": "bfloat16"}, "--dtype was float32, is bfloat16$"),
        ({"prompts": write_lines(tmp_path / "more.jsonl", asked(4))}, r"--prompts was \w{16}, is \w{16}$"),
    ):
        with pytest.raises(WritingError, match=rf"texts\.jsonl: .* other options: {says}"):
            replace(again, **changed).run(bar)  # type: ignore[arg-type]
    shutil.copytree(job.bundle, tmp_path / "bundle")
    weights = tmp_path / "bundle" / "target" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\7")
    with pytest.raises(WritingError, match=r"other options: --bundle was \w{16}, is \w{16}$"):
        replace(again, bundle=tmp_path / "bundle").run(bar)
    replace(again, batch=1, pools=None, drafts="off", threads=1).run(bar)  # how fast it goes may change


def test_bad_input_leaves_nothing(job: WritingJob, bar: ProgressBar, tmp_path: Path) -> None:
    for content, says in (
        ("", r"bad\.jsonl: holds no prompts"),
        ('{"entity": "a", "prompt": "p"}\n{"entity": \n', r"bad\.jsonl, line 2: not JSON"),
        (
            '{"entity": "a", "prompt": "p"}\n' * 2,
            r"bad\.jsonl, line 2: entity 'a' stands in the file twice, first in li",
        ),
    ):
        (tmp_path / "bad.jsonl").write_text(content)
        with pytest.raises(WritingError, match=says):
            replace(job, prompts=tmp_path / "bad.jsonl").run(bar)
    (tmp_path / "groups.json").write_text('{"a": 5}')
    with pytest.raises(WritingError, match=r"groups\.json, 'a': must be a group's name"):
        replace(job, groups=tmp_path / "groups.json").run(bar)
    with pytest.raises(WritingError, match="no such folder"):
        replace(job, bundle=tmp_path / "nowhere").run(bar)
    with pytest.raises(WritingError, match="device nowhere cannot be used"):
        replace(job, device="nowhere").run(bar)
    with pytest.raises(WritingError, match="there are no pools that could learn"):
        replace(job, pools=None, learn=True).run(bar)
    for name, option in (("max_new_tokens", "max-new-tokens"), ("batch", "batch"), ("threads", "threads")):
        with pytest.raises(WritingError, match=f"--{option} must be at least 1; given 0"):
            replace(job, **{name: 0})  # type: ignore[arg-type]
    assert {path.name for path in tmp_path.iterdir()} == {"prompts.jsonl", "bad.jsonl", "groups.json"}


def test_groups_come_from_the_line_or_the_file(shop: Shop, job: WritingJob, bar: ProgressBar, tmp_path: Path) -> None:
    """Seen in what the pools learn: they are made, filled, and told who belongs where."""
    users: list[dict[str, Any]] = [{**user, "group": None} if i % 2 else user for i, user in enumerate(asked(8))]
    groups = tmp_path / "groups.json"
    groups.write_text(json.dumps({user["entity"]: "file" for user in users[:6]}))
    folder = tmp_path / "new"
    job = replace(job, prompts=write_lines(tmp_path / "few.jsonl", users), groups=groups, pools=folder, learn=True)
    tally = job.run(bar)
    assert tally.learned == 8
    assert "texts learned by the pools: 8" in tally.told()
    known = Pools.open(folder, tokenizer_fingerprint(Bundle.open(job.bundle).tokenizer))
    assert known.groups == ["file", "g0", "g1", "g2"]
    for i, user in enumerate(users):
        tokens = shop.greedy(user["prompt"])
        assert known.text(user["entity"]).tolist() == tokens  # type: ignore[union-attr]
        in_file = known.count(tokens, "file") > 0
        assert in_file == (i in (1, 3, 5))


def test_pools_of_no_use_are_told(job: WritingJob, bar: ProgressBar, tmp_path: Path) -> None:
    tally = replace(job, pools=tmp_path / "nowhere").run(bar)
    assert tally.texts == 30
    assert tally.told()[-1] == f"written without pools: {tmp_path}/nowhere: no such folder"


def test_pools_that_hold_nothing_are_told(
    job: WritingJob, shop: Shop, bar: ProgressBar, tmp_path: Path, pools: Path
) -> None:
    emptied = tmp_path / "emptied"
    shutil.copytree(pools, emptied)
    with Pools.open(emptied, tokenizer_fingerprint(shop.bundle.tokenizer), write=True) as known:
        for user in asked(30):
            known.delete(user["entity"])
        known.commit()
        assert known.n_texts == 0
    tally = replace(job, pools=emptied).run(bar)
    assert tally.told()[-1] == f"written without pools: {emptied}: holds no texts"


def test_progress_has_a_rate_and_the_time_left(job: WritingJob, tmp_path: Path) -> None:
    with (tmp_path / "log.txt").open("w") as log, ProgressBar(Console(file=log, width=200)) as bar:
        job.run(bar)
    notes = (tmp_path / "log.txt").read_text().splitlines()
    assert len(notes) == 10
    assert notes[-1].startswith("texts: 31 of 31, ")
    for note in notes:
        assert note.endswith(" min to go")
        assert " texts/s, " in note


def options(job: WritingJob) -> list[object]:
    files = ["--bundle", job.bundle, "--prompts", job.prompts, "--out", job.out, "--pools", job.pools]
    return [*files, "--batch", job.batch, "--max-new-tokens", 60, "--resume"]


def lines_in(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def wait_for(process: int, path: Path, lines: int) -> None:
    """Until a file has so many lines, or the process has ended."""
    until = time.monotonic() + 120
    while lines_in(path) < lines and time.monotonic() < until and Path(f"/proc/{process}/exe").exists():
        time.sleep(0.001)


@pytest.mark.parametrize("most", [2, pytest.param(10, marks=pytest.mark.slow)])
def test_kills_lose_and_repeat_nothing(
    job: WritingJob, processes: Processes, bar: ProgressBar, tmp_path: Path, most: int
) -> None:
    """At random moments, half of them while lines are being written; the union is one uninterrupted run's."""
    users = asked(16 * most, seed=8)
    job = replace(job, prompts=write_lines(tmp_path / "many.jsonl", users))
    whole = replace(job, out=tmp_path / "whole.jsonl", max_new_tokens=60)
    started = time.monotonic()
    whole.run(bar)
    taken = time.monotonic() - started
    seed = random.SystemRandom().randrange(1 << 32)
    rng = random.Random(seed)
    kills, done = 0, 0
    while kills < most:
        process = processes.start(*options(job))
        if kills % 2:
            wait_for(process, job.out, done + rng.randrange(1, 16))
        time.sleep(rng.random() * taken / (1 if kills % 2 == 0 else 20))
        with suppress(ProcessLookupError):  # it may have ended
            os.kill(process, signal.SIGKILL)
        code = processes.code()
        assert code in (0, -signal.SIGKILL), processes.errors.read_text()
        assert lines_in(job.out) >= done
        if code == 0:  # it was too quick for us, and that was no kill: once more from the start
            job.out.unlink()
            job.out.with_name("texts.about.json").unlink()
        else:
            kills += 1
        done = lines_in(job.out)
    with job.out.open("ab") as file:
        file.write(b'{"entity": "u1", "text": "torn')
    processes.start(*options(job))
    assert processes.code() == 0, processes.errors.read_text()
    assert told(job.out) == told(whole.out), f"seed {seed}"
    assert set(told(job.out)) == {user["entity"] for user in users}


def test_ctrl_c_keeps_whole_lines(job: WritingJob, processes: Processes, bar: ProgressBar, tmp_path: Path) -> None:
    job = replace(job, prompts=write_lines(tmp_path / "many.jsonl", asked(90, seed=8)))
    process = processes.start(*options(job))
    wait_for(process, job.out, 10)
    os.kill(process, signal.SIGINT)
    assert processes.code() == 130, processes.errors.read_text()
    assert "interrupted; all lines are whole, the same command with --resume continues" in processes.errors.read_text()
    kept = read(job.out)
    assert 10 <= len(kept) < 90
    assert job.out.read_bytes().endswith(b"\n")
    tally = replace(job, max_new_tokens=60, resume=True).run(bar)
    assert (tally.kept, tally.texts) == (len(kept), 90 - len(kept))
    assert read(job.out)[: len(kept)] == kept


def test_two_jobs_on_one_file(job: WritingJob, processes: Processes, tmp_path: Path) -> None:
    """The second is refused before it has read a model, and the first goes on."""
    job = replace(job, prompts=write_lines(tmp_path / "many.jsonl", asked(40, seed=8)), max_new_tokens=60)
    prompts = {user["entity"] for user in asked(40, seed=8)}
    with ProgressBar(Console(quiet=True)) as bar:
        replace(job, out=tmp_path / "for-terms.jsonl").run(bar)
    terms = json.loads((tmp_path / "for-terms.about.json").read_text())["options"]
    with TextFile(job.out, terms, prompts, resume=False) as file:
        processes.start(*options(job))
        assert processes.code() == 2
        assert f"{job.out}: another job is writing to it" in processes.errors.read_text()
        file.add("u0", {"text": "ours"})
    processes.start(*options(job))
    assert processes.code() == 0
    assert read(job.out)[0] == {"entity": "u0", "text": "ours"}
    assert set(told(job.out)) == prompts
