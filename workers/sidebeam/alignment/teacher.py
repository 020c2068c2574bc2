"""Teacher data from our own engine: what the target says below every prompt that a student will be trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from sidebeam.alignment.origin import Origin
from sidebeam.alignment.records import Record, Records
from sidebeam.alignment.teacher_file import SPLITS, Shard, Split, TeacherFolder
from sidebeam.bundle import Bundle, PromptBuilder, Tokenizer, open_catalog
from sidebeam.catalog import ROOT, Catalog
from sidebeam.engine import Engine, load_target
from sidebeam.engine.ticket import Ticket
from sidebeam.models import ModelError
from sidebeam.models.loading import DType
from sidebeam.search import AcceptedBeams, SearchRequest, SearchResult
from sidebeam.training import History, Items, TrainingError, read_interactions
from sidebeam.training.error import first_line
from sidebeam.training.progress import ProgressBar

Ints = npt.NDArray[np.int64]

MOST_VALIDATED = 2000  # prompts: enough for a steady loss, and a small part of an epoch


@dataclass(frozen=True, slots=True)
class Question:
    """A user's latest items before `label`, oldest first; all are the catalog's item indices."""

    user: str
    history: tuple[int, ...]
    label: int


@dataclass(frozen=True, slots=True)
class TeacherJob:
    """Whom to ask about which users, how many beams, and where the answers go.

    `batch` prompts are in flight at once; it changes the speed only. `users` None: all of them.
    """

    bundle: Path
    interactions: Path
    out: Path
    top_k: int = 20
    batch: int = 16
    shard_size: int = 5000
    users: int | None = None
    threads: int | None = None
    device: str = "cpu"
    dtype: DType = "float32"
    resume: bool = False

    def __post_init__(self) -> None:
        for name in ("top_k", "batch", "shard_size", "users", "threads"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise TrainingError(f"--{name.replace('_', '-')} must be at least 1. Given: {value}")

    def run(self, bar: ProgressBar) -> TeacherFolder:
        """Asks the target, shard by shard. Raises `TrainingError`; whole shards stay, for a run with `resume`."""
        try:
            bundle = Bundle.open(self.bundle)
            tokenizer = Tokenizer.open(bundle.tokenizer)
            catalog = open_catalog(bundle, tokenizer)
        except (OSError, ValueError) as error:  # BundleError is one
            raise TrainingError(str(error)) from None
        questions = self._questions(bundle, catalog)
        run = {"users": self.users, "top_k": self.top_k, "shard_size": self.shard_size, "dtype": self.dtype}
        origin = Origin.of(bundle, catalog, self.interactions, **run)
        sizes = {split: len(questions[split]) for split in SPLITS}
        folder = TeacherFolder.begin(self.out, origin, sizes, resume=self.resume)
        if not folder.missing:
            return folder
        teacher = Teacher(self._engine(bundle, catalog), PromptBuilder(bundle.prompt, tokenizer, catalog))
        teacher.check([question for split in SPLITS for question in questions[split]])
        folder.save()
        total = sum(sizes.values())
        bar.begin("teacher", total, total - sum(shard.end - shard.first for shard in folder.missing))
        for shard in folder.missing:
            folder.add(shard, self._answers(teacher, questions[shard.split], shard, bar))
            bar.note(f"teacher: {shard.name}, {len(folder.missing)} shards to go, {bar.rate}")
        return folder

    def _engine(self, bundle: Bundle, catalog: Catalog) -> Engine:
        try:
            torch.zeros(1, device=self.device)
        except (RuntimeError, AssertionError) as error:  # the latter is what a torch without CUDA raises
            raise TrainingError(f"--device {self.device} cannot be used: {first_line(error)}") from None
        try:
            engine = load_target(
                bundle, catalog, device=self.device, dtype=self.dtype, threads=self.threads, slots=self.batch
            )
        except ModelError as error:
            raise TrainingError(str(error)) from None
        engine.warm_up()
        return engine

    def _questions(self, bundle: Bundle, catalog: Catalog) -> dict[Split, list[Question]]:
        histories = read_interactions(self.interactions, _items(catalog))[: self.users]
        longest = bundle.prompt.max_history
        train = [question for history in histories for question in training_questions(history, longest)]
        if not train:
            raise TrainingError(f"{self.interactions}: no user has two training items, so there is nothing to ask")
        valid = [question for history in histories for question in validation_questions(history, longest)]
        stride = -(-len(valid) // MOST_VALIDATED) or 1
        return {"train": train, "valid": valid[::stride]}

    def _answers(self, teacher: Teacher, questions: Sequence[Question], shard: Shard, bar: ProgressBar) -> Records:
        found: list[Record | None] = [None] * (shard.end - shard.first)
        asked = questions[shard.first : shard.end]
        for place, record in teacher.ask(asked, self.top_k, self.batch):
            if not np.isfinite(record.edges).all():
                raise TrainingError(f"user {asked[place].user}: the target's log-probs are not finite")
            found[place] = record
            bar.advance(1, "prompts/s")
        records = [record for record in found if record is not None]
        return Records.of(records, teacher.engine.catalog, teacher.engine.describe().vocab_size)


@dataclass(frozen=True, slots=True)
class Teacher:
    """A target's engine and the prompts it is served with."""

    engine: Engine
    prompts: PromptBuilder

    def check(self, questions: Sequence[Question]) -> None:
        """Raises `TrainingError` naming the user whose prompt the target cannot take."""
        most = self.engine.max_prompt_tokens
        longest = max(questions, key=lambda question: len(question.history))
        length = len(self.prompts.from_items(longest.history))
        if length > most:
            raise TrainingError(
                f"user {longest.user}: a prompt of {len(longest.history)} items has {length} tokens; the target "
                f"takes {most}. Lower prompt.max_history"
            )

    def ask(self, questions: Sequence[Question], top_k: int, batch: int) -> Iterator[tuple[int, Record]]:
        """Places of the questions and their records, in the order in which they are done; `batch` are in flight."""
        waiting = iter(enumerate(questions))
        open_: dict[Ticket, tuple[int, list[AcceptedBeams]]] = {}
        while True:
            while len(open_) < batch and (following := next(waiting, None)) is not None:
                place, question = following
                prompt = np.array(self.prompts.from_items(question.history), np.int64)
                open_[self.engine.open(SearchRequest(prompt, top_k))] = place, []
            if not open_:
                return
            for ticket, event in self.engine.step():
                place, beams = open_[ticket]
                if isinstance(event, AcceptedBeams):
                    beams.append(event)
                elif isinstance(event, SearchResult):
                    del open_[ticket]
                    yield place, _record(ticket, beams, questions[place].label)


