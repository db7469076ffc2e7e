"""Reference ids: what a reply, a log line and a header have in common, so that a refusal can be looked up."""

from __future__ import annotations

import secrets
from typing import Final

_ALPHABET: Final = "23456789BCDFGHJKLMNPQRSTVWXZ"
"""Without vowels and look-alikes: it is read out on the telephone, and spells nothing."""

_LENGTH: Final = 9


def new_reference() -> str:
    """A reference for one connection: 9 signs, over 10^13 of them; a transaction's adds ``-1``, ``-2``, ..."""
    number, signs = secrets.randbelow(len(_ALPHABET) ** _LENGTH), ""
    for _ in range(_LENGTH):
        number, digit = divmod(number, len(_ALPHABET))
        signs += _ALPHABET[digit]
    return signs
