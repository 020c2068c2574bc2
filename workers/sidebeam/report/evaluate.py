"""`sidebeam evaluate`: how good and how fast each verification and draft is, by K, with intervals over users."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from sidebeam.bundle import Bundle, BundleError, Tokenizer, open_catalog
from sidebeam.evaluation.error import EvaluationError
from sidebeam.evaluation.options import DRAFTS, DTYPES, Options
from sidebeam.page.folder import FolderError, ReportFolder
from sidebeam.page.progress_line import ProgressLine

SUMMARY = "measure quality and speed of a bundle on test users, as a report"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sidebeam evaluate`."""
    add = parser.add_argument
    add("--bundle", type=Path, required=True, metavar="DIR")
    add("--interactions", type=Path, required=True, metavar="FILE", help='{"user", "train", "valid", "test"} per line')
    add("--report", type=Path, required=True, metavar="DIR", help="for report.json and report.html")
    add("--top-k", default="1,3,5,10,20", metavar="K,K,...", help="beam widths (default 1,3,5,10,20)")
    add("--users", type=int, metavar="N", help="at most so many test users, spread over the file (default: all)")
    add("--verification", default="strict", metavar="strict|relaxed|both", help="default strict")
    add("--temperature", type=float, default=1.0, help="of relaxed verification (default 1)")
    add("--seed", type=int, default=0, help="of the first user's draws, and of the intervals (default 0)")
    add("--drafts", metavar="D,D,...", help=f"of {', '.join(DRAFTS)} (default: all there are); off always takes part")
    add("--draft-beams", type=int, metavar="N", help="of the draft model (default: the bundle's)")
    add("--draft-length", type=int, metavar="G", help="of the draft model (default: the SIDs' length less one)")
    add(
        "--draft-folder",
        action="append",
        default=[],
        metavar="[NAME=]DIR",
        help="another draft model instead of the bundle's; may be repeated to compare several, auto takes the first",
    )
    add("--no-generate", action="store_true", help="leave out transformers generate, the slowest arm")
    add("--learn", type=int, default=1000, metavar="N", help="other users whom auto serves first (default 1000)")
    add("--threads", type=int, default=os.cpu_count() or 1, metavar="N", help="for all arms alike")
    add("--device", default="cpu")
    add("--dtype", default="float32", choices=DTYPES)


def run(args: argparse.Namespace) -> int:
    """0 once the report is written, 2 for unusable input; nothing is left behind then."""
    try:
        options = Options.read(args)
        _evaluate(options)
    except BundleError as error:
        return _refuse(f"--bundle: {error}")
    except (EvaluationError, FolderError) as error:
        return _refuse(str(error))
    return 0


def _evaluate(options: Options) -> None:
    bundle = Bundle.open(options.bundle)
    os.environ.setdefault("OMP_NUM_THREADS", str(options.threads))
    from sidebeam.evaluation.cohort import Cohort
    from sidebeam.evaluation.findings import Judge
    from sidebeam.evaluation.lineup import Lineup
    from sidebeam.evaluation.scene import Scene
    from sidebeam.evaluation.study import Study
    from sidebeam.models import ModelError
    from sidebeam.report.document import document
    from sidebeam.report.page import page
    from sidebeam.report.table import tables

    try:
        tokenizer = Tokenizer.open(bundle.tokenizer)
        catalog = open_catalog(bundle, tokenizer)
    except (OSError, ValueError) as error:
        raise EvaluationError(f"--bundle: {error}") from error
    cohort = Cohort.read(options.interactions, catalog, options.users, options.learn)
    with ReportFolder(options.report, ("report.json", "report.html")) as folder:
        try:
            lineup = Lineup.load(bundle, catalog, tokenizer, options)
        except ModelError as error:
            raise EvaluationError(f"--bundle: {error}") from error
        with ProgressLine() as progress:
            study = Study(lineup, cohort, progress)
            tracks = study.run(options.widths)
            progress("reckoning intervals")
            judge = Judge(catalog, bundle.scoring == "raw", [user.truth for user in cohort.users], options.seed)
            findings = judge.findings(tracks, study.baselines(options.widths[-1]))
        scene = Scene.of(bundle, catalog, cohort, lineup.model_draft, options)
        print(tables(findings))
        folder.write({"report.json": document(scene, findings), "report.html": page(scene, findings)})
    print(f"{options.report / 'report.html'} says more; {options.report / 'report.json'} is for scripts")


def _refuse(problem: str) -> int:
    print(f"sidebeam evaluate: {problem}", file=sys.stderr)
    return 2
