"""Compiles a catalog in a process of its own: reading a large file of items holds Python up for seconds.

`python -m sidebeam.bundle.compiler` prints one JSON object: the `path` of the compiled file, or the `problems`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from sidebeam.bundle.bundle import Bundle, BundleError, Defaults
from sidebeam.bundle.compiled import compiled_catalog
from sidebeam.bundle.prompt import PromptFormat
from sidebeam.bundle.tokenizer import Tokenizer
from sidebeam.cores import give_way

NICE = 10  # nobody waits for a new catalog, and requests need the cores


async def compile_apart(bundle: Bundle, spare: Path) -> Path:
    """What `compiled_catalog` does, without holding up this process. Raises BundleError; OSError without a process."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sidebeam.bundle.compiler"),
        *("--root", str(bundle.root), "--items", str(bundle.items), "--tokenizer", str(bundle.tokenizer)),
        *("--spare", str(spare)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        said, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
    try:
        told = json.loads(said)
    except ValueError:
        raise BundleError(bundle.root, [f"its catalog's compiler ended with code {process.returncode}"]) from None
    if "path" in told:
        return Path(told["path"])
    raise BundleError(bundle.root, told["problems"])


def main(argv: Sequence[str] | None = None) -> int:
    """Returns 0 whether there is a path or there are problems: both are told."""
    parser = argparse.ArgumentParser(prog="sidebeam.bundle.compiler", description="Compile a bundle's catalog.")
    for name in ("root", "items", "tokenizer", "spare"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args(argv)
    give_way(NICE)
    # As far as a catalog goes: what sidebeam.toml says by now is not what the asker runs with.
    bundle = Bundle(
        root=args.root,
        target=args.tokenizer,
        draft=None,
        tokenizer=args.tokenizer,
        items=args.items,
        scoring="raw",
        prompt=PromptFormat(),
        defaults=Defaults(),
    )
    try:
        path = compiled_catalog(bundle, Tokenizer.open(bundle.tokenizer), args.spare)
    except BundleError as error:
        told: dict[str, object] = {"problems": error.problems}
    except (OSError, ValueError) as error:
        told = {"problems": [str(error)]}
    else:
        told = {"path": str(path)} if path else {"problems": ["no folder takes the compiled catalog; a full disk?"]}
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main())
