"""`sidebeam check`: says whether a bundle can be served, before anybody waits for an answer from it."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sidebeam.bundle import Bundle, BundleError, PromptBuilder, Tokenizer, open_catalog
from sidebeam.catalog import Catalog

if TYPE_CHECKING:
    from sidebeam.engine import Recommender

SUMMARY = "say whether a bundle can be served, and how fast a pass is"

SAMPLE_K = 5  # beams of the sample request that is compared with generate


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `sidebeam check`."""
    parser.add_argument("--bundle", type=Path, required=True, metavar="DIR")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, metavar="N")


def run(args: argparse.Namespace) -> int:
    """0 if the bundle is good; 2 with every problem on a line of its own."""
    os.environ.setdefault("OMP_NUM_THREADS", str(args.threads))
    try:
        bundle = Bundle.open(args.bundle)
        tokenizer = Tokenizer.open(bundle.tokenizer)
        catalog = open_catalog(bundle, tokenizer)
    except BundleError as error:
        return _refuse(error.problems)
    except (OSError, ValueError) as error:
        return _refuse([str(error)])
    collisions = catalog.n_items - catalog.n_leaves
    _good(
        "catalog",
        f"{catalog.n_items:,} items, {catalog.n_leaves:,} SIDs of {catalog.depth} tokens, version "
        f"{catalog.version}" + (f"; {collisions} items share the SID of another" if collisions else ""),
    )
    return _check_models(bundle, tokenizer, catalog, args.threads)


def _check_models(bundle: Bundle, tokenizer: Tokenizer, catalog: Catalog, threads: int) -> int:
    from sidebeam.engine import Recommender
    from sidebeam.models import ModelError

    try:
        recommender = Recommender.load(bundle.root, threads=threads, slots=1)
        info = recommender.engine.describe()
        problems = _prompt_problems(bundle, recommender.prompts, tokenizer, catalog, info.max_prompt_tokens)
        if problems:
            return _refuse(problems)
        _good("target", f"vocabulary {info.vocab_size:,}, prompts up to {info.max_prompt_tokens} tokens")
        _good(
            "pass time", ", ".join(f"{rows} rows {ns / 1e6:.1f} ms" for rows, ns in info.curve if rows in (1, 32, 128))
        )
        _good("draft", "loaded" if recommender.draft else "none; auto drafts from memory and catalog")
        if bundle.scoring == "raw" and catalog.n_leaves >= SAMPLE_K:
            _compare_with_generate(recommender, bundle, catalog)
    except ModelError as error:
        return _refuse([str(error)])
    except AssertionError as error:
        return _refuse([f"sample request: {error}"])
    print(f"{bundle.root} can be served:  sidebeam serve --bundle {bundle.root}")
    return 0


def _prompt_problems(
    bundle: Bundle, prompts: PromptBuilder, tokenizer: Tokenizer, catalog: Catalog, longest: int
) -> list[str]:
    """A full history must fit, and the front's tokenizer must agree with transformers'."""
    from transformers import AutoTokenizer

    items = [i % catalog.n_items for i in range(bundle.prompt.max_history)]
    tokens = prompts.from_items(items)
    problems = []
    if len(tokens) > longest:
        problems.append(
            f"prompt.max_history: {bundle.prompt.max_history} items make {len(tokens)} tokens; the target "
            f"takes {longest}"
        )
    library = AutoTokenizer.from_pretrained(bundle.tokenizer, local_files_only=True, trust_remote_code=False)
    text = bundle.prompt.template.replace("{history}", "".join(prompts.spell(catalog.sid_of(0))))
    if list(library(text)["input_ids"]) != tokenizer.encode(text):
        problems.append(
            "tokenizer: tokenizer.json alone and transformers' AutoTokenizer tokenize a prompt differently; "
            "save the tokenizer with save_pretrained once more"
        )
    return problems


def _compare_with_generate(recommender: Recommender, bundle: Bundle, catalog: Catalog) -> None:
    import numpy as np

    from sidebeam.evaluation.generate import GenerateBaseline
    from sidebeam.search import SearchRequest

    prompt = np.array(recommender.prompts.from_items([0]), np.int64)
    (ours,) = recommender.search([SearchRequest(prompt, SAMPLE_K)])
    leaves, log_probs = GenerateBaseline.load(bundle.target, catalog)(prompt, SAMPLE_K)
    if np.abs(ours.log_probs - log_probs).max() > 1e-4:
        raise AssertionError(f"log-probs {ours.log_probs.tolist()} differ from generate's {log_probs.tolist()}")
    if ours.leaves.tolist() != leaves:
        raise AssertionError(f"items {ours.leaves.tolist()} differ from generate's {leaves}")
    _good("sample", f"the {SAMPLE_K} best items equal transformers generate's")


def _refuse(problems: list[str]) -> int:
    for problem in problems:
        print(f"  bad  {problem}", file=sys.stderr)
    print(f"sidebeam check: {len(problems)} problem{'s' if len(problems) > 1 else ''}", file=sys.stderr)
    return 2


def _good(part: str, text: str) -> None:
    print(f"  ok   {part}: {text}")