def training_questions(history: History, longest: int) -> Iterator[Question]:
    """Each training item but the first, after at most `longest` earlier ones."""
    items = history.train
    for at in range(1, len(items)):
        yield Question(history.user, items[max(0, at - longest) : at], items[at])


def validation_questions(history: History, longest: int) -> Iterator[Question]:
    """Each validation item after at most `longest` earlier ones, validation items included."""
    items = (*history.train, *history.valid)
    for at in range(max(1, len(history.train)), len(items)):
        yield Question(history.user, items[max(0, at - longest) : at], items[at])


def _record(ticket: Ticket, beams: Sequence[AcceptedBeams], label: int) -> Record:
    """Reads the search's tree: everything the target was asked about the beams, and nothing of other drafted nodes."""
    tree, top_k = ticket.search.tree, ticket.request.top_k
    asked = np.concatenate([np.array([ROOT]), *(depth.nodes for depth in beams[:-1])])
    _, counts = tree.children(asked)
    edges = tree.score[tree.entries(asked)] - np.repeat(tree.scores_of(asked), counts)
    nodes = np.full((len(beams), top_k), ROOT, np.int64)
    scores = np.zeros((len(beams), top_k), np.float32)
    for row, depth in enumerate(beams):
        nodes[row, : len(depth.nodes)], scores[row, : len(depth.nodes)] = depth.nodes, depth.log_probs
    return Record(ticket.request.prompt, label, nodes, scores, edges)


def _items(catalog: Catalog) -> Items:
    """The catalog's items by their own indices, to read histories by."""
    ids = tuple(catalog.item_ids(np.arange(catalog.n_items)))
    return Items(ids, (), {item: index for index, item in enumerate(ids)})
