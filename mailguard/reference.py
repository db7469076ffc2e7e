"""Reference ids: what a reply, a log line and a header have in common, so that a refusal can be looked up."""

from __future__ import annotations

import re
import secrets
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


def new_reference() -> str:
    """A reference for one connection: 9 signs, over 10^13 of them; a transaction's adds ``-1``, ``-2``, ..."""
    number, signs = secrets.randbelow(len(_ALPHABET) ** _LENGTH), ""
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        signs += _ALPHABET[digit]
    return signs
