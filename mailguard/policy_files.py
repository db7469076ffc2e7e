"""Reads the files that an admin writes: the settings, the policy, and the lists that the policy includes.

The only part of the policy that touches a disk. Every file is read once, whole, into a snapshot; what is compiled is
that snapshot, and its digest names it. Sizes are bounded (octets), since a path may point at anything. A file that
cannot be read, decoded or understood is a :class:`Problem` like any other mistake. Only regular files are read: opening
or reading a pipe or a device may wait for ever, and the running service reads these files too.
"""

from __future__ import annotations

import errno
import os
import stat
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from mailguard.config import Settings
from mailguard.facts import Source
from mailguard.policy.compiler import compile_policy
from mailguard.policy.engine import CompiledPolicy
from mailguard.positions import Problem, Problems, Text, parse, validate
from mailguard.settings_checks import problems_here

MAX_FILE: Final = 1024 * 1024
"""Octets of a settings or policy file."""
MAX_LIST: Final = 16 * 1024 * 1024
"""Octets of an address list: some 500,000 entries."""


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


def load_settings(path: Path) -> Settings:
    """The settings in the file at ``path``; paths in it, which are relative to its folder, are made absolute.

    Links and ``..`` stay in those of policy and certificate: they may lead elsewhere when these are loaded again.

    Raises:
        Problems: everything that is wrong with it, or that does not work on this machine.
    """
    document = parse(read(path))
    settings = validate(document, Settings)
    if problems := problems_here(document, settings):
        raise Problems(problems)
    return _absolute(settings, path.parent.absolute())


def read_settings(path: Path) -> Settings:
    """As :func:`load_settings`, for who only wants to know what they say, not to run by them on this machine.

    Raises:
        Problems: everything that is wrong with how it is written.
    """
    return _absolute(validate(parse(read(path)), Settings), path.parent.absolute())


def _absolute(settings: Settings, folder: Path) -> Settings:
    """``settings`` with the paths that are relative to their file's ``folder`` made absolute."""
    return settings.model_copy(
        update={
            "policy": folder / settings.policy,
            "tls": settings.tls.within(folder),
            "backends": [backend.within(folder) for backend in settings.backends],
            "journal": settings.journal.within(folder),
        }
    )


def load(path: Path) -> CompiledPolicy:
    """The policy in the file at ``path``, compiled, its cases passed.

    Lists that it includes are relative to its folder. Its ``digest`` is over its text and theirs, in the order read.

    Raises:
        Problems: everything that is wrong with it or with a list.
    """
    policy_text = read(path)
    snapshot = [policy_text]

    def include(name: str) -> Text:
        snapshot.append(read(path.parent / name, MAX_LIST))
        return snapshot[-1]

    policy = compile_policy(parse(policy_text), include)
    return replace(policy, digest=_digest(snapshot))


def load_for(settings: Settings) -> CompiledPolicy:
    """The policy that ``settings`` name, if it can work with them.

    Raises:
        Problems: as :func:`load`; or it would defer all mail for want of a scanner that is not configured.
    """
    policy = load(settings.policy)
    scanners = {Source.CLAMAV: settings.clamav.address, Source.SPAMASSASSIN: settings.spamassassin.address}
    missing = [source for source, address in scanners.items() if address is None and policy.defers_without(source)]
    if missing:
        raise Problems([_unconfigured(settings.policy, source) for source in missing])
    return policy


def _unconfigured(path: Path, source: Source) -> Problem:
    message = f"this policy defers all mail while `{source}` is down, and the settings name no `{source}.address`"
    return Problem(str(path), 1, 1, message, f"set `{source}.address`, or say `{source}: {{down: deliver, ...}}` here")


def _digest(snapshot: list[Text]) -> str:
    """SHA-256 over the texts, each behind its length, so that no two snapshots run together to the same octets."""
    result = sha256()
    for text in snapshot:
        octets = text.text.encode()
        result.update(b"%d:" % len(octets))
        result.update(octets)
    return result.hexdigest()
