"""The whole command on a tiny, real bundle: what it measures, what it writes, and what it refuses."""

from __future__ import annotations

import argparse
import json
import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sidebeam.bundle import Bundle, Tokenizer, open_catalog
from sidebeam.command.main import main
from sidebeam.engine import Recommender
from sidebeam.evaluation.cohort import Cohort
from sidebeam.evaluation.error import EvaluationError
from sidebeam.evaluation.lineup import Lineup
from sidebeam.evaluation.options import Options
from sidebeam.report.evaluate import add_arguments
from sidebeam.search import DraftSettings, SearchRequest, SearchResult
from sidebeam.search.request import Sampling

USERS = 30
WITHOUT_TEST = range(0, USERS, 3)
WIDTHS = (1, 4)


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def interactions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """30 users, every third without test items; user 1 wants one SID thrice, user 2 has no history."""
    random = np.random.default_rng(3)
    lines = []
    for user in range(USERS):
        items = [f"i{item}" for item in random.choice(56, 12, replace=False)]
        test = [] if user in WITHOUT_TEST else items[8 : 9 + user % 3]
        lines.append({"user": user, "train": items[: 2 + user % 6], "valid": items[7:8], "test": test})
    lines[1]["test"] = ["i3", "i56", "i57"]  # one SID
    lines[2]["train"] = lines[2]["valid"] = []
    return write(tmp_path_factory.mktemp("data") / "interactions.jsonl", lines)


def write(path: Path, users: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, users)) + "\n")
    return path


