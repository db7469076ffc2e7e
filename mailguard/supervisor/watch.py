"""Whether the files of the policy have changed, by looking at them now and then (``processes.watch_interval``).

Off by default, for an editor may save a half of what is meant. So a change counts only once two looks in a row see the
same, and several files that are saved within that time are loaded together. A look costs one stat(2) a file; a change
that keeps size, time and inode is not seen. Blocking on a file system that hangs, which is why nobody has to use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

Seen: TypeAlias = tuple[tuple[int, int, int, int] | None, ...]


class FileWatch:
    """Watches ``paths``, files and folders, from how they are now."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = tuple(paths)
        self._loaded = self._last = self._look()

    def settled_change(self) -> bool:
        """Look again: whether they are other than at the beginning, and as they were at the look before."""
        before, self._last = self._last, self._look()
        return before == self._last != self._loaded

    def _look(self) -> Seen:
        return tuple(_seen(path) for path in self._paths)


def _seen(path: str) -> tuple[int, int, int, int] | None:
    """What changes with a file; None where there is none."""
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
