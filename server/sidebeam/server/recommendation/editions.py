"""The editions in use: the one that new requests get, and older ones until their last request has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from sidebeam.server.fleet.catalog_link import CatalogFile
from sidebeam.server.recommendation.edition import Edition


class Editions:
    """`left`, once it is set, is called with each edition that is neither current nor in use any more."""

    def __init__(self, first: Edition) -> None:
        self.current = first
        self.left: Callable[[Edition], None] = lambda edition: None
        self._users: dict[Edition, int] = {first: 0}

    def __len__(self) -> int:
        return len(self._users)

    @property
    def files(self) -> Sequence[CatalogFile]:
        """What the workers must hold, the current version first."""
        return [self.current.file, *(each.file for each in self._users if each is not self.current)]

    def find(self, version: str) -> Edition | None:
        """The edition of that version, if it is in use."""
        return next((each for each in self._users if each.catalog.version == version), None)

    @contextmanager
    def used(self, edition: Edition) -> Iterator[None]:
        """Keep an edition for the length of the block."""
        self._users[edition] += 1
        try:
            yield
        finally:
            self._users[edition] -= 1
            self._clear(edition)

    def switch(self, edition: Edition) -> None:
        """Give this one to all requests from now on."""
        before, self.current = self.current, edition
        self._users.setdefault(edition, 0)
        self._clear(before)

    def _clear(self, edition: Edition) -> None:
        if edition is not self.current and not self._users[edition]:
            del self._users[edition]
            self.left(edition)
