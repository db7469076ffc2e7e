"""The name under which a DNS list holds a client, and the clients that no list is asked about."""

from __future__ import annotations

from bisect import bisect_right
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Final

from mailguard.config import Network
from mailguard.facts import ClientAddress

UNASKED: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ip_network(network), source)
    for network, source in (
        ("0.0.0.0/8", "this network, RFC 1122 3.2.1.3"),
        ("10.0.0.0/8", "private, RFC 1918"),
        ("100.64.0.0/10", "shared by carrier-grade NAT, RFC 6598"),
        ("127.0.0.0/8", "loopback, RFC 1122 3.2.1.3"),
        ("169.254.0.0/16", "link-local, RFC 3927"),
        ("172.16.0.0/12", "private, RFC 1918"),
        ("192.0.0.0/24", "protocol assignments, RFC 6890 2.1"),
        ("192.0.2.0/24", "documentation, RFC 5737"),
        ("192.168.0.0/16", "private, RFC 1918"),
        ("198.51.100.0/24", "documentation, RFC 5737"),
        ("203.0.113.0/24", "documentation, RFC 5737"),
        ("224.0.0.0/4", "multicast, RFC 5771"),
        ("240.0.0.0/4", "reserved and broadcast, RFC 1112 4, RFC 919 7"),
        ("::/128", "unspecified, RFC 4291 2.5.2"),
        ("::1/128", "loopback, RFC 4291 2.5.3"),
        ("64:ff9b:1::/48", "translation within a site, RFC 8215"),
        ("100::/64", "discard, RFC 6666"),
        ("2001:db8::/32", "documentation, RFC 3849"),
        ("3fff::/20", "documentation, RFC 9637"),
        ("fc00::/7", "unique local, RFC 4193"),
        ("fe80::/10", "link-local, RFC 4291 2.5.6"),
        ("fec0::/10", "site-local, RFC 3879"),
        ("ff00::/8", "multicast, RFC 4291 2.7"),
    )
)
"""Networks of which no list can know anything that holds here, and why.

``ipaddress.is_private`` is no substitute: what it holds private differs between versions of Python, it leaves
100.64.0.0/10 out, and it counts the benchmarking networks 198.18.0.0/15 (RFC 2544) and 2001:2::/48 (RFC 5180) in.
Those are never routed, so that asking costs nothing where it matters; test beds, this project's own among them, take
their clients from there.
"""


_ENDS: Final = {
    version: sorted(
        end
        for network, _ in UNASKED
        if network.version == version
        for end in (int(network.network_address), int(network.broadcast_address) + 1)
    )
    for version in (4, 6)
}
"""The same as numbers in their order: the first address of each network, and the first behind it."""


def is_asked_about(address: ClientAddress) -> bool:
    """Whether a list can know something about ``address``."""
    return bisect_right(_ENDS[address.ip.version], int(address.ip)) % 2 == 0


def query_name(ip: IPv4Address | IPv6Address, zone: str) -> str:
    """Where ``zone`` holds ``ip`` (RFC 5782 2.1, 2.4).

    ``ip`` is taken as it is: the IPv6 test points are IPv4-mapped addresses, and stay IPv6.
    """
    parts = str(ip).split(".") if isinstance(ip, IPv4Address) else list(f"{int(ip):032x}")
    return ".".join([*reversed(parts), zone])
