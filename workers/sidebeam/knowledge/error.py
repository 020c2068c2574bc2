"""The errors of this package."""

from __future__ import annotations

import os
from pathlib import Path


class KnowledgeError(Exception):
    """What the user gave cannot be used. The message names the file, the place in it, the value and the limit."""


class PoolError(KnowledgeError):
    """A pool cannot be read, or must not be: damaged, cut short, of another tokenizer, or being written by another."""


def named(error: BaseException, path: Path) -> BaseException:
    """The same error; one of the disk, which knows no file where a write failed, then names this one."""
    if isinstance(error, OSError) and error.filename is None and error.errno is not None:
        return OSError(error.errno, os.strerror(error.errno), str(path))
    return error
