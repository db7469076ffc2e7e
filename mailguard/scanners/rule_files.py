"""Reads spamd's live rule folders, so that what a rule may look at is derived from the rules that are in force.

As SpamAssassin does (Mail::SpamAssassin::_get_cf_pre_files_in_dir): of each folder the ``*.pre``, then the ``*.cf``
files in the order of their names, with the files that they include. Folders in the order given: the distributed rules
(``/var/lib/spamassassin/VERSION`` after sa-update, else ``/usr/share/spamassassin``), then the site's
(``/etc/spamassassin``).

Blocking: some megabytes; give it to a thread. Failure: :class:`RulesUnreadable`; half a set of rules is worse than
none, for a redefinition might be in the other half.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from mailguard.spamrules.definitions import RuleFile, includes

MAX_SIZE: Final = 64 * 1024 * 1024
"""Octets of all files together; SpamAssassin's own rules have two million."""

MAX_DEPTH: Final = 5
"""Files that include each other."""


class RulesUnreadable(Exception):
    """The rule files cannot be read whole; the text names the file."""


def read_rule_dirs(folders: Sequence[Path]) -> list[RuleFile]:
    """The rule files of ``folders`` in load order, named relative to their folder.

    Raises:
        RulesUnreadable: a folder or file cannot be read, holds no rules, or is too large.
    """
    found: list[RuleFile] = []
    room = MAX_SIZE
    for path, name in _paths(folders):
        for file in _read(path, name, 0, room):
            room -= len(file.text)
            found.append(file)
    if not found:
        raise RulesUnreadable("no rule files in " + ", ".join(map(str, folders)))
    return found


def _paths(folders: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    for folder in folders:
        try:
            names = sorted(path.name for path in folder.iterdir())
        except OSError as error:
            raise RulesUnreadable(f"{folder}: {error.strerror}") from error
        for suffix in (".pre", ".cf"):
            yield from ((folder / name, name) for name in names if name.endswith(suffix) and not name.startswith("."))


def _read(path: Path, name: str, depth: int, room: int) -> Iterator[RuleFile]:
    try:
        if path.stat().st_size > room:
            raise RulesUnreadable(f"{path}: more than {MAX_SIZE} octets of rules")
        file = RuleFile(name, path.read_bytes().decode("latin-1"))
    except OSError as error:
        raise RulesUnreadable(f"{path}: {error.strerror}") from error
    yield file
    for included in includes(file):
        if depth == MAX_DEPTH:
            raise RulesUnreadable(f"{path}: files include each other too deep")
        yield from _read(path.parent / included, included, depth + 1, room - len(file.text))
