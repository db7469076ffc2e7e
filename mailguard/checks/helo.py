"""What the name that a client gave in EHLO is worth (RFC 5321 4.1.1.1); none may be refused for it alone (4.1.4).

On failure: unknown. A name that no host can have does not resolve, and the DNS is never asked about it.
"""

from __future__ import annotations

from ipaddress import ip_address

from mailguard.checks.existence import ask_all, existence, host_to_ask
from mailguard.dns import Absence, Found, NotFound, Resolver
from mailguard.facts import Answer, Known


def helo_is_address(name: str) -> bool:
    """Whether ``name`` is an address and no name: in brackets (RFC 5321 4.1.3, sound or not), or bare."""
    if name.startswith("[") and name.endswith("]"):
        return True
    if ":" not in name and not name[-1:].isdigit():
        return False  # nearly every name: an address has a colon, or ends in a digit
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


async def helo_resolves(resolver: Resolver, name: str, deadline: float) -> Answer[bool]:
    """Whether ``name`` has an A, AAAA or MX record, asked until ``deadline`` (loop time).

    An address needs no record: it counts as resolved, and ``helo.is_address`` tells what it is.
    """
    if helo_is_address(name):
        return Known(True)
    host = host_to_ask(name)
    if not isinstance(host, str):
        return host
    match await resolver.resolve(host, "A", deadline):
        case Found():
            return Known(True)
        case NotFound(Absence.NXDOMAIN):
            return Known(False)  # nothing of any type is there (RFC 8020 2)
        case address:
            return existence([address, *await ask_all(resolver, host, ("AAAA", "MX"), deadline)])
