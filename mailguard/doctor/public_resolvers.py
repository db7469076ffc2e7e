"""Resolvers for everybody, by address: DNS lists do not answer them.

A list counts questions by the address that they come from. What a public resolver asks for all its users is over every
free quota, so that Spamhaus, SpamCop, URIBL and others answer it "blocked", or, worse, "not listed". The table holds
the large ones; others are known by how a list answers them (:mod:`mailguard.doctor.resolver`).
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address, ip_network
from typing import Final

from mailguard.config import Network

_BY_OPERATOR: Final[Mapping[str, str]] = {
    "Google": "8.8.8.8 8.8.4.4 2001:4860:4860::/48",
    "Cloudflare": "1.1.1.0/29 1.0.0.0/29 2606:4700:4700::/48",
    "Quad9": "9.9.9.0/28 149.112.112.0/24 2620:fe::/48",
    "OpenDNS": "208.67.220.0/24 208.67.222.0/24 2620:119:35::/48 2620:119:53::/48",
    "Level 3": "4.2.2.0/29 209.244.0.3 209.244.0.4",
    "Verisign and Neustar": "64.6.64.6 64.6.65.6 156.154.70.0/23 2620:74:1b::/48 2620:74:1c::/48",
    "AdGuard": "94.140.14.0/24 94.140.15.0/24 2a10:50c0::/48",
    "CleanBrowsing": "185.228.168.0/24 185.228.169.0/24 2a0d:2a00:1::/48 2a0d:2a00:2::/48",
    "Comodo": "8.26.56.26 8.20.247.20",
    "Control D": "76.76.2.0/24 76.76.10.0/24",
    "DNS4EU": "86.54.11.0/24",
    "NextDNS": "45.90.28.0/24 45.90.30.0/24",
    "Yandex": "77.88.8.0/24 2a02:6b8::feed:0/112",
    "Alibaba": "223.5.5.5 223.6.6.6",
    "114DNS": "114.114.114.0/24 114.114.115.0/24",
}

PUBLIC: Final[tuple[tuple[Network, str], ...]] = tuple(
    (ip_network(network), operator) for operator, networks in _BY_OPERATOR.items() for network in networks.split()
)
"""Networks and whose they are."""


def operator_of(address: str) -> str:
    """Who runs the public resolver at ``address``; empty where none of the table does."""
    ip = ip_address(address.partition("%")[0])
    return next((who for network, who in PUBLIC if network.version == ip.version and ip in network), "")
