"""The mutants: at least one for each invariant of the architecture, and the tests that must see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One small change of the code: ``old``, found once in ``file``, becomes ``new``; one of ``tests`` must fail."""

    invariant: str
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


_CLIENT = "DNSBL only on the connecting IP"
_DOUBT = "Doubt is for the sender"
_DNSBL = ("tests/unit/checks/test_dnsbl.py",)
_ANSWERS = ("tests/unit/checks/test_dnsbl_answers.py",)
_NAMES = ("tests/unit/checks/test_names_given.py",)

CHECKS: tuple[Mutant, ...] = (
    Mutant(
        _CLIENT,
        "dnsbl-takes-more-than-the-client",
        "mailguard/checks/dnsbl.py",
        "async def ask(self, address: ClientAddress, deadline: float)",
        "async def ask(self, address: ClientAddress, deadline: float, received: tuple[ClientAddress, ...] = ())",
        _DNSBL,
    ),
    Mutant(
        _DOUBT,
        "dnsbl-failure-is-not-listed",
        "mailguard/checks/dnsbl_answers.py",
        'return _FAILURES[kind], Unknown(f"{kind}: {why}")',
        "return _FAILURES[kind], NOT_LISTED",
        _ANSWERS,
    ),
    Mutant(
        _DOUBT,
        "dnsbl-refusal-is-a-listing",
        "mailguard/checks/dnsbl_answers.py",
        "if code in BLOCKED:",
        "if False:",
        _ANSWERS,
    ),
    Mutant(
        _DOUBT,
        "dnsbl-any-address-is-a-listing",
        "mailguard/checks/dnsbl_answers.py",
        "if code not in LISTING:",
        "if False:",
        _ANSWERS,
    ),
    Mutant(
        _DOUBT,
        "dnsbl-ill-list-still-counts",
        "mailguard/checks/dnsbl.py",
        """        if item.ill:
            metrics.DNSBL_QUERIES""",
        """        if False:
            metrics.DNSBL_QUERIES""",
        _DNSBL,
    ),
    Mutant(
        _DOUBT,
        "dnsbl-silence-makes-ill",
        "mailguard/checks/dnsbl_health.py",
        "return Finding(Health.UNDECIDED, undecided) if undecided",
        "return Finding(Health.ILL, undecided) if undecided",
        _DNSBL,
    ),
    Mutant(
        _DOUBT,
        "a-failed-question-is-a-no",
        "mailguard/checks/existence.py",
        "return unknown(failure) if failure else Known(False)",
        "return Known(False)",
        _NAMES,
    ),
    Mutant(
        _DOUBT,
        "a-failed-forward-question-is-unconfirmed",
        "mailguard/checks/reverse_dns.py",
        "if isinstance(answer, Failed):",
        "if False:",
        _NAMES,
    ),
)

MUTANTS: tuple[Mutant, ...] = CHECKS
