"""From points by rule to ``spam.content_score``: never a point more than is certain.

``content_score`` is the total without the positive points of tainted rules; negative points stay, for Received evidence
may acquit. What is not certain counts for the sender:

* the total that spamd reports is rounded to 0.1, the sum of exact points is not: the lesser of the two counts;
* rounded points (REPORT) may stand for up to half a unit more, so a tainted rule is taken off with that half on top,
  and the total with the half off;
* where total and sum differ by more than rounding explains, points are missing or foreign, nothing can be told about
  their taint, and every positive point counts as tainted.

Units: SpamAssassin's points.
"""

from __future__ import annotations

import math
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

TOTAL_ERROR: Final = 0.16
"""How far the reported total may lie from the true one: rounding to 0.1, and 0.1 less where rounding alone would make
it reach the threshold (Mail::SpamAssassin::Util::get_tag_value_for_score)."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One hit of one rule; ``error``: its true points lie within ``points`` plus or minus that."""

    rule: str
    points: float
    error: float = 0.0


def explained(total: float, hits: tuple[Hit, ...]) -> bool:
    """Whether the hits add up to the reported total, but for rounding."""
    room = TOTAL_ERROR + sum(hit.error for hit in hits)
    return abs(total - sum(hit.points for hit in hits)) <= room


def content_score(total: float, hits: tuple[Hit, ...], tainted: AbstractSet[str]) -> float:
    """The points that are certain and untainted, rounded down to 0.001; never more than ``total``.

    Args:
        total: as spamd reports it.
        hits: every hit, points of a rule that hit twice standing twice.
        tainted: names of rules whose positive points do not count.
    """
    if not explained(total, hits):
        tainted = {hit.rule for hit in hits}
        total = min(total, sum(hit.points for hit in hits if hit.points > 0))
    exact = all(hit.error == 0 for hit in hits)
    whole = min(total, sum(hit.points for hit in hits)) if exact else total - 0.05
    taken = sum(hit.points + hit.error for hit in hits if hit.rule in tainted and hit.points + hit.error > 0)
    return math.floor((whole - taken) * 1000 + 1e-6) / 1000
