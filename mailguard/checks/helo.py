"""What the name that a client gave in EHLO is worth (RFC 5321 4.1.1.1); none may be refused for it alone (4.1.4).

On failure: unknown. A name that no host can have does not resolve, and the DNS is never asked about it.
"""

from __future__ import annotations

from ipaddress import ip_address

from mailguard.checks.existence import ask_all, existence, host_to_ask
from mailguard.dns.answers import Absence, Found, NotFound
from mailguard.dns.inquiry import Inquiry, Steps
from mailguard.dns.resolver import Resolver
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


def helo_resolves(resolver: Resolver, name: str, deadline: float) -> Inquiry[Answer[bool]]:
    """Whether ``name`` has an A, AAAA or MX record, asked until ``deadline`` (loop time).

    An address needs no record: it counts as resolved, and ``helo.is_address`` tells what it is.
    """
    return resolver.inquire(("helo", name), lambda: _steps(name), deadline)


def _steps(name: str) -> Steps[Answer[bool]]:
    if helo_is_address(name):
        return Known(True)
    host = host_to_ask(name)
    if not isinstance(host, str):
        return host
    match (yield from ask_all(host, "A")):
        case [Found()]:
            return Known(True)
        case [NotFound(Absence.NXDOMAIN)]:
            return Known(False)  # nothing of any type is there (RFC 8020 2)
        case address:
            return existence([*address, *(yield from ask_all(host, "AAAA", "MX"))])
