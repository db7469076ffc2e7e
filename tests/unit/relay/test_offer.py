"""What EHLO offers, and which MAIL parameters a backend then gets."""

from __future__ import annotations

import pytest

from mailguard.relay.answers import BackendFailed
from mailguard.relay.offer import Offer
from tests.unit.relay.conftest import mail_from


@pytest.mark.parametrize(
    ("lines", "offer"),
    [
        ([b"sink greets you"], Offer()),
        ([b"PIPELINING greets you"], Offer()),
        ([b"x", b"PIPELINING", b"SIZE 1000", b"8BITMIME"], Offer(True, 1000, True, True)),
        ([b"x", b"pipelining", b"Size", b"SmtpUtf8", b""], Offer(pipelining=True, sized=True, smtputf8=True)),
        ([b"x", b"SIZE 0"], Offer(sized=True)),
        ([b"x", b"SIZE -5"], Offer(sized=True)),
        ([b"x", b"SIZE 1e9"], Offer(sized=True)),
        ([b"x", b"SIZE " + b"9" * 21], Offer(sized=True)),
        ([b"x", b"\xff\xfe", b"AUTH PLAIN"], Offer()),
    ],
)
def test_parse(lines: list[bytes], offer: Offer) -> None:
    assert Offer.parse(lines) == offer


FULL = Offer(pipelining=True, size=1000, sized=True, eightbitmime=True, smtputf8=True)


def test_all_parameters_reach_one_who_offers_all() -> None:
    mail = mail_from("a@b.example", SIZE=b"100", BODY=b"8bitmime", SMTPUTF8=None)
    assert FULL.fit(mail) == mail


def test_what_may_be_left_out_is() -> None:
    mail = mail_from("a@b.example", SIZE=b"100", BODY=b"7bit")
    assert Offer().fit(mail) == mail_from("a@b.example")
    assert Offer(sized=True).fit(mail) == mail_from("a@b.example", SIZE=b"100")


@pytest.mark.parametrize(("keyword", "value"), [("SMTPUTF8", None), ("BODY", b"8BITMIME"), ("BODY", b"BINARYMIME")])
def test_what_is_needed_must_be_offered(keyword: str, value: bytes | None) -> None:
    with pytest.raises(BackendFailed, match="needs"):
        Offer(pipelining=True).fit(mail_from("a@b.example", **{keyword: value}))
