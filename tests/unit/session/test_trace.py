"""What Received and Authentication-Results say of the way to us, from the octets of a client to those at a sink."""

from __future__ import annotations

import re
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from mailguard.facts import Answer, Codes, Known, ReverseDns, Unknown
from tests.support.certificates import Pair, make, trusting
from tests.support.client import Client
from tests.support.found import found, said
from tests.support.heads import fields
from tests.support.mail import mail
from tests.unit.session.conftest import CLIENT, POLICY, Service, Start

RELAY = "198.18.3.1"
LISTENER = {"address": "127.0.0.1:0", "proxy_protocol_from": ["127.0.0.0/8"], "xclient_from": [RELAY]}
UTF8 = " SMTPUTF8"

TOKEN = r"[!#$%&'*+\-.0-9A-Z^_`a-z{|}~]+"
VALUE = rf'(?:{TOKEN}|"[^"\\]*")'
RESULT = rf"{TOKEN}={TOKEN}(?: \([^()\\]*\))?(?: {TOKEN}\.{TOKEN}={VALUE})*"
"""RFC 8601 2.2, as narrow as we write it: methodspec, a comment, propspecs."""
RESULTS = re.compile(rf"Authentication-Results: {TOKEN};(?: none| {RESULT}(?:; {RESULT})*)")


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return make(tmp_path)


async def delivered(client: Client, parameter: str) -> None:
    """One transaction; ``parameter`` of MAIL."""
    for command in (f"MAIL FROM:<a@b.example>{parameter}", "RCPT TO:<alice@example.com>"):
        assert await client.code(command.encode()) == 250
    assert await client.code(b"DATA") == 354
    await client.send(mail().octets + b".\r\n")
    assert (await client.reply())[-1].startswith(b"250 ")


def field(service: Service, name: str) -> str:
    """The topmost field of that ``name`` in what arrived, unfolded."""
    [got] = service.sink.messages
    found = next(one for one in fields(got.content) if one.startswith(f"{name}: ".encode()))
    return re.sub(r"\r\n[ \t]+", " ", found.decode("ascii")).removesuffix("\r\n")


@pytest.mark.parametrize(
    ("greeting", "tls", "parameter", "keyword"),
    [
        ("HELO", False, "", "SMTP"),
        ("EHLO", False, "", "ESMTP"),
        ("EHLO", True, "", "ESMTPS"),
        ("HELO", True, "", "ESMTPS"),
        ("EHLO", False, UTF8, "UTF8SMTP"),
        ("EHLO", True, UTF8, "UTF8SMTPS"),
    ],
)
async def test_the_keyword(start: Start, pair: Pair, greeting: str, tls: bool, parameter: str, keyword: str) -> None:
    """RFC 5321 4.4, RFC 3848 1, RFC 6531 3.7.3 and 4.3; TLS is begun by who says EHLO, whatever it says behind it."""
    service = await start(tls=pair.settings)
    async with await service.connect() as client:
        await client.reply()
        if tls:
            await client.command(b"EHLO mail.example.org")
            await client.starttls(trusting(pair))
        assert await client.code(f"{greeting} mail.example.org".encode()) == 250
        await delivered(client, parameter)
    comment = r" \(TLS1\.3 TLS_[A-Z0-9_]+\)" if tls else ""
    assert re.fullmatch(
        r"Received: from mail\.example\.org \(unknown \[198\.18\.1\.10\]\) "
        rf"by mx\.example\.com with {keyword}{comment} id [2-9B-Z]{{9}}-1; "
        r"[A-Z][a-z]{2}, \d\d? [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d [+-]\d{4}",
        field(service, "Received"),
    )


