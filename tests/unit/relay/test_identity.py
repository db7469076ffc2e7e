"""relay/identity.py: under whose name a backend is greeted."""

from __future__ import annotations

import pytest

from mailguard.facts import ClientAddress
from mailguard.net.proxy_header import LOCAL
from mailguard.relay.identity import Identity, Introduction, introduce


def identity(helo: str, address: str = "198.18.1.10") -> Identity:
    return Identity(ClientAddress.parse(address), 40000, ClientAddress.parse("127.0.0.1"), 25, helo)


@pytest.mark.parametrize(
    "helo",
    [
        "client.example.org",
        "localhost",
        "a-b.c",
        "X.Example",
        "1.2.3.4",
        "[198.18.9.9]",
        "[IPv6:2001:2::1]",
        "[ipv6:2001:2::1]",
        "a" * 63 + ".example",
    ],
)
def test_a_wellformed_name_is_passed_on_as_sent(helo: str) -> None:
    assert identity(helo).ehlo == helo


@pytest.mark.parametrize(
    "helo",
    [
        "",
        "under_score.example",
        "-a.example",
        "a-.example",
        "a..b",
        "a.",
        ".a",
        "a" * 64,
        "a." * 127 + "aa",
        "b ü",
        "[198.18.9.9",
        "[198.18.9]",
        "[2001:2::1]",
        "[IPv6:198.18.9.9]",
        "[x]",
        "[]",
        "a\r\nRSET",
        "a b",
        "a\n",
    ],
)
def test_any_other_becomes_the_clients_address_literal(helo: str) -> None:
    assert identity(helo).ehlo == "[198.18.1.10]"
    assert identity(helo, "2001:2:0:1::1").ehlo == "[IPv6:2001:2:0:1::1]"


def test_introductions() -> None:
    client, ours = identity("client.example.org"), "mx.example.com"
    assert introduce(client, ours, "proxy") == Introduction(client.header, "client.example.org")
    assert introduce(None, ours, "proxy") == Introduction(LOCAL, ours)
    assert introduce(client, ours, "xclient") == Introduction(b"", ours, client)
    for introduction in (
        introduce(None, ours, "xclient"),
        introduce(None, ours, "none"),
        introduce(client, ours, "none"),
    ):
        assert introduction == Introduction(b"", ours)
