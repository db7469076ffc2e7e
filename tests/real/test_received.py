"""Our Received line as a real SpamAssassin reads it: its last external relay is the client, whatever HELO said."""

from __future__ import annotations

import re
import socket
from datetime import UTC, datetime

import pytest

from mailguard.commands import Path
from mailguard.facts import Answer, ClientAddress, Known, ReverseDns, TlsSession, Unknown
from mailguard.lab.spamd import Spamd
from mailguard.message import Origin, Transmission, for_scanners, parse_head

THEIRS = (
    b"Received: from 198.18.99.1 (198.18.99.2 [198.18.99.3]) by x.example with ESMTP id 1;\r\n"
    b"\tFri, 20 Nov 2026 09:00:00 +0000\r\nReturn-Path: <forged@example.net>\r\nSubject: s\r\n\r\nbody\r\n"
)
IN_TLS = TlsSession("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256)
NAMED = Known(ReverseDns("mail.example.org", confirmed=True))


def last_external(spamd: Spamd, octets: bytes) -> str:
    """Which address spamd took for the client's (spamd's PROTOCOL, HEADERS; mailguard.cf adds the field)."""
    host, _, port = spamd.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(b"HEADERS SPAMC/1.5\r\nContent-length: %d\r\n\r\n%b" % (len(octets), octets))
        reply = connection.makefile("rb").read().decode(errors="replace")
    match = re.search(r"^X-Spam-Lastexternal-IP: (\S*)", reply, re.MULTILINE)
    assert match, reply
    return match[1]


@pytest.mark.parametrize("tls", [None, IN_TLS], ids=["plain", "TLS"])
@pytest.mark.parametrize("address", ["198.18.1.10", "2001:2:0:7::1"])
@pytest.mark.parametrize("reverse", [NAMED, Unknown("timeout")], ids=["named", "unknown"])
@pytest.mark.parametrize(
    "helo",
    [
        "mail.example.org",
        "[198.18.77.77]",
        "[IPv6:2001:2:0:77::1]",
        "198.18.77.77",
        "localhost",
        "x) by y (z [198.18.77.77]",
        "",
        "h" * 255,
    ],
)
def test_the_client_is_the_last_external_relay(
    spamd: Spamd, helo: str, reverse: Answer[ReverseDns], address: str, tls: TlsSession | None
) -> None:
    way = Transmission(
        Origin("mx.example.com", ClientAddress.parse(address), helo, reverse, tls=tls),
        reference="4GJQ2RZKM-1",
        with_="ESMTPS" if tls else "ESMTP",
        at=datetime(2026, 11, 20, 10, 0, 0, tzinfo=UTC),
    )
    head = parse_head(THEIRS)
    assert last_external(spamd, for_scanners(head, way, Path(b"a", b"example.org")) + THEIRS[head.size :]) == address
