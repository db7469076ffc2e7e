"""The PROXY header that a trusted peer sends: both versions, any packets, nothing lenient."""

from __future__ import annotations

import asyncio
import struct

import pytest
from aiosmtpd.proxy_protocol import get_proxy
from hypothesis import given
from hypothesis import strategies as st

from mailguard.facts import ClientAddress
from mailguard.net.proxy_header import LOCAL, proxy_header
from mailguard.net.proxy_protocol import MAX_V2, Header, HeaderReader, ProxyError

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def v2(command: int, family: int, block: bytes) -> bytes:
    return SIGNATURE + bytes((command, family)) + struct.pack("!H", len(block)) + block


INET = bytes((198, 18, 1, 10)) + bytes((198, 18, 0, 25)) + struct.pack("!HH", 40000, 25)
INET6 = bytes.fromhex("20010db8000000000000000000000001" * 2) + struct.pack("!HH", 40000, 25)
MAPPED = bytes.fromhex("00000000000000000000ffffc612010a" * 2) + struct.pack("!HH", 40000, 25)
TLV = b"\x04\x00\x03abc"


def read(raw: bytes) -> tuple[Header | None, bytes]:
    reader = HeaderReader()
    return reader.feed(raw), reader.rest


def text(header: Header | None) -> str:
    assert header is not None
    ends = header.endpoints
    return f"{ends.source} {ends.source_port} {ends.destination} {ends.destination_port}" if ends else "own"


GOOD = [
    (b"PROXY TCP4 198.18.1.10 198.18.0.25 40000 25\r\n", "198.18.1.10 40000 198.18.0.25 25"),
    (b"PROXY TCP6 2001:db8::1 2001:db8::1 40000 25\r\n", "2001:db8::1 40000 2001:db8::1 25"),
    (b"PROXY TCP6 ::ffff:198.18.1.10 ::1 0 65535\r\n", "198.18.1.10 0 ::1 65535"),
    (b"PROXY UNKNOWN\r\n", "own"),
    (b"PROXY UNKNOWN whatever stands here\r\n", "own"),
    (v2(0x21, 0x11, INET), "198.18.1.10 40000 198.18.0.25 25"),
    (v2(0x21, 0x11, INET + TLV), "198.18.1.10 40000 198.18.0.25 25"),
    (v2(0x21, 0x21, INET6 + TLV * 100), "2001:db8::1 40000 2001:db8::1 25"),
    (v2(0x21, 0x21, MAPPED), "198.18.1.10 40000 198.18.1.10 25"),
    (v2(0x20, 0x00, b""), "own"),
    (v2(0x20, 0x11, INET), "own"),
    (v2(0x21, 0x00, b"\x01\x02"), "own"),
    (v2(0x21, 0x31, bytes(216)), "own"),
]


@pytest.mark.parametrize(("raw", "ends"), GOOD)
def test_headers(raw: bytes, ends: str) -> None:
    header, rest = read(raw + b"EHLO x\r\n")
    assert text(header) == ends
    assert rest == b"EHLO x\r\n"


