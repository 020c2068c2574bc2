"""The folder of the workers' Unix sockets: the owner's alone, and gone when the front is."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "sidebeam-run-"
LONGEST = 70  # a socket's whole path may have 107 characters

OTHERS = stat.S_IWGRP | stat.S_IWOTH

LOCK = "lock"  # held by the front whose folder it is, as long as it lives
SETTLED_S = 60.0  # a folder of this age without a lock is nobody's: its front ended between making the two


class SocketFolderError(RuntimeError):
    """Sockets cannot be made in a folder, or would not be safe there; the message names it."""


@contextmanager
def socket_folder() -> Iterator[Path]:
    """A fresh folder of mode 0700 below $TMPDIR, by default /tmp. Raises SocketFolderError.

    Folders that killed fronts of this user left behind are removed on the way. Whose front lives, its lock tells and
    not a process number: in containers that share a volume, numbers mean nothing to one another.
    """
    try:
        root = Path(tempfile.gettempdir())
        if len(str(root)) > LONGEST:
            root = Path("/tmp")
        refuse_unsafe(root)
        for folder in root.glob(f"{PREFIX}*"):
            if _is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=root))
        lock = _lock(folder)
    except OSError as error:
        raise SocketFolderError(f"no folder for the workers' sockets; TMPDIR can name another: {error}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


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


def _lock(folder: Path) -> int:
    """A descriptor that holds the folder's lock. Raises BlockingIOError where somebody else does."""
    file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        raise
    return file


def _is_abandoned(folder: Path) -> bool:
    try:
        status = folder.lstat()
        if status.st_uid != os.getuid() or not stat.S_ISDIR(status.st_mode):
            return False
        if not (folder / LOCK).exists():
            return time.time() - status.st_mtime > SETTLED_S
        os.close(_lock(folder))
    except OSError:
        return False
    return True
