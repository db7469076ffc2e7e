"""The journal's folder, and every way to touch a file in it.

All is done through a descriptor of the folder, by plain names, and no symbolic link is followed: neither one that
stands where the folder should be nor one in it. Files are made afresh or not at all. Modes: the folder
:data:`FOLDER_MODE`, files :data:`FILE_MODE`, whatever the umask. Blocking; raises OSError.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

FOLDER_MODE: Final = 0o750
FILE_MODE: Final = 0o640

_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Folder:
    """One folder; it need not exist yet.

    Attributes:
        path: where it is.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        """Make it where it is missing; what it stands in must exist."""
        try:
            self.path.mkdir(mode=FOLDER_MODE)
        except FileExistsError:
            return
        self.path.chmod(FOLDER_MODE)

    @contextmanager
    def opened(self) -> Iterator[int]:
        """A descriptor of the folder."""
        descriptor = os.open(self.path, _FOLDER)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def names(self) -> list[str]:
        """The names of all that is in it, in order."""
        with self.opened() as folder:
            return sorted(os.listdir(folder))  # noqa: PTH208  of a descriptor

    def create(self, name: str) -> int:
        """A descriptor of a new file to append to."""
        with self.opened() as folder:
            descriptor = os.open(name, _CREATE, FILE_MODE, dir_fd=folder)
        os.fchmod(descriptor, FILE_MODE)
        return descriptor

    def read(self, name: str) -> int:
        """A descriptor of a regular file to read."""
        with self.opened() as folder:
            descriptor = os.open(name, _READ, dir_fd=folder)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", name)

    def status(self, name: str) -> os.stat_result:
        """Size and times of a file."""
        with self.opened() as folder:
            return os.stat(name, dir_fd=folder, follow_symlinks=False)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        with self.opened() as folder:
            try:
                os.unlink(name, dir_fd=folder)
            except FileNotFoundError:
                return

    def rename(self, old: str, new: str) -> None:
        """Put a file in the place of another, or of none."""
        with self.opened() as folder:
            os.rename(old, new, src_dir_fd=folder, dst_dir_fd=folder)

    def sync(self) -> None:
        """Have names that came and went survive a loss of power."""
        with self.opened() as folder:
            os.fsync(folder)


def why_unusable(path: Path) -> str:
    """Why no journal can be kept at ``path``; empty where it can. Makes nothing."""
    if path.is_symlink():
        return "it is a symbolic link: name the folder itself"
    there = path if path.exists() else path.parent
    if not there.is_dir():
        return f"{there} is no folder"
    return "" if os.access(there, os.R_OK | os.W_OK | os.X_OK) else f"{there} cannot be read and written by this user"
