"""Times as log and journal write them: RFC 3339 5.6, in UTC, always with all six digits of its microseconds. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


def stamp(microseconds: int) -> str:
    """``2026-11-21T10:00:00.000001Z`` for ``microseconds`` since 1970."""
    seconds, fraction = divmod(microseconds, 1_000_000)
    return f"{_second(seconds)}.{fraction:06}Z"


def milliseconds(seconds: float) -> float:
    """A duration to the millisecond: ``round(seconds, 3)``, which would make decimal digits of it and read them."""
    return round(seconds * 1000) / 1000


@lru_cache(maxsize=1)
def _second(seconds: int) -> str:
    """All but the fraction, which is the same for all that a second writes."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
