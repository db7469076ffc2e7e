"""What a soak finds wrong ends it, and says what."""

from __future__ import annotations


class SoakFailed(AssertionError):
    """Something is not as it must be."""


def require(holds: object, otherwise: str) -> None:
    """Go on where ``holds`` is true.

    Raises:
        SoakFailed: it is not, with the text ``otherwise``.
    """
    if not holds:
        raise SoakFailed(otherwise)
