"""Reads spamd's live rule folders, so that what a rule may look at is derived from the rules that are in force.

As SpamAssassin does (Mail::SpamAssassin::_get_cf_pre_files_in_dir): of each folder the ``*.pre``, then the ``*.cf``
files in the order of their names, with the files that they include. Folders in the order given: the distributed rules
(``/var/lib/spamassassin/VERSION`` after sa-update, else ``/usr/share/spamassassin``), then the site's
(``/etc/spamassassin``).

Whatever lies in such a folder, or is named by an ``include``, costs a bounded time and a bounded memory: only regular
files are read (behind a symbolic link too), opened without waiting, as far as the bounds below allow and no octet
further, whatever size they claim to have.

Blocking: some megabytes; give it to a thread. Failure: :class:`RulesUnreadable`; half a set of rules is worse than
none, for a redefinition might be in the other half.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Final

from mailguard.spamrules.definitions import RuleFile, includes

MAX_SIZE: Final = 16 * 1024 * 1024
"""Octets of all files together, each time that one is included counted; SpamAssassin's own rules have two million."""

MAX_FILES: Final = 10_000
"""Files together, and names in one folder; SpamAssassin's own rules have seventy."""

MAX_DEPTH: Final = 5
"""Files that include each other."""


class RulesUnreadable(Exception):
    """The rule files cannot be read whole; the text names the file."""


def read_rule_dirs(folders: Sequence[Path]) -> list[RuleFile]:
    """The rule files of ``folders`` in load order, named relative to their folder.

    Raises:
        RulesUnreadable: a folder or file cannot be read or is none, there are no rules, or too many.
    """
    reader = _Reader()
    for path, name in _paths(folders):
        reader.add(path, name)
    if not reader.found:
        raise RulesUnreadable("no rule files in " + ", ".join(map(str, folders)))
    return reader.found


def _paths(folders: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    for folder in folders:
        names = _names(folder)
        for suffix in (".pre", ".cf"):
            yield from ((folder / name, name) for name in names if name.endswith(suffix) and not name.startswith("."))


def _names(folder: Path) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in islice(entries, MAX_FILES + 1)]
    except OSError as error:
        raise RulesUnreadable(f"{folder}: {error.strerror}") from error
    if len(names) > MAX_FILES:
        raise RulesUnreadable(f"{folder}: more than {MAX_FILES} files")
    return sorted(names)


class _Reader:
    """The files read so far, and the room that they leave for more."""

    def __init__(self) -> None:
        self.found: list[RuleFile] = []
        self._room = MAX_SIZE

    def add(self, path: Path, name: str, depth: int = 0) -> None:
        """Read one file and those that it includes."""
        if len(self.found) == MAX_FILES:
            raise RulesUnreadable(f"{path}: more than {MAX_FILES} files of rules")
        octets = _octets(path, self._room + 1)
        if len(octets) > self._room:
            raise RulesUnreadable(f"{path}: more than {MAX_SIZE} octets of rules")
        self._room -= len(octets)
        file = RuleFile(name, octets.decode("latin-1"))
        self.found.append(file)
        for included in includes(file):
            if depth == MAX_DEPTH:
                raise RulesUnreadable(f"{path}: files include each other too deep")
            self.add(path.parent / included, included, depth + 1)


def _octets(path: Path, count: int) -> bytes:
    """The first ``count`` octets of a regular file, read without ever waiting for another process (open(2))."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise RulesUnreadable(f"{path}: no regular file")
            return file.read(count)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name of an included file
        raise RulesUnreadable(f"{path}: {getattr(error, 'strerror', None) or error}") from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
