"""BDAT (RFC 3030): its octets are content and never commands, taken or not, and half a message is none."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.replies import Reply, reply
from mailguard.smtp.conversation import SMALL_CHUNK
from mailguard.smtp.events import Content, DataAsked, EndOfData, Event
from mailguard.smtp.states import State
from tests.unit.smtp.driving import Course, benign
from tests.unit.smtp.test_conversation import DATA, EHLO, LOST_RCPT, MAIL, RCPT

OPEN = EHLO + MAIL + RCPT
LAST = b"BDAT 0 LAST\r\n"
EVIL = b"\r\n.\r\nMAIL FROM:<evil@x>\r\nRCPT TO:<victim@ours>\r\nQUIT\r\n"


def bdat(content: bytes, *, last: bool = False) -> bytes:
    """A chunk."""
    return b"BDAT %d%b\r\n%b" % (len(content), b" LAST" if last else b"", content)


def test_a_message_in_chunks() -> None:
    course = Course(
        OPEN + bdat(b"Subject: x\r\n") + bdat(b"\r\n.\r\n..\r\n") + bdat(b"end\r\n", last=True) + b"QUIT\r\n"
    )
    assert course.events == ["EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<u@ours>", "DATA", "END 26", "CLOSED quit"]
    assert course.contents == [b"Subject: x\r\n\r\n.\r\n..\r\nend\r\n"]
    assert course.codes == [250, 250, 250, 250, 250, 250, 221]
    assert course.replies[3:5] == ["250 2.0.0 12 octets received", "250 2.0.0 9 octets received"]
    assert course.stages == ["helo", "mail", "rcpt", "data", "data", "content", "other"]


@pytest.mark.parametrize(
    ("chunks", "content"),
    [
        (LAST, b""),
        (bdat(b"a\r\n", last=True), b"a\r\n"),
        (bdat(b"a\r\n") + LAST, b"a\r\n"),
        (bdat(b"a", last=True), b"a\r\n"),
        (bdat(b"a\r") + bdat(b"\nb", last=True), b"a\r\nb\r\n"),
        (bdat(b"") + bdat(b"a\r\n.\r\n") + bdat(b".") + LAST, b"a\r\n.\r\n.\r\n"),
        (bdat(EVIL, last=True), EVIL),
        (b"bdat 003 last\r\na\r\n", b"a\r\n"),
        (b"BDAT  3  LAST \r\na\r\n", b"a\r\n"),
    ],
)
def test_what_is_content(chunks: bytes, content: bytes) -> None:
    course = Course(OPEN + chunks + b"NOOP\r\n")
    assert course.contents == [content]
    assert course.events[-1] == f"END {len(content)}"
    assert course.replies[-1] == "250 2.0.0 Ok"
    assert course.conversation.state is State.READY


def test_line_ends_are_made_alike_and_reported() -> None:
    course = Course(OPEN + bdat(b"a\nb\r\n", last=True) + MAIL + RCPT + bdat(b"a\r\n", last=True))
    assert course.events[4] == "END 6 bare"
    assert course.events[-1] == "END 3"
    assert course.contents == [b"a\r\nb\r\n", b"a\r\n"]


# --- refused, and in step all the same ------------------------------------------------------------------------------

WRONG_ORDER = "503 5.5.1 Bad sequence of commands: "


@pytest.mark.parametrize(
    ("before", "answer", "mistakes", "after"),
    [
        (b"", WRONG_ORDER + "EHLO or HELO first", 1, State.START),
        (EHLO, WRONG_ORDER + "MAIL first", 1, State.READY),
        (EHLO + MAIL, WRONG_ORDER + "RCPT first, or RSET", 1, State.FAILED),
        (EHLO + MAIL + LOST_RCPT, "554 5.5.1 No valid recipients", 0, State.FAILED),
        (OPEN + DATA + b"x\r\n.\r\n", WRONG_ORDER + "MAIL first", 1, State.READY),
        (OPEN + LAST, WRONG_ORDER + "MAIL first", 1, State.READY),
    ],
)
def test_the_octets_of_a_refused_chunk_are_no_commands(before: bytes, answer: str, mistakes: int, after: State) -> None:
    course = Course(before + bdat(EVIL) + b"NOOP\r\n")
    assert course.replies[-2:] == [answer, "250 2.0.0 Ok"]
    assert course.conversation.errors == mistakes
    assert course.conversation.state is after
    assert not any("evil" in event for event in course.events)


def test_each_chunk_behind_a_refused_one_is_told_the_same_and_the_last_ends_it() -> None:
    course = Course(EHLO + MAIL + LOST_RCPT + bdat(EVIL) + bdat(b"x") + bdat(b"y", last=True) + MAIL)
    assert course.codes[2:] == [550, 554, 554, 554, 250]
    assert course.events.count("DROPPED") == 1
    assert course.conversation.errors == 0


@pytest.mark.parametrize("line", [MAIL, RCPT, DATA])
def test_behind_a_refused_chunk_nothing_but_reset_helps(line: bytes) -> None:
    course = Course(EHLO + MAIL + LOST_RCPT + bdat(b"half") + line + b"RSET\r\n" + MAIL)
    assert course.replies[-3:] == [WRONG_ORDER + "RSET first", "250 2.0.0 Reset", "250 2.1.0 Sender ok"]
    assert course.events.count("DROPPED") == 1


@pytest.mark.parametrize("line", [MAIL, RCPT, DATA])
def test_between_chunks_no_transaction_changes(line: bytes) -> None:
    course = Course(OPEN + bdat(b"a\r\n") + line + b"NOOP\r\n" + bdat(b"b\r\n", last=True))
    assert course.replies[4:6] == [WRONG_ORDER + "BDAT or RSET first", "250 2.0.0 Ok"]
    assert course.contents == [b"a\r\nb\r\n"]


@pytest.mark.parametrize("line", [b"RSET\r\n", EHLO])
def test_a_reset_between_chunks_forgets_them(line: bytes) -> None:
    course = Course(OPEN + bdat(b"a\r\n") + line + MAIL + RCPT + bdat(b"b\r\n", last=True))
    assert course.contents == [b"b\r\n"]
    assert course.events.count("DROPPED") == 1


def test_data_and_bdat_in_one_connection() -> None:
    course = Course(OPEN + bdat(b"a\r\n", last=True) + (MAIL + RCPT + DATA + b"..b\r\n.\r\n") + MAIL + RCPT + LAST)
    assert course.contents == [b"a\r\n", b".b\r\n", b""]


def test_a_refusal_of_data_is_told_when_the_chunk_is_here() -> None:
    course = Course(b"", answers=lambda e: reply("policy_defer") if isinstance(e, DataAsked) else benign(e))
    course.send(OPEN + b"BDAT 5\r\n1234")
    assert course.codes == [250, 250, 250]
    course.send(b"5" + bdat(EVIL) + bdat(b"x", last=True) + MAIL)
    assert course.codes[3:] == [451, 451, 451, 250]
    assert course.events[-2:] == ["DROPPED", "MAIL FROM:<a@b>"]


def test_a_421_at_the_first_chunk_closes_at_once() -> None:
    course = Course(
        OPEN + b"BDAT 5\r\n", answers=lambda e: reply("overloaded") if isinstance(e, DataAsked) else benign(e)
    )
    assert course.codes[3:] == [421]
    assert course.events[-1] == "CLOSED refused"


@pytest.mark.parametrize(
    "argument",
    [
        b"",
        b" ",
        b" LAST",
        b" -1",
        b" +1",
        b" 0x10",
        b" 1e3",
        b" 5LAST",
        b" 5,",
        b" " + b"9" * 21,
        b" \xd9\xa1",
        b" 1.0",
    ],
)
def test_where_nobody_knows_how_long_a_chunk_is_the_connection_ends(argument: bytes) -> None:
    course = Course(OPEN + b"BDAT" + argument + b"\r\n" + EVIL)
    assert course.replies[3:] == ["501 5.5.4 Syntax: BDAT octets [LAST]"]
    assert course.events[-1] == "CLOSED errors"
    assert course.conversation.errors == 1


@pytest.mark.parametrize("marker", [b"LATS", b"LAST x", b"LAST LAST", b"5"])
def test_a_wrong_marker_costs_the_transaction_alone(marker: bytes) -> None:
    course = Course(OPEN + b"BDAT %d %b\r\n" % (len(EVIL), marker) + EVIL + bdat(b"x") + b"RSET\r\n" + MAIL)
    assert course.replies[3:5] == ["501 5.5.4 Syntax: BDAT octets [LAST]"] * 2
    assert course.codes[5:] == [250, 250]


# --- bounds ---------------------------------------------------------------------------------------------------------

LINE = b"x" * 98 + b"\r\n"
TOO_LARGE = "552 5.3.4 Message exceeds the maximum size of 70000 octets"


def test_too_large_in_one_chunk_or_several() -> None:
    one = Course(OPEN + bdat(LINE * 701, last=True) + MAIL)
    assert one.replies[3:] == [TOO_LARGE, "250 2.1.0 Sender ok"]
    several = Course(OPEN + bdat(LINE * 350) * 3 + LAST + MAIL)
    assert several.replies[3:] == [
        *["250 2.0.0 35000 octets received"] * 2,
        *[TOO_LARGE] * 2,
        "250 2.1.0 Sender ok",
    ]
    assert several.events[-2:] == ["DROPPED", "MAIL FROM:<a@b>"]


def test_just_not_too_large() -> None:
    assert Course(OPEN + bdat(LINE * 350) + bdat(LINE * 350, last=True)).events[-1] == "END 70000"


@pytest.mark.parametrize("before", [EHLO, EHLO + MAIL + LOST_RCPT, OPEN])
@pytest.mark.parametrize("declared", [b"140001", b"18446744073709551615", b"99999999999999999999 LAST"])
def test_octets_thrown_away_are_bounded(before: bytes, declared: bytes) -> None:
    course = Course(before + b"BDAT " + declared + b"\r\n")
    answered = len(course.codes)
    for _ in range(1400):
        course.send(LINE)
    assert course.codes[answered:] == []
    course.send(LINE)
    assert course.replies[answered:] == [TOO_LARGE]
    assert course.events[-1] == "CLOSED errors"


def test_a_line_over_the_bound_is_told_at_the_end_of_its_chunk() -> None:
    course = Course(OPEN + bdat(b"x" * 600) + bdat(b"x" * 600) + bdat(b"\r\n", last=True) + MAIL, max_data_line=1000)
    assert course.codes[3:] == [250, 554, 554, 250]


def test_many_small_chunks_are_commands_without_mail_and_large_ones_are_not() -> None:
    small = Course(OPEN + bdat(b"x" * (SMALL_CHUNK - 1)) * 120)
    assert small.replies[-1] == "421 4.7.0 Too many commands without mail"
    large = Course(OPEN + bdat(b"x" * 98 + b"\r\n" + b"y" * (SMALL_CHUNK - 100)) * 120 + LAST)
    assert large.codes[-1] == 250
    assert 421 not in Course(EHLO + (MAIL + RCPT + bdat(b"x", last=True)) * 200).codes


def test_content_is_handed_on_as_it_comes() -> None:
    course = Course(OPEN + b"BDAT 60000 LAST\r\n")
    for _ in range(599):
        course.conversation.receive(LINE)
        assert course.conversation.next_event() == Content(LINE)
        assert course.conversation.next_event() is None
    assert course.conversation.in_content
    course.conversation.receive(LINE)
    assert course.conversation.next_event() == Content(LINE)
    assert isinstance(course.conversation.next_event(), EndOfData)


def test_an_unfinished_chunk_is_no_message() -> None:
    course = Course(OPEN + bdat(b"x") + b"BDAT 10 LAST\r\n123456789")
    course.conversation.receive_eof()
    assert course.contents == []
    assert course.codes == [250, 250, 250, 250]


# --- against a model ------------------------------------------------------------------------------------------------


class Model:
    """What a conversation comes to, from whole commands and with the story of ``benign``: codes and messages."""

    def __init__(self, actions: Iterable[tuple[str, bytes]]) -> None:
        self.codes: list[int] = []
        self.messages: list[bytes] = []
        self._phase, self._content, self._failure = "start", b"", 0
        for name, content in actions:
            if (code := getattr(self, "_" + name)(content)) is not None:
                self.codes.append(code)

    def _ehlo(self, _content: bytes) -> int:
        self._phase = "ready"
        return 250

    def _rset(self, _content: bytes) -> int:
        self._phase = "start" if self._phase == "start" else "ready"
        return 250

    def _noop(self, _content: bytes) -> int:
        return 250

    def _mail(self, _content: bytes) -> int:
        if self._phase != "ready":
            return 503
        self._phase = "sender"
        return 250

    def _rcpt(self, _content: bytes) -> int:
        if self._phase not in ("sender", "refused", "recipients"):
            return 503
        self._phase = "recipients"
        return 250

    def _lost(self, _content: bytes) -> int:
        if self._phase not in ("sender", "refused", "recipients"):
            return 503
        self._phase = "refused" if self._phase == "sender" else self._phase
        return 550

    def _chunk(self, content: bytes) -> int:
        return self._bdat(content, last=False)

    def _last(self, content: bytes) -> int:
        return self._bdat(content, last=True)

    def _bdat(self, content: bytes, *, last: bool) -> int:
        if self._phase in ("start", "ready"):
            return 503
        if self._phase in ("recipients", "chunks"):
            self._content = content if self._phase == "recipients" else self._content + content
            self._phase = "chunks"
            if last:
                self.messages.append(lines(self._content))
                self._phase = "ready"
            return 250
        if self._phase != "failed":
            self._failure = 554 if self._phase == "refused" else 503
        self._phase = "ready" if last else "failed"
        return self._failure


def lines(content: bytes) -> bytes:
    """``content`` as whole lines."""
    content = re.sub(rb"\r\n|\r|\n", b"\r\n", content)
    return content if content.endswith(b"\r\n") or not content else content + b"\r\n"


WIRE = {"ehlo": EHLO, "rset": b"RSET\r\n", "noop": b"NOOP\r\n", "mail": MAIL, "rcpt": RCPT, "lost": LOST_RCPT}
CONTENTS = st.lists(
    st.sampled_from([b"\r", b"\n", b"\r\n.\r\n", b".", b"a\r\n", MAIL, RCPT, b"BDAT 5\r\n", EVIL, b"\0", b"\xe9"]),
    max_size=4,
).map(b"".join)
ACTIONS = st.lists(
    st.tuples(st.sampled_from(sorted(WIRE)), st.just(b""))
    | st.tuples(st.sampled_from(["chunk", "last", "mail", "rcpt"]), CONTENTS),
    max_size=25,
)
CUTS = st.lists(st.integers(0, 2000), max_size=10)


def wire(actions: list[tuple[str, bytes]]) -> bytes:
    return b"".join(WIRE[name] if name in WIRE else bdat(content, last=name == "last") for name, content in actions)


@given(ACTIONS, CUTS)
def test_the_dialogue_stays_in_step_whatever_comes(actions: list[tuple[str, bytes]], cuts: list[int]) -> None:
    raw, model = wire(actions), Model(actions)
    for where in ([], [min(cut, len(raw)) for cut in cuts], list(range(len(raw)))):
        course = Course(raw, where, max_errors=1000, max_commands_without_mail=1000)
        assert course.codes == model.codes
        assert course.contents == model.messages


@given(ACTIONS, CUTS, st.integers(1, 60))
def test_any_split_gives_the_same_events_where_bounds_are_broken(
    actions: list[tuple[str, bytes]], cuts: list[int], copies: int
) -> None:
    actions = [(name, content + LINE * copies if name == "chunk" else content) for name, content in actions]
    raw = wire(actions)
    whole = Course(raw, max_message_size=65536, max_errors=5)
    for where in ([min(cut * copies, len(raw)) for cut in cuts], range(0, len(raw), 1460)):
        split = Course(raw, where, max_message_size=65536, max_errors=5)
        assert (split.events, split.replies, split.contents) == (whole.events, whole.replies, whole.contents)


def test_a_message_cut_at_every_octet() -> None:
    raw = OPEN + bdat(b"a\r") + bdat(b"\n.\r\n\r") + bdat(EVIL, last=True) + bdat(b"x", last=True) + b"QUIT\r\n"
    whole = Course(raw)
    assert whole.codes[3:] == [250, 250, 250, 503, 221]
    for cut in range(len(raw)):
        split = Course(raw, [cut])
        assert (split.events, split.replies, split.contents) == (whole.events, whole.replies, whole.contents)


def refuse_all(event: Event) -> Reply:
    return reply("policy_reject") if isinstance(event, EndOfData) else benign(event)


def test_the_storys_word_on_the_message_is_the_last_chunks() -> None:
    course = Course(OPEN + bdat(b"x") + bdat(b"y", last=True) + MAIL, answers=refuse_all)
    assert course.replies[3:] == [
        "250 2.0.0 1 octets received",
        "554 5.7.1 Refused by policy",
        "250 2.1.0 Sender ok",
    ]
