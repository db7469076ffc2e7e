"""Whether the sender's domain takes mail, so that a bounce would find its way (RFC 5321 5.1, RFC 7505).

On failure: unknown, above all where the MX question failed: without its answer the addresses mean nothing.
"""

from __future__ import annotations

from mailguard.checks.existence import ask_all, existence, host_to_ask, unknown
from mailguard.dns import Absence, Failed, Found, NotFound, Resolver
from mailguard.facts import Answer, Known

NO_MAIL = "."
"""The target of a null MX (RFC 7505 3)."""


async def sender_resolves(resolver: Resolver, domain: str, deadline: float) -> Answer[bool]:
    """Whether ``domain`` has an MX other than the null MX, or no MX but an address.

    Args:
        resolver: asked.
        domain: of the reverse-path. Empty (``<>``) or an address literal: nothing needs to be found, True.
        deadline: loop time at which to give up.
    """
    if not domain or (domain.startswith("[") and domain.endswith("]")):
        return Known(True)
    host = host_to_ask(domain)
    if not isinstance(host, str):
        return host
    match await resolver.resolve(host, "MX", deadline):
        case Found(records):
            return Known(any(record.host != NO_MAIL for record in records))
        case NotFound(Absence.NXDOMAIN):
            return Known(False)
        case NotFound():
            return existence(await ask_all(resolver, host, ("A", "AAAA"), deadline))  # implicit MX (RFC 5321 5.1)
        case Failed() as failure:
            return unknown(failure)
