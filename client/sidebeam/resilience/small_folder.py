"""A folder for a sidecar's sockets that can be full: a file system of its own with few inodes."""

from __future__ import annotations

import errno
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

INODES = 64
MOUNT = f'mount -t tmpfs -o nr_inodes={INODES},mode=0700 tmpfs "$0" && exec "$@"'
FILLER = "full-"
WAYS = (("unshare", "--mount"), ("unshare", "--user", "--map-root-user", "--mount"))


class NoSmallFolderError(Exception):
    """This host lets nobody mount one."""


class SmallFolder:
    """Seen only by a process that `inside` starts, and gone with it. Raises NoSmallFolderError."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="small-")
        self.path = Path(self._folder.name)
        try:
            self.inside: Sequence[str] = (*_way(self.path), "sh", "-c", MOUNT, str(self.path))
        except NoSmallFolderError:
            self._folder.cleanup()
            raise

    def __enter__(self) -> SmallFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def fill(self, pid: int) -> None:
        """Leave no room for a file in the folder as the process of that number sees it."""
        folder = self._as_seen_by(pid)
        try:
            for number in range(INODES + 1):
                (folder / f"{FILLER}{number}").touch()
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise

    def free(self, pid: int) -> None:
        """Make room again."""
        for file in self._as_seen_by(pid).glob(f"{FILLER}*"):
            file.unlink()

    def drop(self, pid: int, path: str) -> None:
        """Remove the file that the process knows by `path`."""
        Path(f"/proc/{pid}/root{path}").unlink(missing_ok=True)

    def _as_seen_by(self, pid: int) -> Path:
        return Path(f"/proc/{pid}/root{self.path}")


def _way(folder: Path) -> Sequence[str]:
    said = ""
    for way in WAYS:
        command = [*way, "sh", "-c", MOUNT, str(folder), "true"]
        try:
            tried = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        except OSError as error:
            said = f"{error.filename}: {error.strerror}"
            continue
        if not tried.returncode:
            return way
        said = tried.stderr.strip()
    user = "root" if not os.geteuid() else f"user {os.geteuid()}"
    raise NoSmallFolderError(f"{user} may mount nothing here: {said}")
