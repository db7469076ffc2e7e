"""Names on their way into the DNS: which text can be one, and its octets on the wire.

Two steps, on purpose apart. :func:`host_name` judges what a stranger wrote (EHLO name, sender's domain, the target of
a PTR record): only what could be a host's name is ever asked about. :func:`canonical` and :func:`encode` hold the
bounds of the protocol itself, for names that we make too (``7.7.18.198.bl.example``).
"""

from __future__ import annotations

import re
from operator import add
from typing import Final

import idna

MAX_NAME: Final = 253
"""Octets of a name as text without the final dot: 255 on the wire (RFC 1035 2.3.4)."""

_USUAL: Final = re.compile(r"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}")
"""What is canonical as it stands; the short way for nearly every name."""
_LENGTHS: Final = tuple(bytes((length,)) for length in range(64))
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")


class ImpossibleNameError(ValueError):
    """No host can have this name: whoever asks the DNS about it asks for nothing."""


class DoubtfulNameError(ValueError):
    """Whether a host can have this name is not for us to say: it is not in the IDNA 2008 form of a name."""


def canonical(name: str) -> str:
    """``name`` in lower case and without its final dot: names compare so (RFC 4343 3).

    Raises:
        ValueError: an octet outside ASCII, an empty label or one over 63 octets, or more than 253 octets together.
    """
    if len(name) <= MAX_NAME and _USUAL.fullmatch(name):
        return name
    if not name.isascii():
        raise ValueError(f"{name[:80]!r} is not ASCII")
    text = name.removesuffix(".").lower()
    if len(text) > MAX_NAME or not all(0 < len(label) < 64 for label in text.split(".")):
        raise ValueError(
            f"{name[:80]!r} is no name of the DNS: a label is 1 to 63 octets, a name at the most {MAX_NAME}"
        )
    return text


def encode(name: str) -> bytes:
    """A name that :func:`canonical` made, as it stands in a question (RFC 1035 3.1)."""
    labels = name.encode("ascii").split(b".")
    return b"".join(map(add, map(_LENGTHS.__getitem__, map(len, labels)), labels)) + b"\0"


def host_name(text: str) -> str:
    """What a stranger called a host, as a name to ask about: canonical, U-labels made A-labels (RFC 5891 4).

    Letters, digits and hyphens make a host name (RFC 1123 2.1). An underscore is let through, since names with it
    exist in the DNS and in many an EHLO. The last label is never all digits (RFC 3696 2), so that ``1.2.3.4`` is no
    name.

    Raises:
        ImpossibleNameError: no host can have this name.
        DoubtfulNameError: not ASCII, and not IDNA 2008 either.
    """
    try:
        name = canonical(text if text.isascii() else _to_ascii(text))
    except DoubtfulNameError:
        raise
    except ValueError as error:
        raise ImpossibleNameError(str(error)) from None
    labels = name.split(".")
    if not all(_LABEL.fullmatch(label) for label in labels) or labels[-1].isdecimal():
        raise ImpossibleNameError(f"{text[:80]!r} is no host name")
    return name


def _to_ascii(text: str) -> str:
    try:
        return idna.encode(text, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise DoubtfulNameError(f"{text[:80]!r} is not IDNA 2008: {error}") from None
