"""net/proxy_header.py octet by octet, and against the parser of what others send us."""

from __future__ import annotations

import pytest

from mailguard.facts import ClientAddress
from mailguard.net.proxy_header import LOCAL, proxy_header

SIGNATURE = bytes.fromhex("0d0a0d0a000d0a515549540a")

HEADERS = [
    ("198.18.1.10", "127.0.0.1", "2111000c c612010a 7f000001 9c40 0019"),
    ("::ffff:198.18.1.10", "::ffff:127.0.0.1", "2111000c c612010a 7f000001 9c40 0019"),
    (
        "2001:2:0:1::1",
        "::1",
        "21210024 20010002000000010000000000000001 00000000000000000000000000000001 9c40 0019",
    ),
    ("198.18.1.10", "::1", "2111000c c612010a 00000000 9c40 0019"),
    (
        "2001:2:0:1::1",
        "127.0.0.1",
        "21210024 20010002000000010000000000000001 00000000000000000000000000000000 9c40 0019",
    ),
]


@pytest.mark.parametrize(("source", "target", "octets"), HEADERS)
def test_header(source: str, target: str, octets: str) -> None:
    header = proxy_header(ClientAddress.parse(source), 40000, ClientAddress.parse(target), 25)
    assert header == SIGNATURE + bytes.fromhex(octets)


def test_local() -> None:
    assert SIGNATURE + bytes.fromhex("20000000") == LOCAL