@pytest.mark.parametrize(("raw", "ends"), GOOD)
def test_one_octet_at_a_time(raw: bytes, ends: str) -> None:
    reader = HeaderReader()
    for i in range(len(raw) - 1):
        assert reader.feed(raw[i : i + 1]) is None
    assert text(reader.feed(raw[-1:])) == ends
    assert reader.rest == b""


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"EHLO x\r\n", "no PROXY header"),
        (b"PROXX", "no PROXY header"),
        (b"proxy TCP4 198.18.1.10 198.18.0.25 1 2\r\n", "no PROXY header"),
        (b"\r\n\r\n\0\r\nEHLO", "no PROXY header"),
        (b"PROXY \r\n", "version 1: malformed"),
        (b"PROXY TCP4\r\n", "version 1: malformed"),
        (b"PROXY UDP4 198.18.1.10 198.18.0.25 1 2\r\n", "version 1: malformed"),
        (b"PROXY TCP4 198.18.1.10 198.18.0.25 1\r\n", "version 1: malformed"),
        (b"PROXY TCP4 198.18.1.10 198.18.0.25 1 2 3\r\n", "version 1: malformed"),
        (b"PROXY  TCP4 198.18.1.10 198.18.0.25 1 2\r\n", "version 1: malformed"),
        (b"PROXY TCP4 198.18.1.256 198.18.0.25 1 2\r\n", "version 1: not an address of TCP4"),
        (b"PROXY TCP4 198.18.1.010 198.18.0.25 1 2\r\n", "version 1: not an address of TCP4"),
        (b"PROXY TCP4 2001:db8::1 198.18.0.25 1 2\r\n", "version 1: not an address of TCP4"),
        (b"PROXY TCP6 198.18.1.10 ::1 1 2\r\n", "version 1: not an address of TCP6"),
        (b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n", "version 1: an address with a zone"),
        (b"PROXY TCP4 \xff 198.18.0.25 1 2\r\n", "version 1: not an address of TCP4"),
        (b"PROXY TCP4 198.18.1.10 198.18.0.25 65536 2\r\n", "version 1: not a port"),
        (b"PROXY TCP4 198.18.1.10 198.18.0.25 01 2\r\n", "version 1: not a port"),
        (b"PROXY TCP4 198.18.1.10 198.18.0.25 -1 2\r\n", "version 1: not a port"),
        (b"PROXY TCP4 198.18.1.10 198.18.0.25 1 2\n" + b"x" * 100, "version 1: no end of line"),
        (v2(0x11, 0x11, INET), "version 2: command 0x11"),
        (v2(0x22, 0x11, INET), "version 2: command 0x22"),
        (v2(0x21, 0x12, INET), "version 2: family 0x12 is no stream over IPv4 or IPv6"),
        (v2(0x21, 0x41, INET), "version 2: family 0x41 is no stream over IPv4 or IPv6"),
        (v2(0x21, 0x11, INET[:-1]), "version 2: addresses cut short"),
        (v2(0x21, 0x21, INET), "version 2: addresses cut short"),
        (v2(0x21, 0x11, bytes(MAX_V2 + 1)), f"version 2: {MAX_V2 + 1} octets of addresses"),
    ],
)
def test_what_is_no_header(raw: bytes, why: str) -> None:
    with pytest.raises(ProxyError, match=why.replace(".", r"\.")):
        read(raw)


@given(st.binary(max_size=300) | st.binary(max_size=250).map(lambda tail: SIGNATURE + b"\x21\x11" + tail))
def test_garbage_is_an_error_or_not_yet_a_header(raw: bytes) -> None:
    try:
        read(raw)
    except ProxyError as error:
        assert str(error)


@given(st.ip_addresses(v=4) | st.ip_addresses(v=6), st.integers(0, 65535))
def test_what_we_send_is_what_we_read(ip, port: int) -> None:  # type: ignore[no-untyped-def]
    source = ClientAddress(ip)
    header, _ = read(proxy_header(source, port, source, 25))
    assert text(header) == f"{source} {port} {source} 25"


def test_our_local_header_is_read_as_one() -> None:
    assert text(read(LOCAL)[0]) == "own"


@pytest.mark.parametrize(("raw", "ends"), [case for case in GOOD if case[1] != "own" and b"ffff" not in case[0]])
async def test_aiosmtpd_reads_the_same(raw: bytes, ends: str) -> None:
    """An independent implementation, as an oracle."""
    reader = asyncio.StreamReader()
    reader.feed_data(raw)
    data = await get_proxy(reader)
    assert data.valid
    theirs = [
        ClientAddress.parse(str(data.src_addr)),
        data.src_port,
        ClientAddress.parse(str(data.dst_addr)),
        data.dst_port,
    ]
    assert " ".join(map(str, theirs)) == ends
