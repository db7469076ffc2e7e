"""Whether the sender's domain takes mail, so that a bounce would find its way (RFC 5321 5.1, RFC 7505).

On failure: unknown, above all where the MX question failed: without its answer the addresses mean nothing.
"""

from __future__ import annotations

from typing import cast

from mailguard.checks.existence import ask_all, existence, host_to_ask, unknown
from mailguard.dns.answers import Absence, Failed, Found, MailExchange, NotFound
from mailguard.dns.inquiry import Inquiry, Steps
from mailguard.dns.resolver import Resolver
from mailguard.facts import Answer, Known

NO_MAIL = "."
"""The target of a null MX (RFC 7505 3)."""


def sender_resolves(resolver: Resolver, domain: str, deadline: float) -> Inquiry[Answer[bool]]:
    """Whether ``domain`` has an MX other than the null MX, or no MX but an address.

    Args:
        resolver: asked.
        domain: of the reverse-path. Empty (``<>``) or an address literal: nothing needs to be found, True.
        deadline: loop time at which to give up.
    """
    return resolver.inquire(("sender", domain), lambda: _steps(domain), deadline)


def _steps(domain: str) -> Steps[Answer[bool]]:
    if not domain or (domain.startswith("[") and domain.endswith("]")):
        return Known(True)
    host = host_to_ask(domain)
    if not isinstance(host, str):
        return host
    [exchanges] = yield from ask_all(host, "MX")
    match cast("Found[MailExchange] | NotFound | Failed", exchanges):
        case Found(records):
            return Known(any(record.host != NO_MAIL for record in records))
        case NotFound(Absence.NXDOMAIN):
            return Known(False)
        case NotFound():
            return existence((yield from ask_all(host, "A", "AAAA")))  # implicit MX (RFC 5321 5.1)
        case Failed() as failure:
            return unknown(failure)
