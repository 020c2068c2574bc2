"""The flags that both worker processes take."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from sidebeam.bundle import Bundle
from sidebeam.cores import usable_cores
from sidebeam.logs import FORMATS, LEVELS

DTYPES = ("float32", "bfloat16", "float16")


def worker_parser(program: str, summary: str) -> argparse.ArgumentParser:
    """A parser with everything but what one kind of worker alone understands."""
    parser = argparse.ArgumentParser(prog=program, description=summary, allow_abbrev=False)
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR", help="the bundle's folder")
    parser.add_argument(
        "--listen", required=True, metavar="ADDRESS", help="unix:/path on one host, HOST:PORT between hosts"
    )
    parser.add_argument(
        "--pools", type=Path, metavar="DIR", help="earlier texts, to draft from and to add to; default: the bundle's"
    )
    parser.add_argument(
        "--catalog", type=Path, metavar="FILE", help="a compiled one instead of the bundle's items, while it is there"
    )
    parser.add_argument("--threads", type=_positive, default=usable_cores(), metavar="N", help="compute threads")
    parser.add_argument("--slots", type=_positive, default=16, metavar="N", help="requests that hold KV at once")
    parser.add_argument("--device", default="cpu", metavar="DEVICE", help="cpu, cuda, cuda:1, ...")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="default: %(default)s")
    parser.add_argument(
        "--max-prompt-tokens",
        type=_positive,
        metavar="N",
        help="longest prompt; default: the model's, up to 512",
    )
    parser.add_argument("--name", default=program, metavar="NAME", help="what the logs call this process")
    parser.add_argument("--nice", type=int, default=0, metavar="N", help="added to the niceness once it serves")
    parser.add_argument("--lifeline", action="store_true", help="exit when standard input ends, so with the parent")
    parser.add_argument("--traces", default="", metavar="URL", help="an OTLP collector, http://HOST:PORT")
    parser.add_argument("--log-format", choices=FORMATS, default="auto", help="default: %(default)s")
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="default: %(default)s")
    return parser


def opened_bundle(args: argparse.Namespace) -> Bundle:
    """The bundle that the flags name. Raises BundleError.

    With `--catalog`, a worker that starts again gets the catalog that its front uses, whatever the items are by then.
    """
    return Bundle.open(args.bundle, args.catalog if args.catalog and args.catalog.is_file() else None)


def memory_plan(text: str) -> dict[int | str, int | str]:
    """Accelerate's `max_memory` from JSON such as `{"0": "20GiB", "cpu": "64GiB"}`."""
    try:
        plan = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"not JSON: {error}") from error
    if not isinstance(plan, dict) or not all(isinstance(size, int | str) for size in plan.values()):
        raise argparse.ArgumentTypeError(f"must be an object of device to bytes or to a size; given {text}")
    return {int(device) if device.isdigit() else device: size for device, size in plan.items()}


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1; given {text!r}")
    return value
