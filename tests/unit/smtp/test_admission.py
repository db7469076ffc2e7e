"""Slots, and who a peer is."""

from __future__ import annotations

from contextlib import ExitStack
from ipaddress import ip_network

import pytest

from mailguard.config import Limits
from mailguard.facts import ClientAddress
from mailguard.net.proxy_protocol import Endpoints, Header
from mailguard.smtp.admission import Slots, TurnedAway, behind, endpoint, is_trusted

LIMITS = Limits(max_connections=3, max_connections_per_client=2)


def address(text: str) -> ClientAddress:
    return ClientAddress.parse(text)


def test_slots_in_all_come_back() -> None:
    slots = Slots(LIMITS)
    for _ in range(3):
        with ExitStack() as stack:
            for _ in range(3):
                stack.enter_context(slots.connection())
            with pytest.raises(TurnedAway, match=r"^421 4\.3\.2 "), slots.connection():
                pass


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("198.18.0.1", "198.18.0.1", True),
        ("198.18.0.1", "::ffff:198.18.0.1", True),
        ("198.18.0.1", "198.18.0.2", False),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("0.0.0.0", "::", False),
        ("255.255.255.255", "0:0:0:1::", False),
    ],
)
def test_what_counts_as_one_client(one: str, other: str, same: bool) -> None:
    slots = Slots(LIMITS)
    with slots.client(address(one)), slots.client(address(one)):
        if same:
            with pytest.raises(TurnedAway, match=r"^421 4\.7\.0 "), slots.client(address(other)):
                pass
        else:
            with slots.client(address(other)):
                pass
    with slots.client(address(other)), slots.client(address(other)):
        assert len(slots._clients) == 1
    assert not slots._clients


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (("198.18.0.1", 4711), "198.18.0.1 4711"),
        (("::ffff:198.18.0.1", 4711, 0, 0), "198.18.0.1 4711"),
        (("fe80::1%eth0", 4711, 0, 2), "fe80::1 4711"),
    ],
)
def test_socket_names(name: tuple[object, ...], text: str) -> None:
    assert "{} {}".format(*endpoint(name)) == text


def test_who_sends_a_proxy_header() -> None:
    trusted = [ip_network("198.18.0.0/24"), ip_network("2001:db8::/32")]
    assert is_trusted(address("198.18.0.9"), trusted)
    assert is_trusted(address("::ffff:198.18.0.9"), trusted)
    assert is_trusted(address("2001:db8::1"), trusted)
    assert not is_trusted(address("198.18.1.9"), trusted)
    assert not is_trusted(address("198.18.0.9"), [])


def test_who_is_behind_a_header() -> None:
    peer, local = (address("198.18.0.1"), 1), (address("198.18.0.2"), 2)
    named = Endpoints(address("198.18.0.3"), 3, address("198.18.0.4"), 4)
    assert behind(Header(), peer, local) == (peer, local)
    assert behind(Header(named), peer, local) == ((named.source, 3), (named.destination, 4))