@pytest.mark.parametrize(
    ("attributes", "greeting", "tls", "parameter", "way"),
    [
        ("PROTO=SMTP HELO=c.example", "EHLO", False, "", "c.example SMTP"),
        ("PROTO=ESMTP HELO=c.example", "HELO", False, "", "c.example ESMTP"),
        ("PROTO=ESMTP HELO=c.example", "EHLO", False, UTF8, "c.example UTF8SMTP"),
        ("HELO=[IPv6:2001:2::7]", "EHLO", False, "", "[IPv6:2001:2::7] ESMTP"),
        ("PROTO=[UNAVAILABLE]", "HELO", False, "", "relay.example SMTP"),
        ("PROTO=ESMTP HELO=c.example", "EHLO", True, "", "c.example ESMTP"),
    ],
)
async def test_the_keyword_of_a_client_named_by_xclient(
    start: Start, pair: Pair, attributes: str, greeting: str, tls: bool, parameter: str, way: str
) -> None:
    """PROTO is the client's; the relay's TLS is not."""
    service = await start(listen=[LISTENER], tls=pair.settings)
    async with await service.connect(RELAY) as client:
        await client.reply()
        if tls:
            await client.command(b"EHLO relay.example")
            await client.starttls(trusting(pair))
            await client.command(b"EHLO relay.example")
        assert await client.code(f"XCLIENT ADDR=198.18.2.7 NAME=[UNAVAILABLE] {attributes}".encode()) == 220
        assert await client.code(f"{greeting} relay.example".encode()) == 250
        await delivered(client, parameter)
    name, keyword = way.split()
    line = field(service, "Received")
    assert line.startswith(f"Received: from {name} (unknown [198.18.2.7]) by mx.example.com with {keyword} id ")


@pytest.mark.parametrize(
    ("address", "literal"), [("198.18.1.10", "[198.18.1.10]"), ("2001:2:0:7::1", "[IPv6:2001:2:0:7::1]")]
)
async def test_the_address_and_nobody_but_the_client(start: Start, address: str, literal: str) -> None:
    """No FOR clause, with one recipient or with several: it would tell of a Bcc."""
    service = await start()
    async with await service.connect(address) as client:
        await client.reply()
        await client.command(b"EHLO mail.example.org")
        await client.message(b"a@b.example", [b"alice@example.com"], mail().octets)
        await client.message(b"a@b.example", [b"alice@example.com", b"bob@example.com"], mail().octets)
    for got in service.sink.messages:
        above = got.content.partition(b"X-Mailguard-Id:")[0].decode()
        assert f"(unknown {literal})" in re.sub(r"\s+", " ", above)
        assert " for " not in above
        assert "alice" not in above


LISTED, UNLISTED = Known(frozenset({IPv4Address("127.0.9.2")})), Known(frozenset[IPv4Address]())
DOWN = Unknown("timeout")


@pytest.mark.parametrize(
    ("reverse", "listed", "value"),
    [
        (Known(ReverseDns("m.example", True)), UNLISTED, "iprev=pass (m.example) policy.iprev=IP; dnswl=none ZONE"),
        (Known(ReverseDns("m.example", False)), LISTED, "iprev=fail (m.example) policy.iprev=IP; dnswl=pass ZONE CODE"),
        (Known(ReverseDns("", False)), UNLISTED, "iprev=permerror policy.iprev=IP; dnswl=none ZONE"),
        (DOWN, DOWN, "iprev=temperror policy.iprev=IP; dnswl=temperror ZONE"),
    ],
)
@pytest.mark.parametrize(("address", "ip"), [(CLIENT, CLIENT), ("2001:2:0:7::1", '"2001:2:0:7::1"')])
async def test_what_is_known_of_the_client(
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    reverse: Answer[ReverseDns],
    listed: Answer[Codes],
    value: str,
    address: str,
    ip: str,
) -> None:
    """RFC 8601 2.7.3 and RFC 8904 2: answers as the checks give them, in their registered properties."""

    monkeypatch.setattr("mailguard.session.questions.reverse_dns", lambda *_: found(reverse))
    monkeypatch.setattr("mailguard.checks.dnsbl.Dnsbl.ask", lambda *_: said({"white": listed}))
    service = await start(
        POLICY.replace(
            "rules:\n", "dnsbl:\n  white: {zone: w.example, answers: {127.0.9.2: {weight: -2}}}\nrules:\n", 1
        )
        .replace("sender.domain == 'dull.example'", "dnsbl.score >= 1")
        .replace("unavailable:\n", "unavailable:\n  dnsbl: ignore\n")
    )
    async with await service.connect(address) as client:
        await client.reply()
        await client.command(b"EHLO mail.example.org")
        await delivered(client, "")
    wanted = value.replace("IP", ip).replace("ZONE", "dns.zone=w.example").replace("CODE", "policy.ip=127.0.9.2")
    line = field(service, "Authentication-Results")
    assert line == f"Authentication-Results: mx.example.com; {wanted}"
    assert RESULTS.fullmatch(line)
