"""STARTTLS and XCLIENT in the conversation without a network: they end it, and what the next one knows of it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.commands import Extensions
from mailguard.config import Limits
from mailguard.smtp.conversation import Conversation
from mailguard.smtp.events import ClientNamed, Event, HeloGiven, Question, TlsAsked
from mailguard.smtp.keywords import Hop, Offer, keywords
from mailguard.smtp.states import State
from mailguard.smtp.xclient import read_xclient
from tests.unit.smtp.driving import benign

EHLO = b"EHLO c\r\n"
STARTTLS = b"STARTTLS\r\n"
OPEN = Hop(starttls=True, xclient=True)
IN_TLS = Hop(starttls=True, tls=True, xclient=True)


def conversation(hop: Hop = OPEN, **limits: float) -> Conversation:
    made = Conversation(Limits(**limits), "mx")
    made.hop = hop
    return made


def drive(one: Conversation, raw: bytes, cuts: list[int] | None = None) -> list[Event]:
    """The events that ``raw`` makes, each question answered."""
    events: list[Event] = []
    for start, end in pairwise([0, *sorted(cuts or []), len(raw)]):
        one.receive(raw[start:end])
        while (event := one.next_event()) is not None:
            events.append(event)
            if isinstance(event, Question):
                one.answer(benign(event), Extensions())
    return events


def told(one: Conversation) -> list[str]:
    return [str(reply) for reply, _, _ in one.replies()]


def test_starttls_is_answered_and_ends_the_conversation() -> None:
    one = conversation()
    events = drive(one, EHLO + STARTTLS)
    assert events == [HeloGiven("c", extended=True), TlsAsked()]
    ehlo, go = told(one)
    assert " STARTTLS XCLIENT ADDR PORT NAME HELO PROTO LOGIN DESTADDR DESTPORT" in ehlo
    assert go == "220 2.0.0 Ready to start TLS"
    assert one.state is State.CLOSED


def test_what_is_not_fit_for_the_connection_is_not_offered() -> None:
    for hop, offered in (
        (Hop(), set()),
        (Hop(starttls=True), {"STARTTLS"}),
        (Hop(starttls=True, tls=True), set()),
        (Hop(xclient=True), {"XCLIENT"}),
    ):
        words = {line.split()[0] for line in keywords(Offer(Extensions(), 100, 1000, hop))}
        assert words & {"STARTTLS", "XCLIENT"} == offered


def test_all_replies_of_a_pipelined_group_come_before_it() -> None:
    one = conversation()
    drive(one, EHLO + b"NOOP\r\nBAD\r\n" + STARTTLS + b"NOOP\r\n")
    assert [text[:3] for text in told(one)] == ["250", "250", "500", "220"]


PLAIN = st.lists(
    st.sampled_from(
        [EHLO, b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<u@ours>\r\n", b"DATA\r\n", b".\r\n", b"QUIT\r\n", STARTTLS]
    )
    | st.binary(max_size=20),
    max_size=12,
).map(b"".join)


@given(PLAIN, st.lists(st.integers(0, 400), max_size=8))
def test_no_octet_behind_starttls_ever_comes_out(plain: bytes, cuts: list[int]) -> None:
    """RFC 3207 4.2, CVE-2011-0411: however it is cut into packets."""
    raw = EHLO + STARTTLS + plain
    one = conversation()
    events = drive(one, raw, [min(cut, len(raw)) for cut in cuts])
    assert events == [HeloGiven("c", extended=True), TlsAsked()]
    assert [text[:3] for text in told(one)] == ["250", "220"]
    after = one.in_tls()
    assert after.next_event() is None
    assert drive(after, b"NOOP\r\n") == []
    assert told(after) == ["250 2.0.0 Ok"]
    assert (after.commands, after.transactions) == (3, 0)


def test_behind_the_handshake_nothing_is_known() -> None:
    one = conversation()
    drive(one, EHLO + STARTTLS)
    after = one.in_tls()
    after.hop = IN_TLS
    assert after.state is State.START
    drive(after, b"MAIL FROM:<a@b>\r\nMAIL FROM:<a@b> SIZE=1\r\n" + EHLO + b"MAIL FROM:<a@b>\r\n")
    assert [text[:3] for text in told(after)] == ["503", "503", "250", "250"]


def test_errors_and_commands_are_counted_on() -> None:
    one = conversation(max_errors=2)
    drive(one, EHLO + b"BAD\r\nBAD\r\n" + STARTTLS)
    after = one.in_tls()
    assert (after.errors, after.commands) == (2, 4)
    drive(after, b"BAD\r\n")
    assert told(after) == ["421 4.7.0 Too many errors"]


def test_transactions_are_counted_on() -> None:
    """MAILMAX is of the connection (RFC 9422 4.1)."""
    one = conversation(max_messages=20)
    drive(one, EHLO + b"MAIL FROM:<a@b>\r\nRSET\r\n" * 20 + STARTTLS)
    after = one.in_tls()
    drive(after, EHLO + b"MAIL FROM:<a@b>\r\n")
    assert told(after)[-1].startswith("421 4.7.0 Too many messages ")


def test_commands_without_mail_are_counted_on() -> None:
    one = conversation(max_commands_without_mail=10)
    drive(one, EHLO + b"NOOP\r\n" * 8 + STARTTLS)
    after = one.in_tls()
    drive(after, b"NOOP\r\n")
    assert told(after) == ["421 4.7.0 Too many commands without mail"]


RCPT = b"RCPT TO:<u@ours>\r\n"
XCLIENT = b"XCLIENT ADDR=198.18.1.10\r\n"
IN_TRANSACTION = EHLO + b"MAIL FROM:<a@b>\r\n"


@pytest.mark.parametrize(
    ("hop", "lines", "last"),
    [
        (OPEN, STARTTLS, "503 5.5.1 Bad sequence of commands: EHLO or HELO first"),
        (OPEN, EHLO + b"STARTTLS now\r\n", "501 5.5.4 Syntax: STARTTLS without an argument"),
        (OPEN, IN_TRANSACTION + STARTTLS, "503 5.5.1 Bad sequence of commands: RCPT first, or RSET"),
        (OPEN, IN_TRANSACTION + RCPT + STARTTLS, "503 5.5.1 Bad sequence of commands: RCPT, DATA or RSET first"),
        (OPEN, IN_TRANSACTION + XCLIENT, "503 5.5.1 Bad sequence of commands: RCPT first, or RSET"),
        (OPEN, b"XCLIENT\r\n", "501 5.5.4 Syntax: XCLIENT attribute=value ..."),
        (OPEN, b"XCLIENT ADDR=x\r\n", "501 5.5.4 Syntax: ADDR cannot be read"),
        (OPEN, b"XCLIENT A=x\r\n", "501 5.5.4 Syntax: A is no attribute"),
        (OPEN, b"XCLIENT PORT=1 port=2\r\n", "501 5.5.4 Syntax: PORT twice"),
        (IN_TLS, EHLO + STARTTLS, "503 5.5.1 TLS is on already"),
        (Hop(tls=True), EHLO + STARTTLS, "503 5.5.1 TLS is on already"),
        (Hop(), EHLO + STARTTLS, "502 5.5.1 Command not implemented"),
        (Hop(starttls=True), b"XCLIENT ADDR=198.18.1.10\r\n", "502 5.5.1 Command not implemented"),
        (Hop(), b"XCLIENT ADDR=198.18.1.10\r\n", "502 5.5.1 Command not implemented"),
    ],
)  # fmt: skip
def test_what_is_refused_is_an_error_and_changes_nothing(hop: Hop, lines: bytes, last: str) -> None:
    one = conversation(hop)
    drive(one, lines)
    assert told(one)[-1] == last
    assert one.errors == 1
    assert one.state is not State.CLOSED


def test_xclient_ends_the_conversation_and_what_is_behind_it_begins_the_next() -> None:
    one = conversation()
    events = drive(one, b"XCLIENT ADDR=198.18.1.10\r\nEHLO d\r\nNOO")
    assert events == [ClientNamed(read_xclient(b"ADDR=198.18.1.10"))]
    assert told(one) == []
    after = one.for_another_client()
    assert drive(after, b"P\r\n") == [HeloGiven("d", extended=True)]
    assert [text[:3] for text in told(after)] == ["250", "250"]
    assert (after.commands, after.errors) == (2, 0)


@given(st.lists(st.integers(0, 60), max_size=6))
def test_xclient_comes_out_the_same_however_it_is_cut(cuts: list[int]) -> None:
    raw = EHLO + b"XCLIENT ADDR=198.18.1.10\r\nEHLO d\r\nMAIL FROM:<a@b>\r\n"
    one = conversation()
    events = drive(one, raw, [min(cut, len(raw)) for cut in cuts])
    after = one.for_another_client()
    rest = drive(after, b"")
    assert [type(event).__name__ for event in [*events, *rest]] == [
        "HeloGiven",
        "ClientNamed",
        "HeloGiven",
        "MailGiven",
    ]
