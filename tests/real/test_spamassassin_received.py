"""Received lines, however many and long, and wherever they stand, never raise ``content_score`` (a real spamd)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mailguard import config
from mailguard.facts import SpamResult
from mailguard.lab import Lab
from mailguard.lab.spamd import GTUBE, Spamd
from tests.real.test_spamassassin import CLEAN, HAM, SPAM, client_of, received, score, top

BARE = b"Subject: hi\r\n\r\nHello.\r\n"
"""Without From, To, Date and Message-ID: what is missing gives points already."""

LONG = SPAM + b"A line of no interest at all, and yet one more of many.\r\n" * 12_000
"""Longer than ``max_size`` by itself."""

MESSAGES = {"ham": HAM, "spam": SPAM, "gtube": HAM + GTUBE.encode() + b"\r\n", "bare": BARE, "long": LONG}


def folded(octets: int, address: str = "198.18.7.3") -> bytes:
    """One Received field of about ``octets``, in lines of 900."""
    line = b"\t(" + b"x" * 895 + b")\r\n"
    return received(address, by="relay.example.org")[:-2] + b"\r\n" + line * (octets // len(line))


TRAILS = {
    "many": b"".join(folded(9_000) for _ in range(60)),
    "one": folded(540_000),
    "blanks": received("198.18.7.3")[:-2] + b"\r\n" + (b" " * 900 + b"\r\n") * 600,
    "most": folded(config.Limits().max_header_size - 10_000),
}
ODD = (
    b"RECEIVED: from 198.18.7.3 by relay.example.org; Mon, 1 Jan 1990 00:00:00 +0000\r\n"
    b"Received : (Buy cheap Viagra, no prescription needed!!! http://198.18.7.3/ http://example.invalid/)\r\n"
    b"received:\r\n \r\n\t\r\nReceived: \xff\xfe from =?utf-8?q?x?= with \xe9; never\r\nReceived:"
    + b"A" * 9000
    + b"\r\n"
)
TRAILS["odd"] = ODD * 15
RATHER = 0.051
"""How far rounding goes."""


@pytest.fixture(scope="module")
def local() -> Iterator[Spamd]:
    """A spamd without network tests."""
    with Lab() as lab:
        yield lab.server("spamd", Spamd, lambda folder: Spamd(folder, None, children=1))


@pytest.fixture(scope="module")
def plain() -> dict[str, SpamResult]:
    """The score of each message without a foreign Received line, as far as it was asked for."""
    return {}


async def without(plain: dict[str, SpamResult], spamd: Spamd, name: str) -> SpamResult:
    if name not in plain:
        plain[name] = await score(client_of(spamd.address), top(CLEAN) + MESSAGES[name])
    return plain[name]


def below(message: bytes, trail: bytes) -> bytes:
    head, _, body = message.partition(b"\r\n\r\n")
    return head + b"\r\n" + trail + b"\r\n" + body


@pytest.mark.parametrize("place", ["above", "below"])
@pytest.mark.parametrize("trail", TRAILS)
@pytest.mark.parametrize("name", MESSAGES)
async def test_received_lines_raise_nothing(
    local: Spamd, plain: dict[str, SpamResult], name: str, trail: str, place: str
) -> None:
    lines = TRAILS[trail]
    whole = top(CLEAN) + (lines + MESSAGES[name] if place == "above" else below(MESSAGES[name], lines))
    expected, found = await without(plain, local, name), await score(client_of(local.address), whole)
    assert found.content_score <= expected.content_score + RATHER
    untainted = expected.rules.keys() - expected.tainted
    assert untainted <= found.rules.keys(), "and hide nothing either"
    assert found.truncated == expected.truncated == (name == "long")
