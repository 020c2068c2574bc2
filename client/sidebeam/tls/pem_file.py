"""A file that a setting names."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sidebeam.tls.error import TlsError


@dataclass(frozen=True, slots=True)
class PemFile:
    """`setting` is what a user calls it: an option or a key of the configuration."""

    setting: str
    path: Path

    def __str__(self) -> str:
        return f"{self.setting} {self.path}"

    def read(self) -> bytes:
        """What the file holds. Raises TlsError if it cannot be read."""
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise self.error(error.strerror or str(error)) from error

    def error(self, problem: str) -> TlsError:
        """To be raised."""
        return TlsError(f"{self}: {problem}")
