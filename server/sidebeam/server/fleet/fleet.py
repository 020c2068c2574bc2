"""All workers of one front: local processes or remote addresses, and the links to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog

from sidebeam.bundle import Bundle
from sidebeam.cores import FRONT, target_threads, usable_cores
from sidebeam.server.config.config import Config, DraftConfig, TargetConfig
from sidebeam.server.fleet import draft_worker, replicas
from sidebeam.server.fleet.catalog_link import CatalogFile, CatalogLink
from sidebeam.server.fleet.draft_worker import DraftWorker
from sidebeam.server.fleet.learner import Learner
from sidebeam.server.fleet.replicas import Replicas, TargetReplica
from sidebeam.server.fleet.supervision import UNFIT, LocalWorker
from sidebeam.server.fleet.worker_link import WorkerLink
from sidebeam.server.lifecycle import background
from sidebeam.server.lifecycle.background import GiveUp
from sidebeam.worker.v1 import tree_pb2

TARGET = "sidebeam.workers.target"
DRAFT = "sidebeam.workers.draft"


class Fleet:
    """Entering it starts the workers, leaving it stops them. `draft` is None where drafts are off or have no model,
    `learner` where there are no pools, or nothing is drafted from them.

    Local workers listen in the folder `sockets`. `catalogs` returns the versions that requests may name, the current
    one first, and nothing for texts alone. `described` is told what each target holds, `changed` that some worker came
    or went.
    """

    def __init__(
        self,
        bundle: Bundle,
        config: Config,
        sockets: Path,
        catalogs: Callable[[], Sequence[CatalogFile]],
        tokenizer: str,
        pools: Path | None,
        described: Callable[[tree_pb2.WorkerInfo], None],
        changed: Callable[[], None],
        give_up: GiveUp,
    ) -> None:
        self._bundle = bundle
        self._config = config
        self._sockets = sockets
        self._catalogs = catalogs
        self._catalog_links: dict[str, CatalogLink] = {}  # by worker
        self._tokenizer = tokenizer
        self._pools = pools
        self._described = described
        self._changed = changed
        self._give_up = give_up
        self.vocab_size: int | None = None  # of the models, once a target was up
        self._threads = config.target.threads or target_threads(config.target.replicas, usable_cores())
        self._stack = AsyncExitStack()
        self._workers: dict[str, LocalWorker] = {}
        self._links = self._target_links()
        self.replicas = Replicas([TargetReplica(link) for link in self._links])
        self.draft_link = draft = self._draft_link()
        self.draft: DraftWorker | None = None
        self.learner: Learner | None = None
        if draft is not None:
            self._links.append(draft)
            if self._drafts_items or config.draft.address:
                self.draft = DraftWorker(draft)
            if pools is not None or (bundle.texts is not None and config.draft.address):
                self.learner = Learner(draft)

    async def __aenter__(self) -> Self:
        for link in self._links:
            worker = self._workers.get(link.name)
            self._stack.push_async_callback(link.close)
            if worker is not None:
                self._stack.push_async_callback(worker.stop)
                self._spawn(f"supervision of {link.name}", worker.run())
            self._spawn(f"watching {link.name}", link.watch(_ignore if worker is None else worker.kill))
        self._stack.callback(self.replicas.close)
        if self.learner is not None:
            self._stack.push_async_callback(self.learner.close)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    @property
    def links(self) -> Sequence[WorkerLink]:
        """To all workers, targets first."""
        return self._links

    @property
    def _drafts_items(self) -> bool:
        """Whether the bundle's draft model is of use."""
        return self._bundle.draft is not None and self._bundle.items is not None

    @property
    def has_spare_cores(self) -> bool:
        """Whether the draft worker can run beside the target workers without taking their cores, or the front's."""
        target, draft = self._config.target, self._config.draft
        if target.addresses or draft.address or target.device != "cpu" or draft.device != "cpu":
            return True
        return self._threads * target.replicas + draft.threads + FRONT <= usable_cores()

    def slots(self) -> int:
        """How many requests the target workers that are up hold at once; before any is up, what is asked of them."""
        up = sum(replica.link.info.slots for replica in self.replicas if replica.link.info is not None)
        return up or self._config.target.slots * self._config.target.replicas

    async def open_catalog(self, file: CatalogFile) -> None:
        """Have all workers that are ready hold a version; it is true in the moment in which this returns.

        Raises CatalogRefused if one of them does not take it; the others have it in vain, then, until it is closed.
        """
        while missing := [each for each in self._catalog_links.values() if each.lacks(file.version)]:
            outcomes = await asyncio.gather(*(each.open(file) for each in missing), return_exceptions=True)
            for error in outcomes:
                if error is not None:
                    raise error

    async def close_catalog(self, version: str) -> None:
        """Have all workers let a version go."""
        await asyncio.gather(*(each.close(version) for each in self._catalog_links.values()))

    def kill(self) -> None:
        """End all local workers at once."""
        for worker in self._workers.values():
            worker.kill()

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        self._stack.push_async_callback(_cancelled, background.begin(name, work, self._give_up))

    def _target_links(self) -> list[WorkerLink]:
        settings = self._config.target
        addresses = settings.addresses or [f"unix:{self._sockets}/target-{i}.sock" for i in range(settings.replicas)]
        links = [
            WorkerLink(
                f"target-{i}", address, replicas.SERVICE, self._config.supervision, self._accept_target, self._update
            )
            for i, address in enumerate(addresses)
        ]
        self._catalog_links |= {link.name: CatalogLink(link, replicas.SERVICE, self._catalogs) for link in links}
        arguments = [*self._arguments(settings, self._threads), "--draft-wait-ms", str(settings.draft_wait_ms)]
        if settings.max_prompt_tokens:
            arguments += ["--max-prompt-tokens", str(settings.max_prompt_tokens)]
        if settings.max_memory:
            arguments += ["--max-memory", settings.max_memory]
        if not settings.addresses:
            for link in links:
                self._employ(TARGET, arguments, self._threads, link, needed=True)
        return links

    def _draft_link(self) -> WorkerLink | None:
        settings = self._config.draft
        if settings.mode == "off" or not (self._drafts_items or self._pools or settings.address):
            return None
        address = settings.address or f"unix:{self._sockets}/draft.sock"
        link = WorkerLink(
            "draft", address, draft_worker.SERVICE, self._config.supervision, self._accept_draft, self._changed
        )
        self._catalog_links[link.name] = CatalogLink(link, draft_worker.SERVICE, self._catalogs)
        if not settings.address:
            arguments = [*self._arguments(settings, settings.threads), "--nice", str(settings.nice)]
            self._employ(DRAFT, arguments, settings.threads, link, needed=False)
        return link

    def _employ(self, module: str, arguments: list[str], threads: int, link: WorkerLink, *, needed: bool) -> None:
        self._workers[link.name] = LocalWorker(
            module,
            lambda: [*arguments, *self._catalog_argument()],
            threads,
            link,
            self._config.supervision,
            needed,
            self._give_up,
        )

    def _catalog_argument(self) -> list[str]:
        """A worker that starts again comes up with what is current by then, whatever the bundle's items are."""
        return ["--catalog", str(file.path)] if (file := next(iter(self._catalogs()), None)) and file.path else []

    def _arguments(self, settings: TargetConfig | DraftConfig, threads: int) -> list[str]:
        log = self._config.log
        return [
            *("--bundle", str(self._bundle.root), "--lifeline"),
            *("--threads", str(threads), "--slots", str(settings.slots)),
            *("--device", settings.device, "--dtype", settings.dtype),
            *("--log-format", log.format, "--log-level", log.level),
            *(("--pools", str(self._pools)) if self._pools else ()),
            *(("--traces", self._config.telemetry.traces) if self._config.telemetry.traces else ()),
        ]

    def _update(self) -> None:
        self.replicas.update()
        self._changed()

    async def _accept_target(self, name: str, info: tree_pb2.WorkerInfo) -> bool:
        if self._bundle.texts is not None and not self._is_same_tokenizer(name, info):
            return False
        if self.vocab_size not in (None, info.vocab_size):
            structlog.get_logger().error("other_vocabulary", worker=name, size=info.vocab_size, ours=self.vocab_size)
            return False
        if not await self._catalog_links[name].bring(info):
            return False
        self.vocab_size = info.vocab_size
        self._described(info)
        return True

    async def _accept_draft(self, name: str, info: tree_pb2.WorkerInfo) -> bool:
        if self.learner is not None and info.HasField("texts") and not self._is_same_tokenizer(name, info):
            return False
        if not info.vocab_size:  # it has no draft model: there is nothing to compare
            return True
        if self.vocab_size is None:
            return False
        if info.vocab_size != self.vocab_size:
            self._give_up(
                f"the draft has a vocabulary of {info.vocab_size} tokens, the target one of {self.vocab_size}; "
                "they must share one (--draft off serves without the draft)",
                UNFIT,
            )
            return False
        return await self._catalog_links[name].bring(info)

    def _is_same_tokenizer(self, name: str, info: tree_pb2.WorkerInfo) -> bool:
        if info.texts.tokenizer == self._tokenizer:
            return True
        structlog.get_logger().error(
            "other_tokenizer", worker=name, fingerprint=info.texts.tokenizer, ours=self._tokenizer
        )
        return False


def _ignore() -> None:
    """Nothing can be done here about a remote worker that hangs."""


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
