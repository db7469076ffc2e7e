"""Questions as octets, dnspython as the oracle; and those that are put together of a client's labels and a zone."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

import dns.message
import dns.reversename
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.dns import wire
from mailguard.dns.question import TYPE_CODES, about, backwards, type_of


@pytest.mark.parametrize("rdtype", TYPE_CODES)
def test_a_question_is_what_dnspython_reads(rdtype: str) -> None:
    question = about("Host.Example.", rdtype)  # type: ignore[arg-type]
    assert dns.message.from_wire(wire.encode(question, b"\0\7")).question[0].to_text() == f"host.example. IN {rdtype}"
    assert question == about("host.example", rdtype)  # type: ignore[arg-type]
    assert type_of(question) == rdtype


@given(st.ip_addresses(v=4) | st.integers(2**49, 2**128 - 1).map(IPv6Address))
def test_labels_and_a_zone_are_the_question_about_the_name(ip: IPv4Address | IPv6Address) -> None:
    origin = "in-addr.arpa" if ip.version == 4 else "ip6.arpa"
    name = dns.reversename.from_address(str(ip)).to_text()
    assert backwards(ip) + about(origin, "PTR") == about(name, "PTR")


def test_a_mapped_address_is_taken_as_it_is() -> None:
    """As the IPv6 test points of lists are (RFC 5782 5)."""
    name = "2.0.0.0.0.0.f.7.f.f.f.f" + ".0" * 20
    assert backwards(IPv6Address("::ffff:7f00:2")) + about("bl.example", "A") == about(f"{name}.bl.example", "A")


@pytest.mark.parametrize("name", ["", ".", "a..b", "a." + "x" * 64, "m\u00fcl.example"])
def test_what_is_no_name_is_no_question(name: str) -> None:
    with pytest.raises(ValueError, match=r"name|ASCII"):
        about(name, "A")
