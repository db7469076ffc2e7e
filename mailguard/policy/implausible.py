"""Texts that a fact can never be: a comparison with one would hold for nobody, so it is a slip and is refused.

What a fact can be is said by its own values (``facts.FactSpec.values``), or by what stands in a domain or an address. A
local part may be almost anything (RFC 5321 4.1.2), so nothing is said of it.
"""

from __future__ import annotations

import re
from typing import Final

from mailguard.caseless import lowered
from mailguard.facts import FACTS
from mailguard.policy.lists import Kind
from mailguard.positions import did_you_mean

_NEVER_IN_A_DOMAIN: Final = re.compile(r"[*@\s]|^\.")
_WITHOUT_DOMAIN: Final = "postmaster"
"""The one recipient that has no domain (RFC 5321 4.1.1.3)."""


def why_never(fact: str, kind: Kind | None, text: str) -> tuple[str, str] | None:
    """Why ``fact``, an address of ``kind``, is never ``text``: message and hint; None where it may be.

    ``fact`` may be a function too: then it is what it gives.
    """
    values = FACTS[fact].values if fact in FACTS else ()
    if values and text not in values:
        return f"`{fact}` is never '{text}'", did_you_mean(text, [v for v in values if v], otherwise="it may be")
    if fact == "virus.name" and "*" in text:
        return (
            f"`{fact}` is compared as a whole: `*` is no pattern",
            "write matches(virus.name, 'regex'), or compare `virus.kind`",
        )
    if kind is Kind.DOMAIN and _no_domain(text.lstrip(".") if fact == "helo.name" else text):
        return f"`{fact}` is never '{text}'", _instead_of_domain(fact, text)
    if kind is Kind.MAILBOX and text:
        return _not_as_address(fact, text)
    return None


def _no_domain(text: str) -> bool:
    return _NEVER_IN_A_DOMAIN.search(text) is not None


def _instead_of_domain(fact: str, text: str) -> str:
    if "*" in text or text.startswith("."):
        return f"write domain_matches({fact}, '.{text.lstrip('*.')}') for the domains below it"
    return f"a domain has no `@`: write '{text.rpartition('@')[2]}'" if "@" in text else "a domain has no spaces"


def _not_as_address(fact: str, text: str) -> tuple[str, str] | None:
    local, at, domain = text.rpartition("@")
    message = f"`{fact}` is never '{text}'"
    if not at:
        if fact == "recipient.address" and lowered(text) == _WITHOUT_DOMAIN:
            return None
        part = "domain" if "." in text else "local"
        return message, f"an address is 'user@example.com'; or write {fact.replace('address', part)} == '{text}'"
    of_domain = fact.replace("address", "domain")
    if not domain or _no_domain(domain):
        return message, _instead_of_domain(of_domain, domain) if domain else "an address is 'user@example.com'"
    return None if local else (message, f"for a whole domain write {of_domain} == '{domain}'")
