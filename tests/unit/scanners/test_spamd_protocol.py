"""spamd's words, strictly: what is not exactly a reply is no answer."""

from __future__ import annotations

import pytest

from mailguard.facts import ClientAddress
from mailguard.scanners.spam_output import Output, from_headers, from_report
from mailguard.scanners.spamd_protocol import BadReply, is_pong, parse_reply, request
from mailguard.spamrules.points import Hit

GOOD = b"SPAMD/1.1 0 EX_OK\r\nContent-length: 4\r\nSpam: True ; 15.2 / 5.0\r\n\r\nbody"


def test_a_reply() -> None:
    found = parse_reply(GOOD)
    assert (found.score, found.required, found.body) == (15.2, 5.0, "body")


def test_fields_in_any_order_and_case() -> None:
    reply = b"SPAMD/1.5 0 EX_OK\r\nSPAM: False ; -0.1 / 5.0\r\ncontent-LENGTH: 0\r\nX: y\r\n\r\n"
    assert parse_reply(reply).score == -0.1


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (b"", "without a reply"),
        (b"SPAMD/1.1 0", "no reply of spamd"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "no reply of spamd"),
        (b"SPAMD/2.0 0 EX_OK\r\n\r\n", "protocol"),
        (b"SPAMD/1.0 76 Bad header line: (EOF during headers)\r\n", "error 76"),
        (b"SPAMD/1.0 69 Service Unavailable: x\r\n", "error 69"),
        (GOOD[:40], "cut off"),
        (GOOD[:-1], "body of 3 octets"),
        (GOOD + b"!", "body of 5 octets"),
        (GOOD.replace(b"Content-length: 4\r\n", b""), "no Content-length"),
        (GOOD.replace(b"length: 4", b"length: -4"), "no Content-length"),
        (GOOD.replace(b"length: 4", b"length: 99999999999"), "no Content-length"),
        (GOOD.replace(b"Spam: True ; 15.2 / 5.0\r\n", b""), "no verdict"),
        (GOOD.replace(b"15.2", b"nan"), "no verdict"),
        (GOOD.replace(b"15.2", b"1e5"), "no verdict"),
        (GOOD.replace(b"15.2", b""), "no verdict"),
        (GOOD.replace(b"True", b"False"), "contradicts"),
        (GOOD.replace(b"15.2", b"1.2"), "contradicts"),
        (GOOD.replace(b"Spam:", b"Spam"), "bad header field"),
        (GOOD.replace(b"\r\n\r\n", b"\r\nSpam: True ; 16.0 / 5.0\r\n\r\n"), "bad header field"),
        (GOOD.replace(b"EX_OK", b"EX\x00OK"), "no reply of spamd"),
    ],
)
def test_no_reply(reply: bytes, says: str) -> None:
    with pytest.raises(BadReply, match=says) as caught:
        parse_reply(reply)
    assert not caught.value.gave_up
    assert str(caught.value).isprintable()


def test_spamd_gave_up() -> None:
    with pytest.raises(BadReply) as caught:
        parse_reply(b"SPAMD/1.0 79 Timeout: (30 second timeout while trying to HEADERS)\r\n")
    assert caught.value.gave_up


def test_pong() -> None:
    assert is_pong(b"SPAMD/1.5 0 PONG\r\n")
    assert not is_pong(b"SPAMD/1.5 0 PO")
    assert not is_pong(b"")


def test_a_request() -> None:
    assert b"".join(request("HEADERS", b"a\r\n")) == b"HEADERS SPAMC/1.5\r\nContent-length: 3\r\n\r\na\r\n"
    assert b"User: alice\r\n" in b"".join(request("REPORT", b"", "alice"))


HEADERS = (
    "Return-Path: <a@example.org>\r\n"
    "X-Spam-Status: No, score=4.0\r\n"
    "X-Spam-Tests-Scores: A_ONE=1.5,B=-0.001,\r\n\tC=1e-05,B=-0.001\r\n"
    "X-Spam-Lastexternal-IP: 198.18.1.10\r\n"
    "X-Spam-Mailguard: 1 version=4.0.1 rules=123\r\n"
    "Received: from x\r\n"
    "X-Spam-Tests-Scores: FORGED=-100\r\n"
    "Subject: X-Spam-Mailguard: 1\r\n\r\n"
)


def test_headers() -> None:
    hits = (Hit("A_ONE", 1.5), Hit("B", -0.001), Hit("C", 1e-05), Hit("B", -0.001))
    relay = ClientAddress.parse("198.18.1.10")
    assert from_headers(HEADERS) == Output(hits, True, "4.0.1", "123", relay)


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_headers_without_hits(end: str) -> None:
    text = "X-Spam-Tests-Scores: none\nX-Spam-Mailguard: 1 version=4.0.1 rules=\nX-Spam-Lastexternal-IP: \n\n"
    assert from_headers(text.replace("\n", end)) == Output((), True, "4.0.1", "", None)


@pytest.mark.parametrize("field", ["X-Spam-Tests-Scores", "X-Spam-Mailguard"])
def test_headers_without_our_settings(field: str) -> None:
    assert from_headers(HEADERS.replace(field, "X-Other")) is None


@pytest.mark.parametrize("relay", ["unknown", "", "198.18.1.10 198.18.1.11"])
def test_what_is_no_address_is_no_relay(relay: str) -> None:
    found = from_headers(HEADERS.replace("198.18.1.10", relay))
    assert found is not None
    assert found.relay is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("A_ONE=1.5", "A_ONE"),
        ("A_ONE=1.5", "A_ONE=x"),
        ("A_ONE=1.5", "A_ONE=nan"),
        ("A_ONE=1.5", "=1.5"),
        ("A_ONE=1.5", "A-ONE=1.5"),
        ("A_ONE=1.5", ""),
        ("1 version=", "2 version="),
        (" rules=123", ""),
    ],
)
def test_headers_that_are_not_as_our_settings_make_them(old: str, new: str) -> None:
    with pytest.raises(BadReply):
        from_headers(HEADERS.replace(old, new, 1))


REPORT = """Spam detection software, running on the system "mx",
Content preview:   5.0 FORGED    in the preview
   ---- ---------------------- -----------------
 7.0 FORGED_TOO              below a forged rule

Content analysis details:   (15.2 points, 5.0 required)

 pts rule name              description
---- ---------------------- --------------------------------------------------
 1.5 A_ONE                  BODY: words
                            [URIs: 9.0.example]
  12 TWELVE                 more words
                             [ 3.0 FORGED_IN_BRACKETS]
-0.0 NEGATIVE               -10 SOMETHING
 -10 MINUS_TEN
 0.0 NOTHING                x

"""


def test_report() -> None:
    assert from_report(REPORT).hits == (
        Hit("A_ONE", 1.5, 0.05),
        Hit("TWELVE", 12, 0.5),
        Hit("NEGATIVE", 0.0, 0.05),
        Hit("MINUS_TEN", -10, 0.5),
        Hit("NOTHING", 0.0, 0.05),
    )


def test_a_report_without_a_table() -> None:
    with pytest.raises(BadReply, match="without a table"):
        from_report("nothing here\n 5.0 FORGED x\n")
