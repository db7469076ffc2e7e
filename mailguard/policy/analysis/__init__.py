"""What a policy says that is hardly meant: a rule that never matches, a list that nothing asks for, a bare refusal.

One module a kind of warning (``finding.Kind``); each reads the compiled rules and says what it found, with its place.
``clauses`` and ``sets`` reason over conditions, ``domains`` knows what facts can be. Pure; the policy loads all the
same.
"""

from __future__ import annotations

from itertools import chain
from typing import Final

from mailguard.policy.analysis import alone, matching, observed, reach, telling, unused, zones
from mailguard.policy.analysis.subject import Subject
from mailguard.policy.finding import Finding, Kind, written

__all__ = ["Finding", "Kind", "Subject", "analyse", "written"]

_ANALYSES: Final = (
    matching.findings,
    reach.findings,
    alone.findings,
    zones.findings,
    observed.findings,
    telling.findings,
    unused.findings,
)


def analyse(subject: Subject) -> tuple[Finding, ...]:
    """Every warning about a policy in which nothing is wrong."""
    return tuple(chain.from_iterable(analysis(subject) for analysis in _ANALYSES))
