"""The arms that an evaluation compares: every verification with every draft, and generate."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import numpy.typing as npt
import torch

from sidebeam.bundle import Bundle, PromptBuilder, Tokenizer
from sidebeam.catalog import Catalog
from sidebeam.engine import DraftModel, Engine, Recommender, load_draft, load_target
from sidebeam.engine.loading import TREE_CELLS
from sidebeam.evaluation.arm import Answer, EngineArm, GenerateArm
from sidebeam.evaluation.arm_name import GENERATE, ArmName
from sidebeam.evaluation.error import EvaluationError
from sidebeam.evaluation.generate import GenerateBaseline
from sidebeam.evaluation.options import DRAFTS, Options
from sidebeam.models import ModelError
from sidebeam.search import DraftSettings, SearchRequest
from sidebeam.search.request import Sampling

Ints = npt.NDArray[np.int64]

PROBES = 16  # draws that an engine which samples will hardly ever answer alike
HOT = 1e4  # a temperature at which all candidates are about equally likely


@dataclass(frozen=True, slots=True)
class Contender:
    """An arm and its name; `seed` is that of user 0, None under strict verification."""

    name: ArmName
    arm: EngineArm | GenerateArm
    temperature: float = 1.0
    seed: int | None = None

    def answer(self, prompt: Ints, k: int, user: int) -> Answer:
        """Answer the prompt of the user with that number."""
        return self.arm(prompt, k) if isinstance(self.arm, GenerateArm) else self.arm(prompt, k, self._sampling(user))

    @property
    def learns(self) -> bool:
        """Whether what it drafts depends on earlier requests."""
        return isinstance(self.arm, EngineArm) and self.arm.learns

    def learn(self, prompts: Sequence[Ints], k: int, user: int) -> None:
        """Answer them all, sharing passes; they are of the users from that number on."""
        if isinstance(self.arm, EngineArm):
            self.arm.serve(prompts, k, [self._sampling(user + i) for i in range(len(prompts))])

    def _sampling(self, user: int) -> Sampling | None:
        """How relaxed verification draws for that user: the same with all drafts and at all widths."""
        return None if self.seed is None else Sampling(self.temperature, 0, self.seed + user)


class Lineup:
    """One target engine, the draft models by name, and generate if it takes part. Not thread-safe."""

    def __init__(
        self,
        recommender: Recommender,
        drafts: dict[str, DraftModel],
        generate: GenerateArm | None,
        model_draft: DraftSettings,
        options: Options,
    ) -> None:
        self.recommender = recommender
        self.model_draft = model_draft
        self._drafts = drafts
        self._generate = generate
        self._options = options
        self._budget = copy.deepcopy(recommender.engine.budget)  # as it was before anything was learned

    @classmethod
    def load(cls, bundle: Bundle, catalog: Catalog, tokenizer: Tokenizer, options: Options) -> Self:
        """Load all models. Raises EvaluationError or ModelError for one that does not fit."""
        _check_widths(catalog, options)
        model_draft = _model_draft(bundle, catalog, options)
        folders = options.draft_folders or ({"": bundle.draft} if bundle.draft else {})
        if not folders and "model" in (options.drafts or ()):
            raise EvaluationError("--drafts model needs a bundle with a [draft], or --draft-folder; given neither")
        device, dtype = options.device, options.dtype
        _check_device(device)
        engine = load_target(bundle, catalog, device=device, dtype=dtype, threads=options.threads)
        engine.warm_up()
        drafts = {}
        for name, folder in folders.items():
            origin = f"--draft-folder {name}" if name else "the bundle's [draft]"
            drafts[name] = _load_draft(origin, replace(bundle, draft=folder), engine, options)
        prompts = PromptBuilder(bundle.prompt, tokenizer, catalog)
        generate = None
        if options.generate:
            generate = GenerateArm(GenerateBaseline.load(bundle.target, catalog, device, dtype), catalog.depth)
        return cls(Recommender(engine, _first(drafts), prompts), drafts, generate, model_draft, options)

    def contenders(self) -> list[Contender]:
        """Fresh arms: none of them has learned anything, or met a user."""
        found = [] if self._generate is None else [Contender(GENERATE, self._generate)]
        for verification in self._options.verifications:
            seed = self._options.seed if verification == "relaxed" else None
            for draft, recommender, settings in self._drafters():
                recommender.engine.holding.budget = copy.deepcopy(self._budget)  # of which an arm takes its own copy
                name = ArmName(verification, draft)
                arm = EngineArm(name.label, recommender, settings)
                found.append(Contender(name, arm, self._options.temperature, seed))
        return found

    def _drafters(self) -> Iterator[tuple[str, Recommender, DraftSettings]]:
        """Every draft by name, who makes it, and how."""
        ours = self.recommender
        for draft in self._options.drafts or DRAFTS:
            if draft == "model":
                for name, model in self._drafts.items():
                    yield f"model {name}".strip(), Recommender(ours.engine, model, ours.prompts), self.model_draft
            elif draft == "catalog":
                yield draft, ours, DraftSettings("explicit", "catalog")
            else:
                yield draft, ours, DraftSettings("off" if draft == "off" else "auto")

    def check_sampling(self, prompt: Ints) -> None:
        """Raises EvaluationError if a hot request is answered alike whatever the seed: such an engine does not sample.

        What is reported as relaxed would otherwise be strict.
        """
        if "relaxed" not in self._options.verifications or self.recommender.engine.catalog.n_leaves == 1:
            return
        off = DraftSettings("off")
        requests = [SearchRequest(prompt, 1, draft=off, sampling=Sampling(HOT, 0, seed)) for seed in range(PROBES)]
        if len({int(result.leaves[0]) for result in self.recommender.search(requests)}) == 1:
            raise EvaluationError(
                f"--verification relaxed needs an engine that samples; {PROBES} seeds at temperature {HOT:g} drew one "
                "and the same item"
            )


def _first(drafts: dict[str, DraftModel]) -> DraftModel | None:
    """The one that auto may ask."""
    return next(iter(drafts.values()), None)


def _load_draft(origin: str, bundle: Bundle, engine: Engine, options: Options) -> DraftModel:
    try:
        draft = load_draft(bundle, engine.catalog, device=options.device, dtype=options.dtype)
    except ModelError as error:
        raise EvaluationError(f"{origin}: {error}") from error
    vocabulary = engine.describe().vocab_size
    if draft.vocab_size != vocabulary:
        raise EvaluationError(f"{origin} must have the target's {vocabulary} tokens; given one of {draft.vocab_size}")
    draft.warm_up()
    return draft


def _check_device(device: str) -> None:
    try:
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise EvaluationError(f"--device must be one that torch can use here; given {device!r}: {reason}") from error


def _check_widths(catalog: Catalog, options: Options) -> None:
    widest = options.widths[-1]
    if widest > catalog.n_items:
        raise EvaluationError(f"--top-k must be at most the catalog's {catalog.n_items} items; given {widest}")


def _model_draft(bundle: Bundle, catalog: Catalog, options: Options) -> DraftSettings:
    """N and γ of the draft models."""
    longest = max(1, catalog.depth - 1)
    length = options.draft_length or longest
    if length > longest:
        raise EvaluationError(f"--draft-length must be at most {longest}, the SIDs' length less one; given {length}")
    beams, most = options.draft_beams or bundle.defaults.draft_beams, TREE_CELLS // longest
    if beams > most:
        raise EvaluationError(f"--draft-beams must be at most {most}, what a KV slot holds; given {beams}")
    return DraftSettings("explicit", "model", beams, length)
