"""The files of a policy as they were at one moment, handed from process to process.

A policy is many files: parts, lists, cases, keys. All workers must run the same one, a worker that is started later
too, whatever became of the files meanwhile. So one process reads them, through a :class:`Recorder`, and what it read
is the :class:`Snapshot` that all others read instead of the disk. It travels as a sealed memory file
(memfd_create(2)), which nobody can change and which is gone with the last process that holds it; it may hold secrets,
and no path leads to it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from mailguard.files import MAX_FILE, read
from mailguard.positions import Problem, Problems, Text

_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Files(Protocol):
    """Where files are read."""

    def read(self, path: Path, limit: int = MAX_FILE) -> Text:
        """As :func:`mailguard.files.read`."""

    def names(self, folder: Path) -> list[str] | None:
        """The names in ``folder``, in order; None where nothing is there.

        Raises:
            OSError: it cannot be read.
        """

    def exists(self, path: Path) -> bool:
        """Whether there is something of this name."""


class Disk:
    """The files as they are now."""

    def read(self, path: Path, limit: int = MAX_FILE) -> Text:
        """The text of the file."""
        return read(path, limit)

    def names(self, folder: Path) -> list[str] | None:
        """The names in the folder."""
        return sorted(entry.name for entry in folder.iterdir()) if self.exists(folder) else None

    def exists(self, path: Path) -> bool:
        """Whether there is something of this name, if only a link that leads nowhere."""
        return os.path.lexists(path)


DISK: Final = Disk()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was read: texts and folders by path, and which paths there were."""

    texts: Mapping[str, str] = field(default_factory=dict, repr=False)
    folders: Mapping[str, list[str] | None] = field(default_factory=dict)
    paths: Mapping[str, bool] = field(default_factory=dict)

    def read(self, path: Path, limit: int = MAX_FILE) -> Text:
        """The text that was read; ``limit`` was kept then.

        Raises:
            Problems: it was not.
        """
        if (text := self.texts.get(str(path))) is None or len(text.encode()) > limit:
            raise Problems([Problem(str(path), 1, 1, "this file is not in the snapshot of the policy")])
        return Text(str(path), text)

    def names(self, folder: Path) -> list[str] | None:
        """The names that stood in the folder."""
        return self.folders.get(str(folder))

    def exists(self, path: Path) -> bool:
        """Whether there was something of this name."""
        return self.paths.get(str(path), False)

    @property
    def sources(self) -> list[str]:
        """Every path that was looked at, whether something was there or not."""
        return sorted({*self.texts, *self.folders, *self.paths})

    def descriptor(self) -> int:
        """A sealed memory file that holds it; the caller's to close."""
        octets = json.dumps({"texts": self.texts, "folders": self.folders, "paths": self.paths}).encode()
        made = os.memfd_create("mailguard policy", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        with os.fdopen(made, "wb", closefd=False) as file:
            file.write(octets)
        fcntl.fcntl(made, fcntl.F_ADD_SEALS, _SEALS)
        return made

    @classmethod
    def of(cls, descriptor: int) -> Snapshot:
        """What stands in the memory file ``descriptor``, which stays open, and is read from its beginning."""
        parts: dict[str, Any] = json.loads(os.pread(descriptor, os.fstat(descriptor).st_size, 0))
        return cls(**parts)


class Recorder:
    """Reads the disk, and remembers what it read. Attributes: ``snapshot``: that."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._folders: dict[str, list[str] | None] = {}
        self._paths: dict[str, bool] = {}
        self.snapshot = Snapshot(self._texts, self._folders, self._paths)

    def read(self, path: Path, limit: int = MAX_FILE) -> Text:
        """The text of the file; it is read once, however often it is asked for."""
        if str(path) not in self._texts:
            self._texts[str(path)] = DISK.read(path, limit).text
        return self.snapshot.read(path, limit)

    def names(self, folder: Path) -> list[str] | None:
        """The names in the folder."""
        return self._folders.setdefault(str(folder), DISK.names(folder))

    def exists(self, path: Path) -> bool:
        """Whether there is something of this name."""
        return self._paths.setdefault(str(path), DISK.exists(path))
