"""Case as mail and the DNS know it: the letters A to Z and no others.

Domains compare without regard to the case of ASCII letters (RFC 5321 2.4, RFC 4343 3), postmaster does (RFC 5321
4.5.1), and local parts do here by custom. Unicode knows more cases than that: the Kelvin sign U+212A becomes ``k`` by
``str.lower``, the long s U+017F becomes ``s`` by ``str.casefold``. What is nobody's name would then pass for one of
ours. So whatever is compared without regard to case is made lower by :func:`lowered` and by nothing else.

A name in Unicode is compared as it stands: U-labels "MUST be compared as-is, without case folding" (RFC 5891 3.1), and
they hold no capital letters at all. One form of a name is not taken for the other: who takes mail for a name in Unicode
lists its A-label too.
"""

from __future__ import annotations

import string
from typing import Final

_LOWER: Final = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def lowered(text: str) -> str:
    """``text`` with its ASCII letters in lower case; every other character stays as it is."""
    return text.lower() if text.isascii() else text.translate(_LOWER)
