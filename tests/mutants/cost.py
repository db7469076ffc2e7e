"""Mutants that do all that they should, and more work for it: the counts of a message tell."""

from __future__ import annotations

from tests.mutants.mutant import COST, Mutant

_COUNTS = ("tests/unit/test_counts.py",)

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        COST,
        "a-backend-connection-for-each-message",
        "mailguard/relay/member.py",
        "if self._pool is not None and more and dialogue.reusable():",
        "if self._pool is not None and more and dialogue.reusable() and not more:",
        _COUNTS,
    ),
    Mutant(
        COST,
        "an-answer-is-asked-for-again",
        "mailguard/dns/resolver.py",
        "if not inquiry.fresh and (cached := self._cache.entry(question)) is not None:",
        "if inquiry.fresh and (cached := self._cache.entry(question)) is not None:",
        _COUNTS,
    ),
)