@pytest.fixture(scope="module")
def report(tiny_bundle: Path, interactions: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both verifications, all drafts, at two widths."""
    folder = tmp_path_factory.mktemp("reports") / "made" / "here"
    arguments = ["evaluate", "--bundle", str(tiny_bundle), "--interactions", str(interactions)]
    arguments += ["--top-k", ",".join(map(str, WIDTHS)), "--verification", "both", "--temperature", "1.5"]
    arguments += ["--users", "8", "--learn", "6", "--threads", "1", "--report", str(folder)]
    assert main(arguments) == 0
    return folder


@pytest.fixture(scope="module")
def written(report: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((report / "report.json").read_text())
    return content


def arms(rows: list[dict[str, Any]], k: int) -> dict[str, dict[str, Any]]:
    return {row["arm"]["label"]: row for row in rows if row["top_k"] == k}


def test_the_report_is_two_files(report: Path) -> None:
    assert sorted(path.name for path in report.iterdir()) == ["report.html", "report.json"]


def test_it_says_what_it_was_made_with(written: dict[str, Any], tiny_bundle: Path) -> None:
    bundle = Bundle.open(tiny_bundle)
    catalog = open_catalog(bundle, Tokenizer.open(bundle.tokenizer))
    assert written["schema"] == 1
    assert {"python", "torch", "transformers", "sidebeam"} <= set(written["versions"])
    assert written["bundle"]["catalog_version"] == catalog.version
    assert written["users"]["measured"] == 8
    assert written["users"]["test_users"] == USERS - len(WITHOUT_TEST) - 1
    assert written["users"]["without_history"] == 1
    assert written["users"]["learned_from"] == 6
    assert written["settings"]["temperature"] == 1.5
    assert written["settings"]["draft_beams"] == 12
    assert written["settings"]["draft_length"] == 3


def test_every_arm_is_there_at_every_width(written: dict[str, Any]) -> None:
    drafts = ("off", "auto", "model", "catalog")
    wanted = {"generate"} | {f"{verification} {draft}" for verification in ("strict", "relaxed") for draft in drafts}
    assert {row["top_k"] for row in written["costs"]} == set(WIDTHS)
    for k in WIDTHS:
        assert set(arms(written["costs"], k)) == wanted
    quality = {(row["arm"]["label"], row["n"], row["list_length"]) for row in written["quality"]}
    assert quality == {
        (arm, n, k) for arm in wanted | {"popularity", "neighbours"} for n, k in ((1, 1), (1, 4), (4, 4))
    }


def test_drafts_change_no_strict_answer_and_generate_agrees(written: dict[str, Any]) -> None:
    for k in WIDTHS:
        found = arms(written["costs"], k)
        for arm in ("generate", "strict auto", "strict model", "strict catalog"):
            assert found[arm]["identical"]["value"] == 1.0, (arm, k)
            assert found[arm]["overlap"]["value"] == 1.0, (arm, k)
        assert found["strict off"]["identical"] is None


def test_passes_and_depths_are_those_of_the_searches(written: dict[str, Any]) -> None:
    for k in WIDTHS:
        found = arms(written["costs"], k)
        for verification in ("strict", "relaxed"):
            off, catalog = found[f"{verification} off"], found[f"{verification} catalog"]
            assert off["passes"]["value"] == 4.0
            assert off["depth_per_pass"] == {"value": 1.0, "low": 1.0, "high": 1.0}
            assert off["accepted_steps"]["value"] == 0.0
            assert [depth["drafted"]["value"] for depth in off["by_depth"]] == [0, 0, 0]
            assert [depth["useful"] for depth in off["by_depth"]] == [None] * 3
            assert catalog["passes"]["value"] == 1.0  # the whole catalog fits into the prompt's pass
            assert catalog["depth_per_pass"]["value"] == 4.0
            assert [depth["whole"]["value"] for depth in catalog["by_depth"]] == [1.0] * 3
            assert catalog["rows_per_pass"]["value"] == catalog["rows"]["value"]
        assert found["generate"]["rows"]["value"] == pytest.approx(
            k * (found["strict off"]["rows"]["value"] - 3 * k + 3), rel=1e-4
        )  # the prompt once for each beam


def test_every_figure_lies_in_its_interval(written: dict[str, Any]) -> None:
    estimates = list(nested(written))
    assert len(estimates) > 200
    for estimate in estimates:
        assert estimate["low"] - 1e-6 <= estimate["value"] <= estimate["high"] + 1e-6
        assert all(math.isfinite(each) for each in estimate.values())


def nested(value: Any) -> Iterator[dict[str, float]]:
    if isinstance(value, dict) and "low" in value:
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from nested(each)


def test_ratios_are_of_means_from_one_run(written: dict[str, Any]) -> None:
    for k in WIDTHS:
        found = arms(written["costs"], k)
        for label, row in found.items():
            off = found["relaxed off" if label.startswith("relaxed") else "strict off"]
            ms = row["ms"]["value"]
            assert row["over_off"]["value"] == pytest.approx(off["ms"]["value"] / ms, rel=1e-4)
            assert row["over_generate"]["value"] == pytest.approx(found["generate"]["ms"]["value"] / ms, rel=1e-4)


def test_relaxed_lists_are_sampled(written: dict[str, Any], tiny_bundle: Path, interactions: Path) -> None:
    """The quality reported is that of lists drawn with seed + user; drawn here once more, without the command."""
    recommender = Recommender.load(tiny_bundle, threads=1)
    cohort = Cohort.read(interactions, recommender.engine.catalog, 8, 6)
    found = []
    for i, user in enumerate(cohort.users):
        prompt = np.array(recommender.prompts.from_items(user.history), np.int64)
        sampling = Sampling(1.5, 0, i)
        (result,) = recommender.search([SearchRequest(prompt, 4, draft=DraftSettings("off"), sampling=sampling)])
        found.append(len({*result.leaves.tolist()} & {*user.truth.tolist()}) / len(user.truth))
    (row,) = (
        row
        for row in written["quality"]
        if (row["arm"]["label"], row["n"], row["list_length"]) == ("relaxed off", 4, 4)
    )
    assert row["recall"]["value"] == pytest.approx(np.mean(found), abs=1e-6)


def test_the_page_tells_the_same(report: Path, written: dict[str, Any]) -> None:
    page = (report / "report.html").read_text()
    for sentence in written["summary"]:
        assert sentence.replace("'", "&#x27;") in page
    assert written["bundle"]["catalog_version"] in page


def test_users_are_those_with_a_test_and_a_history_and_truths_are_sids(tiny_bundle: Path, interactions: Path) -> None:
    bundle = Bundle.open(tiny_bundle)
    catalog = open_catalog(bundle, Tokenizer.open(bundle.tokenizer))
    cohort = Cohort.read(interactions, catalog, None, 1000)
    assert len(cohort.users) == USERS - len(WITHOUT_TEST) - 1
    assert cohort.truth_sizes[0] == 1  # user 1: three items of one SID
    lines = [json.loads(line) for line in interactions.read_text().splitlines()]
    assert [catalog.item_ids(np.array(user.history)) for user in cohort.users] == [
        [*line["train"], *line["valid"]] for line in lines if line["test"] and line["valid"]
    ]
    assert len(cohort.others) == len(WITHOUT_TEST)  # those measured teach nobody


def test_several_drafts_in_one_run(tiny_bundle: Path, interactions: Path, tmp_path: Path) -> None:
    shutil.copytree(tiny_bundle / "draft", tmp_path / "second")
    arguments = command(tiny_bundle, interactions, tmp_path / "report")
    arguments += ["--draft-folder", f"one={tiny_bundle / 'target'}", "--draft-folder", str(tmp_path / "second")]
    arguments += ["--drafts", "model", "--top-k", "3", "--users", "3", "--no-generate", "--draft-beams", "9"]
    assert main(arguments) == 0
    rows = json.loads((tmp_path / "report" / "report.json").read_text())["costs"]
    found = arms(rows, 3)
    assert set(found) == {"strict off", "strict model one", "strict model second"}
    assert found["strict model one"]["passes"]["value"] == 1.0  # it drafts what it is about to say
    assert found["strict model second"]["passes"]["value"] > 1.0
    assert found["strict off"]["over_generate"] is None


class Deterministic(Recommender):
    """A recommender that knows no sampling."""

    def search(self, requests: Any) -> list[SearchResult]:
        return super().search([replace(request, sampling=None) for request in requests])


def test_nothing_is_called_relaxed_that_was_not_sampled(tiny_bundle: Path, interactions: Path, tmp_path: Path) -> None:
    loaded = Recommender.load(tiny_bundle, threads=1)
    options = read([*command(tiny_bundle, interactions, tmp_path), "--verification", "relaxed"])
    prompt = np.array(loaded.prompt(["i1", "i2"]), np.int64)
    Lineup(loaded, {}, None, DraftSettings(), options).check_sampling(prompt)
    deaf = Deterministic(loaded.engine, loaded.draft, loaded.prompts)
    with pytest.raises(EvaluationError, match="needs an engine that samples"):
        Lineup(deaf, {}, None, DraftSettings(), options).check_sampling(prompt)


def read(arguments: list[str]) -> Options:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return Options.read(parser.parse_args(arguments[1:]))


def command(bundle: Path, interactions: Path, report: Path) -> list[str]:
    places = {"--bundle": bundle, "--interactions": interactions, "--report": report}
    fixed = [text for option, path in places.items() for text in (option, str(path))]
    return ["evaluate", *fixed, "--threads", "1", "--learn", "0"]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--top-k", "0,5"], "--top-k must be at least 1; given 0"),
        (["--top-k", "5,61"], "--top-k must be at most the catalog's 60 items; given 61"),
        (["--top-k", "5,,6"], "--top-k must be whole numbers with commas between them; given '5,,6'"),
        (["--users", "0"], "--users must be at least 1; given 0"),
        (["--temperature", "0"], "--temperature must be a finite number above 0; given 0"),
        (["--temperature", "nan"], "--temperature must be a finite number above 0; given nan"),
        (["--verification", "lax"], "--verification must be one of strict, relaxed, both; given 'lax'"),
        (["--drafts", "off,magic"], "--drafts must be one of off, auto, model, catalog; given 'magic'"),
        (["--draft-beams", "0"], "--draft-beams must be at least 1; given 0"),
        (["--draft-beams", "9999"], "--draft-beams must be at most 213, what a KV slot holds; given 9999"),
        (["--draft-length", "4"], "--draft-length must be at most 3, the SIDs' length less one; given 4"),
        (["--draft-folder", "a=/nowhere"], "must be a model's folder with a config.json; given 'a=/nowhere'"),
        (["--seed", "-1"], "--seed must be 0 to 9223372036854775807; given -1"),
        (["--learn", "-1"], "--learn must be at least 0; given -1"),
        (["--threads", "0"], "--threads must be at least 1; given 0"),
        (["--device", "abacus"], "--device must be one that torch can use here; given 'abacus'"),
    ],
)
def test_bad_options_are_refused_in_one_line(
    options: list[str],
    problem: str,
    tiny_bundle: Path,
    interactions: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*command(tiny_bundle, interactions, tmp_path / "report"), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sidebeam evaluate: ")
    assert problem in line
    assert list(tmp_path.iterdir()) == []


def test_draft_folders_that_fit_nothing(
    tiny_bundle: Path, interactions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draft = tiny_bundle / "draft"
    arguments = command(tiny_bundle, interactions, tmp_path / "report")
    for options, problem in (
        ([f"a={draft}", f"a={draft}"], "--draft-folder must name each draft once; given 'a' twice"),
        ([f"={draft}"], "--draft-folder must be DIR or NAME=DIR; given '="),
    ):
        assert main([*arguments, *(text for given in options for text in ("--draft-folder", given))]) == 2
        assert problem in capsys.readouterr().err
    assert main([*arguments, "--draft-folder", str(draft), "--drafts", "catalog"]) == 2
    assert "--draft-folder must go with --drafts model or auto; given --drafts catalog" in capsys.readouterr().err
    bad = tmp_path / "bad"
    shutil.copytree(draft, bad)
    (bad / "model.safetensors").write_bytes(b"no weights")
    assert main([*arguments, "--draft-folder", str(bad)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "--draft-folder bad" in line
    assert not (tmp_path / "report").exists()


def test_a_draft_of_another_vocabulary(
    tiny_bundle: Path, interactions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_bundle / "draft", local_files_only=True)
    model.resize_token_embeddings(40, mean_resizing=False)
    model.save_pretrained(tmp_path / "other")
    capsys.readouterr()
    arguments = command(tiny_bundle, interactions, tmp_path / "report")
    assert main([*arguments, "--draft-folder", f"wide={tmp_path / 'other'}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "sidebeam evaluate: --draft-folder wide must have the target's 27 tokens; given one of 40"
    assert not (tmp_path / "report").exists()


def test_a_model_draft_without_a_model(
    tiny_bundle: Path, interactions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    settings = (bundle / "sidebeam.toml").read_text()
    (bundle / "sidebeam.toml").write_text(settings.replace('[draft]\npath = "draft"\n', ""))
    assert main([*command(bundle, interactions, tmp_path / "report"), "--drafts", "model"]) == 2
    assert "--drafts model needs a bundle with a [draft], or --draft-folder" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("users", "problem"),
    [
        (['{"train": ["i1"], "test": ["i2"]}', "{oops"], "line 2: not JSON"),
        (['{"train": ["i1"], "test": ["i2"]}', "[1]"], "line 2: must be an object with the field 'train'"),
        (['{"train": ["i1", "x9"], "test": ["i2"]}'], "line 1, train: item id 'x9' is not one of the 60 items"),
        (['{"train": ["i1"], "test": 5}'], "line 1, test: must be a list of item ids"),
        (['{"train": ["i1"], "test": []}'], "must have at least 1 user with test items and a history"),
        (['{"train": [], "test": ["i1"]}'], "must have at least 1 user with test items and a history"),
        ([], "holds no users"),
    ],
)
def test_bad_interactions_are_refused_by_line(
    users: list[str], problem: str, tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text("\n".join(users))
    assert main(command(tiny_bundle, path, tmp_path / "report")) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"sidebeam evaluate: --interactions: {path}")
    assert problem in line
    assert not (tmp_path / "report").exists()


def test_places_that_are_not_what_they_should_be(
    tiny_bundle: Path, interactions: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "empty").mkdir()
    for bundle, data, report, problem in (
        (tmp_path / "none", interactions, tmp_path / "r", "--bundle: "),
        (tmp_path / "empty", interactions, tmp_path / "r", "--bundle: "),
        (tiny_bundle, tmp_path / "none", tmp_path / "r", "--interactions: "),
        (tiny_bundle, interactions, tmp_path / "file", "--report must be a folder; given "),
        (
            tiny_bundle,
            interactions,
            tmp_path / "file" / "r",
            "--report must be a folder that can be written to; given ",
        ),
    ):
        assert main(command(bundle, data, report)) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"sidebeam evaluate: {problem}")
        assert str(tmp_path) in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "file"]


def test_prompts_that_the_target_cannot_take(
    tiny_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    settings = (bundle / "sidebeam.toml").read_text()
    (bundle / "sidebeam.toml").write_text(settings.replace("max_history = 8", "max_history = 40"))
    data = write(tmp_path / "long.jsonl", [{"user": 1, "train": [f"i{i}" for i in range(30)], "test": ["i31"]}])
    assert main([*command(bundle, data, tmp_path / "report"), "--no-generate"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "prompts of 1 to 61 tokens" in line
    assert "30 items makes 121" in line
    assert not (tmp_path / "report").exists()
