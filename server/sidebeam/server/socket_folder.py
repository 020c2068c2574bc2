"""The folder of the workers' Unix sockets: the owner's alone, and gone when the front is."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "sidebeam-"
LONGEST = 80  # a socket's whole path may have 107 characters

_OWNER = re.compile(rf"{PREFIX}(\d+)-")


@contextmanager
def socket_folder() -> Iterator[Path]:
    """A fresh folder of mode 0700; those that killed fronts of this user left behind are removed on the way."""
    root = Path(tempfile.gettempdir())
    if len(str(root)) > LONGEST:
        root = Path("/tmp")
    for folder in root.glob(f"{PREFIX}*"):
        if _is_abandoned(folder):
            shutil.rmtree(folder, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _is_abandoned(folder: Path) -> bool:
    owner = _OWNER.match(folder.name)
    try:
        if owner is None or folder.lstat().st_uid != os.getuid():
            return False
        os.kill(int(owner[1]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
