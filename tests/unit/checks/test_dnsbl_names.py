"""Names of clients in lists, dnspython as the oracle; and the clients that no list is asked about."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import dns.reversename
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.checks.dnsbl_names import UNASKED, is_asked_about, query_name
from mailguard.facts import ClientAddress

_ADDRESSES = st.ip_addresses(v=4) | st.integers(2**49, 2**128 - 1).map(IPv6Address)  # no IPv4-mapped one


@given(_ADDRESSES)
def test_as_reverse_names_are_made(ip: IPv4Address | IPv6Address) -> None:
    origin = "in-addr.arpa" if ip.version == 4 else "ip6.arpa"
    assert query_name(ip, origin) + "." == dns.reversename.from_address(str(ip)).to_text()


@given(_ADDRESSES)
def test_the_way_back(ip: IPv4Address | IPv6Address) -> None:
    parts = query_name(ip, "bl.example").removesuffix(".bl.example").split(".")[::-1]
    assert ip == (IPv4Address(".".join(parts)) if ip.version == 4 else IPv6Address(int("".join(parts), 16)))


@pytest.mark.parametrize(
    ("ip", "name"),
    [
        ("198.18.7.2", "2.7.18.198.bl.example"),
        ("2001:2::a", "a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.2.0.0.0.1.0.0.2.bl.example"),
        ("::ffff:7f00:2", "2.0.0.0.0.0.f.7.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.bl.example"),
    ],
)
def test_examples(ip: str, name: str) -> None:
    """The last is the IPv6 test point of RFC 5782 5, which must not turn IPv4."""
    assert query_name(ip_address(ip), "bl.example") == name


@pytest.mark.parametrize("network", [str(network) for network, _ in UNASKED])
def test_private_and_reserved_networks_from_first_to_last(network: str) -> None:
    for address in (ip_network(network)[0], ip_network(network)[-1]):
        assert not is_asked_about(ClientAddress(address))


@pytest.mark.parametrize(
    "address",
    [
        "198.18.0.0",
        "198.18.7.7",
        "198.19.255.255",
        "2001:2::1",
        "2001:2:0:ffff::1",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "1.1.1.1",
        "2a00::1",
        "64:ff9b::c612:707",
        "::ffff:198.18.7.7",
    ],
)
def test_all_others_are_asked_about(address: str) -> None:
    assert is_asked_about(ClientAddress.parse(address))


@given(st.ip_addresses())
def test_what_is_global_is_asked_about(ip: IPv4Address | IPv6Address) -> None:
    """Against Python's own table, which calls more things private than we do."""
    if ip.is_global and not ip.is_multicast and not ip.is_reserved:
        assert is_asked_about(ClientAddress(ip)) or ip in ip_network("192.0.0.0/24")  # holds two anycast services


@pytest.mark.parametrize("mapped", ["::ffff:10.0.0.1", "::ffff:127.0.0.1"])
def test_a_mapped_address_is_its_ipv4_self(mapped: str) -> None:
    assert not is_asked_about(ClientAddress.parse(mapped))
