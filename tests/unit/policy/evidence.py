"""Messages that differ in Received lines alone, as facts: which answers may become which when lines are added.

By the declarations of ``facts.FACTS``: the content score falls, an official signature may be hidden and never brought
about, every other word of the scanners may become anything, and a scanner that is up may become too slow. One that is
down is so with the lines and without them.
"""

from __future__ import annotations

from mailguard.facts import Answer, Cause, Known, SpamResult, Unknown, VirusResult

DOWN = Unknown("a test says so", Cause.DOWN)
SLOW = Unknown("a test says so", Cause.UNSCANNABLE)
CONTENT_SCORES = (0.0, 4.9, 6.0)
SPAM: list[Answer[SpamResult]] = [
    DOWN,
    SLOW,
    *(
        Known(SpamResult(score, content, rules=rules))
        for content in CONTENT_SCORES
        for score, rules in ((content, {}), (1000.0, {"RCVD_IN_PBL": 1000.0}))
    ),
]
OFFICIAL = ("Win.X", "Win.Y", "PUA.X")
GUESSES = ("Heuristics.X", "Vendor.X.UNOFFICIAL")
VIRUS: list[Answer[VirusResult]] = [DOWN, SLOW, *(Known(VirusResult(name)) for name in (*OFFICIAL, *GUESSES, ""))]


def spam_may_become(before: Answer[SpamResult], after: Answer[SpamResult]) -> bool:
    """Whether Received lines may make ``after`` of spamd's answer ``before``."""
    if isinstance(before, Unknown) or isinstance(after, Unknown):
        return _may_become_unknown(before, after)
    return after.value.content_score <= before.value.content_score


def virus_may_become(before: Answer[VirusResult], after: Answer[VirusResult]) -> bool:
    """Whether Received lines may make ``after`` of clamd's answer ``before``."""
    if isinstance(before, Unknown) or isinstance(after, Unknown):
        return _may_become_unknown(before, after)
    if after.value.name in OFFICIAL:
        return after == before
    return after.value.name in GUESSES or before.value.name not in OFFICIAL


def _may_become_unknown(before: object, after: object) -> bool:
    return before == after or (after == SLOW and before != DOWN)
