"""The folder of the workers' Unix sockets: the owner's alone, and gone when the front is."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "sidebeam-"
LONGEST = 80  # a socket's whole path may have 107 characters

OTHERS = stat.S_IWGRP | stat.S_IWOTH

_OWNER = re.compile(rf"{PREFIX}(\d+)-")


class SocketFolderError(RuntimeError):
    """Sockets cannot be made in a folder, or would not be safe there; the message names it."""


@contextmanager
def socket_folder() -> Iterator[Path]:
    """A fresh folder of mode 0700 below $TMPDIR, by default /tmp. Raises SocketFolderError.

    Folders that killed fronts of this user left behind are removed on the way.
    """
    try:
        root = Path(tempfile.gettempdir())
        if len(str(root)) > LONGEST:
            root = Path("/tmp")
        refuse_unsafe(root)
        for folder in root.glob(f"{PREFIX}*"):
            if _is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=root))
    except OSError as error:
        raise SocketFolderError(f"no folder for the workers' sockets; TMPDIR can name another: {error}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def refuse_unsafe(folder: Path) -> None:
    """Raises SocketFolderError if another user could put a socket of theirs in the place of one of ours.

    A volume that root has mounted with mode 0777, as Kubernetes does, is taken: who shares it was root's choice.
    """
    try:
        status = folder.stat()
    except OSError as error:
        raise SocketFolderError(f"{folder}: {error.strerror}") from error
    if not stat.S_ISDIR(status.st_mode):
        raise SocketFolderError(f"{folder} is not a folder")
    if status.st_uid not in (0, os.getuid()):
        raise SocketFolderError(f"{folder} belongs to another user, number {status.st_uid}; it must be ours or root's")
    if status.st_mode & OTHERS and not status.st_mode & stat.S_ISVTX and not (status.st_uid == 0 and folder.is_mount()):
        mode = stat.S_IMODE(status.st_mode)
        raise SocketFolderError(f"{folder} has mode {mode:04o}: others may replace what is in it (chmod go-w, or +t)")


def _is_abandoned(folder: Path) -> bool:
    """To be asked before this process makes a folder of its own."""
    owner = _OWNER.match(folder.name)
    try:
        if owner is None or folder.lstat().st_uid != os.getuid():
            return False
        if int(owner[1]) == os.getpid():  # in a container each front has the number of the one before it
            return True
        os.kill(int(owner[1]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
