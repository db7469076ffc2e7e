"""Warnings about policies in text, for tests."""

from __future__ import annotations

from textwrap import dedent

from mailguard.policy.analysis import Finding, Kind
from tests.unit.policy.support import UNAVAILABLE, policy, rules


def findings(text: str) -> tuple[Finding, ...]:
    """Every warning about a policy, which is written without its version and `unavailable`."""
    return policy(dedent(UNAVAILABLE) + dedent(text)).warnings


def told(text: str, kind: Kind) -> list[str]:
    """The warnings of one kind, ``line: message``; lines are those of ``text``, from its first that is not empty."""
    before = 2 + dedent(UNAVAILABLE).count("\n") + dedent(text).startswith("\n")
    return [f"{f.problem.line - before + 1}: {f.problem.message}" for f in findings(text) if f.kind is kind]


def of_rules(kind: Kind, envelope: str = "", content: str = "", more: str = "") -> list[str]:
    """The warnings of one kind about rules, as ``support.rules`` has them."""
    compiled = rules(envelope, content, **({"more": UNAVAILABLE + more} if more else {}))
    return [finding.problem.message for finding in compiled.warnings if finding.kind is kind]
