"""What a worker process is: Sidebeam's version, what computes, and where."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Identity:
    """As `WorkerInfo` tells it."""

    version: str
    runtime: str
    device: str

    @classmethod
    def on(cls, device: str) -> Self:
        """That of this process, whose model is on `device`."""
        return cls(importlib.metadata.version("sidebeam"), f"torch {importlib.metadata.version('torch')}", device)
