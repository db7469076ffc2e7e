"""Whether a name that somebody wrote is our own host's, in any spelling that some reader takes for it.

Case does not matter, nor a dot at the end, nor whether a label is written in Unicode or in ASCII (U-label and A-label,
RFC 5890), nor what else IDNA folds together: full-width letters, soft hyphens, other full stops (RFC 3490 3.1, RFC
3454 B). Both names come to a normal form label by label; that of ours is made once. A label of theirs is looked at
only when those before it are ours and it is short enough, so that a long or endless name costs nothing: the codec of
the standard library takes a millisecond for one name, and a client sends thousands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final
from unicodedata import normalize

_FULL_STOPS: Final = re.compile("[.\u3002\uff0e\uff61]")
"""RFC 3490 3.1."""

_NOTHING: Final = dict.fromkeys(
    (0xAD, 0x34F, 0x1806, 0x180B, 0x180C, 0x180D, 0x200B, 0x200C, 0x200D, 0x2060, *range(0xFE00, 0xFE10), 0xFEFF)
)
"""Characters that are left out of a name: RFC 3454 B.1."""

_COMPOSED: Final = 4
"""Characters, at the most, that a normal form makes one of: a letter and its marks."""


def _labels(name: str) -> list[str]:
    labels = _FULL_STOPS.split(name.strip().translate(_NOTHING))
    while labels and not labels[-1]:
        labels.pop()
    return labels


def _folded(label: str) -> str:
    """RFC 3454 B.2 and normal form KC: what tells apart two labels that IDNA does not."""
    return normalize("NFKC", normalize("NFKC", label.casefold()).casefold())


def _spellings(label: str) -> tuple[str, str]:
    """``label``, folded, as A-label and as U-label; as it is where IDNA knows no other."""
    try:
        ascii_ = label.encode("idna")
        return _folded(ascii_.decode("ascii")), _folded(ascii_.decode("idna"))
    except UnicodeError:
        return _folded(label), _folded(label)


@dataclass(frozen=True, slots=True)
class OurName:
    """Our host name.

    Attributes:
        labels: the spellings of each label.
        plain: the whole name in A-labels and in U-labels, as octets.
    """

    labels: tuple[frozenset[str], ...]
    plain: tuple[bytes, bytes]

    @staticmethod
    @lru_cache(maxsize=16)
    def of(hostname: str) -> OurName:
        """The name ``hostname``."""
        labels = _labels(hostname)
        pairs = [_spellings(label) for label in labels]
        known = tuple(frozenset((_folded(label), *pair)) for label, pair in zip(labels, pairs, strict=True))
        return OurName(known, (".".join(a for a, _ in pairs).encode(), ".".join(u for _, u in pairs).encode()))

    def means(self, name: bytes) -> bool:
        """Whether ``name`` is ours."""
        labels = _labels(name.decode("utf-8", "replace"))
        return len(labels) == len(self.labels) and all(map(_is_one_of, labels, self.labels))

    def stands_in(self, text: bytes) -> bool:
        """Whether our name stands anywhere in ``text``, in plain letters."""
        lower = text.lower()
        return any(plain in lower for plain in self.plain)


def _is_one_of(label: str, spellings: frozenset[str]) -> bool:
    return len(label) <= _COMPOSED * max(map(len, spellings)) and _folded(label) in spellings
