"""Inquiries that are done, for tests in which it does not matter how their conclusion is found."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import TypeVar, cast

from mailguard.checks.dnsbl import Said
from mailguard.dns.inquiry import Desk, Inquiry, Steps
from mailguard.facts import Answer, Codes
from mailguard.net.deadlines import Deadlines

T = TypeVar("T")


def found(conclusion: T) -> Inquiry[T]:
    """An inquiry that came to ``conclusion`` without a question."""

    def steps() -> Steps[T]:
        return conclusion
        yield []

    return Inquiry(cast(Desk, SimpleNamespace(deadlines=Deadlines())), None, steps(), 0.0, fresh=False).begin()


def said(answers: Mapping[str, Answer[Codes]]) -> Inquiry[Said]:
    """What lists said, in place of ``Dnsbl.ask``."""
    return found(Said(dict(answers)))
