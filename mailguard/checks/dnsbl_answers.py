"""What a DNS list's answer about one client means; pure.

A list answers in 127/8 (RFC 5782 2.1). Anything else comes from somebody in between (a parked domain, a resolver that
invents), and 127.255.255.x is how the large lists say that they do not answer *us*: taken for a listing, either would
refuse everybody's mail. So one such address voids the whole answer.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network
from typing import Final

from mailguard.dns.answers import AnyAnswer, Failure, Found, NotFound
from mailguard.facts import NOT_LISTED, Answer, Codes, Known, Unknown

LISTING: Final = IPv4Network("127.0.0.0/8")
BLOCKED: Final = IPv4Network("127.255.255.0/24")


class Outcome(StrEnum):
    """How a question to a list came out: the values of the metric's label."""

    LISTED = "listed"
    NOT_LISTED = "not_listed"
    TIMEOUT = "timeout"
    SERVFAIL = "servfail"
    REFUSED = "refused"
    ERROR = "error"
    BLOCKED = "blocked"
    """The list says that it does not answer us."""
    BAD_ANSWER = "bad_answer"
    """The answer is not a list's."""
    ILL = "ill"
    """The list is set aside and was not asked."""


_NOT_LISTED: Final = (Outcome.NOT_LISTED, NOT_LISTED)
_FAILURES: Final = {
    Failure.TIMEOUT: Outcome.TIMEOUT,
    Failure.SERVFAIL: Outcome.SERVFAIL,
    Failure.REFUSED: Outcome.REFUSED,
    Failure.ERROR: Outcome.ERROR,
}


def read(answer: AnyAnswer) -> tuple[Outcome, Answer[Codes]]:
    """What ``answer``, to a question for A records, says of the client asked about."""
    if isinstance(answer, NotFound):
        return _NOT_LISTED
    if isinstance(answer, Found):
        return _codes(answer.records)
    kind, why = answer.kind, answer.why
    return _FAILURES[kind], Unknown(f"{kind}: {why}")


@lru_cache(1024)
def _codes(records: tuple[IPv4Address, ...]) -> tuple[Outcome, Answer[Codes]]:
    """Kept, since lists give the same few answers over and over: who compares them then finds one object."""
    codes = frozenset(records)
    for code in sorted(codes):
        if code in BLOCKED:
            return Outcome.BLOCKED, Unknown(f"blocked: the list answered {code}")
        if code not in LISTING:
            return Outcome.BAD_ANSWER, Unknown(f"bad answer: {code} is outside {LISTING}")
    return Outcome.LISTED, Known(codes)
