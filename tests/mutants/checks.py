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
        "took: dict[str, float] | None = None,\n    ) -> Inquiry[Said]:",
        "took: dict[str, float] | None = None,\n"
        "        received: tuple[ClientAddress, ...] = (),\n    ) -> Inquiry[Said]:",
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
        "[item for item in holding if not item.ill]",
        "holding",
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
    Mutant(
        DOUBT,
        "what-an-ill-list-said-is-known-again",
        "mailguard/checks/dnsbl.py",
        "        if item.ill != ill:\n            self._stand()\n",
        "",
        _DNSBL,
    ),
    Mutant(
        DOUBT,
        "a-conclusion-outlives-what-it-rests-on",
        "mailguard/dns/inquiry.py",
        "        if expires < self.expires:\n            self.expires = expires\n",
        "",
        ("tests/unit/dns/test_inquiry.py",),
    ),
    Mutant(
        DOUBT,
        "what-the-deadline-cut-off-is-kept",
        "mailguard/dns/inquiry.py",
        "            self.expires = -_EVER\n",
        "",
        ("tests/unit/dns/test_inquiry.py",),
    ),
)
