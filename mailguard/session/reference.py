"""Reference ids: what a reply, a log line and a header have in common (architecture.md, last invariant)."""

from __future__ import annotations

import secrets

_ALPHABET = "23456789BCDFGHJKLMNPQRSTVWXZ"
"""Without vowels and look-alikes: it is read out on the telephone, and spells nothing."""

_LENGTH = 9


def new_reference() -> str:
    """A reference for one connection: 9 signs, over 10^13 of them; a transaction's adds ``-1``, ``-2``, ..."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(_LENGTH))
