"""Mutants of the checks."""

from __future__ import annotations

from tests.mutants.mutant import CLIENT_ONLY, DOUBT, Mutant

_DNSBL = ("tests/unit/checks/test_dnsbl.py",)
_ANSWERS = ("tests/unit/checks/test_dnsbl_answers.py",)
_NAMES = ("tests/unit/checks/test_names_given.py",)

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        CLIENT_ONLY,
        "dnsbl-takes-more-than-the-client",
        "mailguard/checks/dnsbl.py",
        "timed: Callable[[str, float], None] = lambda _name, _seconds: None,\n    ) -> dict[str, Answer[Codes]]:",
        "timed: Callable[[str, float], None] = lambda _name, _seconds: None,\n"
        "        received: tuple[ClientAddress, ...] = (),\n    ) -> dict[str, Answer[Codes]]:",
        _DNSBL,
    ),
    Mutant(
        DOUBT,
        "dnsbl-failure-is-not-listed",
        "mailguard/checks/dnsbl_answers.py",
        'return _FAILURES[kind], Unknown(f"{kind}: {why}")',
        "return _FAILURES[kind], NOT_LISTED",
        _ANSWERS,
    ),
    Mutant(
        DOUBT,
        "dnsbl-refusal-is-a-listing",
        "mailguard/checks/dnsbl_answers.py",
        "if code in BLOCKED:",
        "if False:",
        _ANSWERS,
    ),
    Mutant(
        DOUBT,
        "dnsbl-any-address-is-a-listing",
        "mailguard/checks/dnsbl_answers.py",
        "if code not in LISTING:",
        "if False:",
        _ANSWERS,
    ),
    Mutant(
        DOUBT,
        "dnsbl-ill-list-still-counts",
        "mailguard/checks/dnsbl.py",
        "        if item.ill:\n            item.outcomes",
        "        if False:\n            item.outcomes",
        _DNSBL,
    ),
    Mutant(
        DOUBT,
        "dnsbl-silence-makes-ill",
        "mailguard/checks/dnsbl_health.py",
        "return Finding(Health.UNDECIDED, undecided) if undecided",
        "return Finding(Health.ILL, undecided) if undecided",
        _DNSBL,
    ),
    Mutant(
        DOUBT,
        "a-failed-question-is-a-no",
        "mailguard/checks/existence.py",
        "return unknown(failure) if failure else Known(False)",
        "return Known(False)",
        _NAMES,
    ),
    Mutant(
        DOUBT,
        "a-failed-forward-question-is-unconfirmed",
        "mailguard/checks/reverse_dns.py",
        "if isinstance(answer, Failed):",
        "if False:",
        _NAMES,
    ),
)
