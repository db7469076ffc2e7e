"""The key of the pseudonyms: a file with a secret, closed to others."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

from mailguard import config
from mailguard.journal.pseudonyms import MIN_KEY, Pseudonyms

MAX_KEY: Final = 4096
"""Octets of a key file."""


class BadKey(Exception):
    """The key of the pseudonyms cannot be had; the message says why."""


def read_key(path: Path) -> bytes:
    """The key in the file at ``path``, without blanks at its ends, as far as a key is left.

    An octet of a binary key may be a blank by chance: where it is too short without those, it is taken as it is.

    Raises:
        BadKey: it cannot be read, is too short or too long, or is open to others.
    """
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            mode, key = os.fstat(file.fileno()).st_mode, file.read(MAX_KEY + 1)
    except (OSError, ValueError) as error:
        raise BadKey(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    if not stat.S_ISREG(mode) or len(key) > MAX_KEY:
        raise BadKey(f"{path} is no file of at most {MAX_KEY} octets")
    if mode & stat.S_IRWXO:
        raise BadKey(f"{path} is open to others: chmod o= {path}")
    bare = key.strip()
    if len(bare) < MIN_KEY and not key.isascii():
        bare = key
    if len(bare) < MIN_KEY:
        raise BadKey(f"{path} holds fewer than {MIN_KEY} octets: openssl rand -hex 32 makes a key")
    return bare


def idle_key(settings: config.Journal) -> str:
    """What to say of a key under which nobody is covered; empty where that is not so."""
    if settings.pseudonym_key is None or settings.pseudonymise:
        return ""
    return (
        "`journal.pseudonym_key` is set, but `journal.pseudonymise` covers nobody: addresses are written as they are. "
        "Name whom to cover (client, sender, recipient), or keep the key only to search older records"
    )


def pseudonyms_for(settings: config.Journal) -> Pseudonyms | None:
    """The pseudonyms that ``settings`` ask for; None where all is written as it is.

    Raises:
        BadKey: they cannot be had.
    """
    if not settings.pseudonymise or settings.pseudonym_key is None:  # settings do not have the one without the other
        return None
    return Pseudonyms(read_key(settings.pseudonym_key), settings.pseudonymise)
