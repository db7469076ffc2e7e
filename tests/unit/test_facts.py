"""The vocabulary of facts: addresses, and the declaration that compiler, cases and pages read."""

from ipaddress import IPv4Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.facts import FACTS, ClientAddress, Direction, FactType, Mailbox, Provenance, Source, Stage


@pytest.mark.parametrize(
    ("text", "shown", "literal"),
    [
        ("198.18.1.10", "198.18.1.10", "[198.18.1.10]"),
        ("::ffff:198.18.1.10", "198.18.1.10", "[198.18.1.10]"),
        ("2001:2::1", "2001:2::1", "[IPv6:2001:2::1]"),
        ("fe80::1%eth0", "fe80::1", "[IPv6:fe80::1]"),
    ],
)
def test_a_client_address(text: str, shown: str, literal: str) -> None:
    address = ClientAddress.parse(text)
    assert (str(address), address.literal) == (shown, literal)


@pytest.mark.parametrize("text", ["", "198.18.1", "198.18.1.256", "host.example", "[198.18.1.10]"])
def test_no_client_address(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        ClientAddress.parse(text)


@given(
    st.from_regex(r"\A(0?[0-9]{1,3}\.){2,4}[0-9]{0,3}\Z")
    | st.ip_addresses().map(str)
    | st.text("0123456789.:", max_size=16)
)
def test_an_address_is_read_as_python_reads_it(text: str) -> None:
    try:
        theirs = ClientAddress(ip_address(text))
    except ValueError:
        with pytest.raises(ValueError, match="address"):
            ClientAddress.parse(text)
    else:
        ours = ClientAddress.parse(text)
        assert (ours, ours.ip, ours.client_key) == (theirs, theirs.ip, theirs.client_key)


def test_a_mapped_address_given_as_a_value_is_ipv4_too() -> None:
    assert ClientAddress.parse("::ffff:c612:10a").ip == IPv4Address("198.18.1.10")


@pytest.mark.parametrize("spec", FACTS.values(), ids=lambda spec: spec.name)
def test_the_declaration_of_a_fact(spec) -> None:
    kinds = {FactType.BOOLEAN: bool, FactType.NUMBER: float, FactType.TEXT: str, FactType.TEXTS: tuple}
    assert isinstance(spec.benign, kinds.get(spec.type, IPv4Address))
    assert (spec.stage is Stage.ENVELOPE) == (spec.provenance <= Provenance.ENVELOPE)
    assert spec.help
    assert set(spec.certain) <= set(spec.values)
    if spec.weighable:
        assert spec.type is FactType.BOOLEAN
        assert spec.stage is Stage.ENVELOPE


@pytest.mark.parametrize("spec", FACTS.values(), ids=lambda spec: spec.name)
def test_what_received_lines_do_to_a_fact(spec) -> None:
    """Whatever they move belongs to the content, the last stage: ``policy.direction`` relies on it."""
    assert bool(spec.moves) == bool(spec.why)
    assert (spec.moves is Direction.ANY) == (spec.provenance is Provenance.RECEIVED)
    if spec.moves:
        assert spec.stage is max(Stage)
        assert spec.source in (Source.CLAMAV, Source.SPAMASSASSIN)


def test_the_opposite_of_a_direction() -> None:
    assert {each: each.turned for each in (Direction.FREE, *Direction, Direction.ANY)} == {
        Direction.FREE: Direction.FREE,
        Direction.FALLS: Direction.RISES,
        Direction.RISES: Direction.FALLS,
        Direction.ANY: Direction.ANY,
    }


@pytest.mark.parametrize(
    ("local", "domain", "written"),
    [
        ("user", "example.com", "user@example.com"),
        ("first.last+tag", "example.com", "first.last+tag@example.com"),
        ("jürgen", "bücher.example", "jürgen@bücher.example"),
        ("a b", "example.com", '"a b"@example.com'),
        ("a,b", "example.com", '"a,b"@example.com'),
        ("a@b", "example.com", '"a@b"@example.com'),
        ('a"b\\', "example.com", '"a\\"b\\\\"@example.com'),
        (".a", "example.com", '".a"@example.com'),
        ("a..b", "example.com", '"a..b"@example.com'),
        ("a.", "example.com", '"a."@example.com'),
        ("", "example.com", '""@example.com'),
        ("postmaster", "", "postmaster"),
        ("", "", ""),
    ],
)
def test_a_mailbox_is_written_so_that_it_can_be_read_back(local: str, domain: str, written: str) -> None:
    mailbox = Mailbox(local, domain)
    assert str(mailbox) == written
    assert mailbox.unquoted == (f"{local}@{domain}" if domain else local)
