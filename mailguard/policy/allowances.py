"""Warnings that a policy allows itself, each with the reason: they are told as allowed, and fail no check.

An allowance names the kind of a warning and what it is about, so that it covers that one and no other. One that covers
nothing is warned of itself: what it spoke of has gone, or is spelt otherwise. What depends on the machine and not on
the policy (a key that is not at hand) cannot be allowed here, or the policy would be in order on one machine alone:
``mailguard check --allow`` is for that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mailguard.policy.finding import Finding, Kind
from mailguard.policy.schema import AllowanceEntry
from mailguard.positions import Document, did_you_mean


@dataclass(frozen=True, slots=True)
class Allowed:
    """A warning that the policy allows, and why."""

    finding: Finding
    because: str


def part(
    document: Document, entries: Iterable[AllowanceEntry], findings: Iterable[Finding]
) -> tuple[tuple[Finding, ...], tuple[Allowed, ...]]:
    """``findings`` that stand, with those about allowances that cover nothing, and those that ``entries`` allow."""
    entries, findings = list(entries), list(findings)
    reasons = {(entry.kind, entry.about): entry.because for entry in entries}
    allowed = [Allowed(f, reasons[f.kind, f.about]) for f in findings if (f.kind, f.about) in reasons]
    standing = [finding for finding in findings if (finding.kind, finding.about) not in reasons]
    covered = {(each.finding.kind, each.finding.about) for each in allowed}
    stale = [_stale(document, i, e, findings) for i, e in enumerate(entries) if (e.kind, e.about) not in covered]
    return in_order([*standing, *stale]), tuple(allowed)


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Warnings in the order of their lines."""
    return tuple(sorted(findings, key=lambda f: (f.problem.file, f.problem.line, f.problem.column, f.kind)))


def _stale(document: Document, index: int, entry: AllowanceEntry, findings: Iterable[Finding]) -> Finding:
    about = {finding.about for finding in findings if finding.kind is entry.kind}
    hint = did_you_mean(entry.about, about, otherwise="these are") if about else "remove it"
    message = f"there is no warning [{entry.kind}] about `{entry.about}` to be allowed"
    return Finding(Kind.ALLOWANCE, document.problem(("allow_warnings", index, "about"), message, hint), entry.about)
