"""Reference ids: what a reply, a log line and a header have in common, so that a refusal can be looked up."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Final

_ALPHABET: Final = "23456789BCDFGHJKLMNPQRSTVWXZ"
"""Without vowels and look-alikes: it is read out on the telephone, and spells nothing."""

_LENGTH: Final = 9


_FORM: Final = re.compile(rf"[{_ALPHABET}]{{{_LENGTH}}}(-[1-9]\d{{0,8}})?")


def parse_reference(text: str) -> str:
    """The reference that somebody wrote ``text`` for: in small letters, in brackets, with blanks around it.

    Raises:
        ValueError: it can be none of ours.
    """
    found = text.strip(" \t\r\n()[]<>\"'.,;").upper()
    if not _FORM.fullmatch(found):
        raise ValueError(
            f"{text!r} is no reference: it is {_LENGTH} letters and digits, as in 7XK2M9QBD or 7XK2M9QBD-2"
        )
    return found


_BATCH: Final = 4096
"""Octets of random numbers that are fetched at once, for some 450 references: one system call each would be dear."""
_EVEN: Final = 256 // len(_ALPHABET) * len(_ALPHABET)
"""Of so many octets each sign has as many; the rest stand for none, or some signs would be likelier than others."""
_SIGNS: Final = (_ALPHABET.encode() * 256)[:256]
_BEYOND: Final = bytes(range(_EVEN, 256))

_ready: Iterator[str] = iter(())


def new_reference() -> str:
    """A reference for one connection: 9 signs, over 10^13 of them; a transaction's adds ``-1``, ``-2``, ..."""
    while (reference := next(_ready, None)) is None:
        _fetch()
    return reference


def _fetch() -> None:
    global _ready
    signs = os.urandom(_BATCH).translate(_SIGNS, _BEYOND).decode("ascii")
    _ready = iter([signs[i : i + _LENGTH] for i in range(0, len(signs) - _LENGTH + 1, _LENGTH)])


def _forget() -> None:
    global _ready
    _ready = iter(())


os.register_at_fork(after_in_child=_forget)  # or parent and child would give the same references
