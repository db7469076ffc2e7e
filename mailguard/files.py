"""Reads the files that an administrator writes, and the settings as they are written; asks nothing of this machine.

Every file is read whole and once. Sizes are bounded (octets), since a path may point at anything. A file that cannot
be read, decoded or understood is a :class:`Problem` like any other mistake. Only regular files are read: opening or
reading a pipe or a device may wait for ever, and the running service reads these files too.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from mailguard.config import VARIABLE, Settings, secret_variables
from mailguard.positions import Document, Problem, Problems, Text, did_you_mean, parse, validate

_ENVIRONMENT: Final = "environment variable "
MAX_FILE: Final = 1024 * 1024
"""Octets of a settings or policy file."""


def read(path: Path, limit: int = MAX_FILE) -> Text:
    """The text of the file at ``path``, at the most ``limit`` octets of UTF-8.

    Raises:
        Problems: it cannot be read, is no regular file, is longer, or is no UTF-8.
    """
    try:
        with open(path, "rb", opener=_open_regular) as file:
            octets = file.read(limit + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Problems([Problem(str(path), 1, 1, f"this file cannot be read: {reason}")]) from error
    except ValueError as error:  # a NUL, or what UTF-8 cannot hold
        shown = str(path).encode("unicode_escape").decode("ascii")
        raise Problems([Problem(shown, 1, 1, "this cannot be the name of a file")]) from error
    if len(octets) > limit:
        raise Problems([Problem(str(path), 1, 1, f"this file is longer than {limit} octets")])
    return _decoded(path, octets)


def is_open(path: Path) -> bool:
    """Whether every user of this machine may read or write the file at ``path``; not where nothing can be told."""
    try:
        return bool(path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH))
    except OSError:
        return False


def _open_regular(path: str, flags: int) -> int:
    """Open a file without ever waiting for the other end of a pipe.

    Raises:
        OSError: it cannot be opened, or is no regular file.
    """
    descriptor = os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    raise OSError(errno.EINVAL, "it is no regular file")


def _decoded(path: Path, octets: bytes) -> Text:
    try:
        return Text(str(path), octets.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        shown = Text(str(path), octets.decode("utf-8", "replace"))
        before = octets[: error.start].decode("utf-8")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        problem = shown.problem(line, column, "this octet is no UTF-8", "save the file in UTF-8")
        raise Problems([problem]) from error


def read_settings(path: Path, environment: Mapping[str, str] = os.environ) -> tuple[Document, Settings]:
    """The settings in the file at ``path``, with where each stands; files of secrets as ``environment`` names them.

    Raises:
        Problems: everything that is wrong with how it is written.
    """
    document = _overridden(parse(read(path)), environment)
    return document, validate(document, Settings)


def variable_of(file: str) -> str:
    """The environment variable in which a place of a document is, by the name of its text; empty for a file."""
    return file.removeprefix(_ENVIRONMENT) if file.startswith(_ENVIRONMENT) else ""


def _overridden(document: Document, environment: Mapping[str, str]) -> Document:
    """``document`` with the files that variables of ``environment`` name.

    Raises:
        Problems: a variable looks like one of ours and is none; it would be passed over without a word.
    """
    known = secret_variables()
    ours = {name for name in environment if name.startswith(VARIABLE) and name.endswith("_FILE")}
    if unknown := sorted(ours - known.keys()):
        raise Problems(_unknown(name, known) for name in unknown)
    for name in sorted(ours):
        document = document.with_text(known[name], Text(_ENVIRONMENT + name, environment[name]))
    return document


def _unknown(name: str, known: Collection[str]) -> Problem:
    return Problem(_ENVIRONMENT + name, 1, 1, "no setting has this variable", did_you_mean(name, known))


def absolute(settings: Settings, folder: Path) -> Settings:
    """``settings`` with the paths that are relative to their file's ``folder`` made absolute."""
    return settings.model_copy(
        update={
            "policy": folder / settings.policy,
            "tls": settings.tls.within(folder),
            "backends": [backend.within(folder) for backend in settings.backends],
            "journal": settings.journal.within(folder),
            "log": settings.log.within(folder),
        }
    )
