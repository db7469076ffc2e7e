"""The conversation: order, pipelining, bounds, and that packets do not matter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.commands import Extensions
from mailguard.config import Limits
from mailguard.replies import Reply, reply
from mailguard.smtp.conversation import Conversation
from mailguard.smtp.events import Closed, DataAsked, End, Event, HeloGiven
from mailguard.smtp.states import AFTER_REFUSAL, OUT_OF_ORDER, TABLE, State, Verb
from tests.unit.smtp.driving import Course, benign

EHLO = b"EHLO c\r\n"
MAIL = b"MAIL FROM:<a@b>\r\n"
RCPT = b"RCPT TO:<u@ours>\r\n"
LOST_RCPT = b"RCPT TO:<u@elsewhere>\r\n"
DATA = b"DATA\r\n"
TO_STATE = {
    State.START: b"",
    State.READY: EHLO,
    State.SENDER: EHLO + MAIL,
    State.REFUSED: EHLO + MAIL + LOST_RCPT,
    State.RECIPIENTS: EHLO + MAIL + RCPT,
}
LINES = {
    Verb.EHLO: EHLO,
    Verb.HELO: b"HELO c\r\n",
    Verb.MAIL: MAIL,
    Verb.RCPT: RCPT,
    Verb.DATA: DATA,
    Verb.RSET: b"RSET\r\n",
    Verb.NOOP: b"NOOP\r\n",
    Verb.VRFY: b"VRFY u\r\n",
    Verb.EXPN: b"EXPN l\r\n",
    Verb.HELP: b"HELP\r\n",
    Verb.QUIT: b"QUIT\r\n",
}


@pytest.mark.parametrize("verb", LINES)
@pytest.mark.parametrize("state", TO_STATE)
def test_the_table_is_what_happens(state: State, verb: Verb) -> None:
    course = Course(TO_STATE[state])
    assert course.conversation.state is state
    before = len(course.replies)
    course.send(LINES[verb])
    assert len(course.replies) == before + 1
    if verb in TABLE[state]:
        assert course.codes[-1] in (250, 354, 221, 252, 502, 214)
        assert course.conversation.state is TABLE[state][verb]
        assert course.conversation.errors == 0
    elif (state, verb) == (State.REFUSED, Verb.DATA):
        assert course.replies[-1] == "554 5.5.1 No valid recipients"
    else:
        assert course.replies[-1] == str(OUT_OF_ORDER[state])
        assert course.conversation.state is state
        assert course.conversation.errors == 1


@pytest.mark.parametrize(
    ("state", "verb"), [(s, v) for s in TO_STATE for v in TABLE[s] if v in "EHLO HELO MAIL RCPT DATA"]
)
def test_a_refused_command_changes_nothing_but_what_the_table_says(state: State, verb: Verb) -> None:
    refuse = False

    def answers(event: Event) -> Reply:
        return reply("policy_defer") if refuse else benign(event)

    course = Course(TO_STATE[state], answers=answers)
    refuse = True
    course.send(LINES[verb])
    assert course.codes[-1] == 451
    assert course.conversation.state is AFTER_REFUSAL.get((state, verb), state)
    assert "DROPPED" not in course.events
    assert course.conversation.errors == 0


def test_a_whole_message() -> None:
    course = Course(EHLO + MAIL + RCPT + DATA + b"Subject: x\r\n\r\n..\r\n.\r\nQUIT\r\n")
    assert course.events == ["EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<u@ours>", "DATA", "END 17", "CLOSED quit"]
    assert course.contents == [b"Subject: x\r\n\r\n.\r\n"]
    assert course.codes == [250, 250, 250, 354, 250, 221]
    assert course.stages == ["helo", "mail", "rcpt", "data", "content", "other"]


def test_ehlo_offers_what_was_given_and_helo_nothing() -> None:
    ours = "250 mx PIPELINING ENHANCEDSTATUSCODES CHUNKING LIMITS RCPTMAX=100 MAILMAX=1000"
    assert Course(EHLO).replies == [f"{ours} SIZE 70000 8BITMIME SMTPUTF8 DSN"]
    assert Course(EHLO, offered=Extensions()).replies == [ours]
    limits = Course(EHLO, offered=Extensions(), max_recipients=200, max_messages=5).replies[0]
    assert limits.endswith(" LIMITS RCPTMAX=200 MAILMAX=5")
    helo = Course(b"HELO c\r\nMAIL FROM:<a@b> SIZE=1\r\n")
    assert helo.replies == ["250 mx", "555 5.5.4 Parameter not recognised: SIZE"]


def test_parameters_follow_the_last_ehlo() -> None:
    offers = iter([Extensions(size=10), Extensions(eightbitmime=True)])
    course = Course(b"")
    for line in (EHLO, b"MAIL FROM:<a@b> SIZE=5\r\n", EHLO, b"MAIL FROM:<a@b> SIZE=5\r\n"):
        if line is EHLO:
            course._offered = next(offers)
        course.send(line)
    assert course.codes == [250, 250, 250, 555]


def test_what_follows_a_question_waits_for_its_answer() -> None:
    conversation = Conversation(Limits(), "mx")
    conversation.receive(b"EHLO c\r\nBAD\r\n")
    assert conversation.next_event() == HeloGiven("c", extended=True)
    assert conversation.replies() == []
    assert conversation.command_waiting
    with pytest.raises(RuntimeError):
        conversation.next_event()
    conversation.answer(reply("helo", hostname="mx"), Extensions())
    assert conversation.next_event() is None
    assert [answer.code for answer, _, _ in conversation.replies()] == [250, 500]


def test_an_answer_to_nothing_is_a_mistake() -> None:
    with pytest.raises(RuntimeError):
        Conversation(Limits(), "mx").answer(reply("noop"))


def test_commands_behind_the_content_are_commands() -> None:
    course = Course(EHLO + MAIL + RCPT + DATA + b".\r\n" + MAIL + b"RSET\r\n")
    assert course.events[-3:] == ["END 0", "MAIL FROM:<a@b>", "DROPPED"]
    assert course.codes == [250, 250, 250, 354, 250, 250, 250]


@pytest.mark.parametrize("end", [b"\n.\r\n", b"\r\n.\n", b"\n.\n", b"\r.\r", b"\r\n.\r"])
def test_a_smuggled_end_of_data_is_content(end: bytes) -> None:
    course = Course(EHLO + MAIL + RCPT + DATA + b"x" + end + b"MAIL FROM:<evil@x>\r\n")
    assert course.conversation.state is State.CONTENT
    assert len(course.codes) == 4


@pytest.mark.parametrize(
    ("lines", "replies"),
    [
        (b"\r\n", ["500 5.5.2 Command not recognised"]),
        (b"GET / HTTP/1.1\r\n", ["500 5.5.2 Command not recognised"]),
        (b"NOOP\nNOOP\r\n", ["500 5.5.2 Command lines end in <CR><LF>"]),
        (b"NO\0OP\r\nNOOP\r\n", ["500 5.5.2 Command line holds NUL", "250 2.0.0 Ok"]),
        (b"NOOP " + b"x" * 2100 + b"\r\nNOOP\r\n", ["500 5.5.2 Command line too long", "250 2.0.0 Ok"]),
        (b"NOOP " + b"x" * 2041 + b"\r\n", ["250 2.0.0 Ok"]),
        (b"STARTTLS\r\n", ["502 5.5.1 Command not implemented"]),
        (b"AUTH PLAIN AAA=\r\n", ["502 5.5.1 Command not implemented"]),
        (b"XCLIENT ADDR=198.18.0.1\r\n", ["502 5.5.1 Command not implemented"]),
        (b"PROXY TCP4 198.18.0.1 198.18.0.2 1 25\r\n", ["500 5.5.2 Command not recognised"]),
        (b"DATA x\r\n", ["503 5.5.1 Bad sequence of commands: EHLO or HELO first"]),
        (b"RSET x\r\n", ["501 5.5.4 Syntax: RSET without an argument"]),
        (b"QUIT x\r\n", ["501 5.5.4 Syntax: QUIT without an argument"]),
        (b"VRFY\r\n", ["501 5.5.4 Syntax: VRFY address"]),
        (b"VRFY x\r\n", ["252 2.5.0 Cannot verify; send a message and it will be tried"]),
        (b"EXPN x\r\n", ["502 5.5.1 EXPN is not offered"]),
        (b"EHLO\r\n", ["501 5.5.4 Syntax: EHLO hostname"]),
        (b"HELO a b\r\n", ["501 5.5.4 Syntax: HELO hostname"]),
        (b".\r\n", ["500 5.5.2 Command not recognised"]),
        (b"noop anything\r\n", ["250 2.0.0 Ok"]),
    ],
)
def test_commands_that_the_conversation_answers_itself(lines: bytes, replies: list[str]) -> None:
    assert Course(lines).replies == replies


def test_a_malformed_rcpt_counts_as_a_refused_one() -> None:
    assert Course(EHLO + MAIL + b"RCPT TO:<u>\r\n" + DATA).codes == [250, 250, 501, 554]


def test_declared_too_large() -> None:
    course = Course(EHLO + b"MAIL FROM:<a@b> SIZE=70001\r\nMAIL FROM:<a@b> SIZE=70000\r\n")
    assert course.replies[1] == "552 5.3.4 Message exceeds the maximum size of 70000 octets"
    assert course.codes[2] == 250
    assert course.conversation.errors == 0


LINE = b"x" * 98 + b"\r\n"


def test_too_large_is_drained_then_refused_and_the_dialogue_goes_on() -> None:
    course = Course(EHLO + MAIL + RCPT + DATA + LINE * 701 + b".\r\nNOOP\r\n", cuts=range(1000, 70_000, 1000))
    assert course.replies[4:] == ["552 5.3.4 Message exceeds the maximum size of 70000 octets", "250 2.0.0 Ok"]
    assert course.events[4:] == ["DROPPED"]


def test_just_not_too_large() -> None:
    assert Course(EHLO + MAIL + RCPT + DATA + LINE * 700 + b".\r\n").events[-1] == "END 70000"


def test_draining_ends_at_twice_the_size() -> None:
    course = Course(EHLO + MAIL + RCPT + DATA + LINE * 1401 + b".\r\nNOOP\r\n", cuts=range(1000, 140_000, 1000))
    assert course.events[-1] == "CLOSED errors"
    assert course.codes[-1] == 552


def test_the_bound_of_size_is_the_lesser_of_ours_and_the_backends() -> None:
    course = Course(EHLO + b"MAIL FROM:<a@b> SIZE=65537\r\n", max_message_size=65536)
    assert course.replies[-1] == "552 5.3.4 Message exceeds the maximum size of 65536 octets"


def test_a_line_of_content_over_the_bound_is_refused_after_the_message() -> None:
    course = Course(EHLO + MAIL + RCPT + DATA + b"x" * 999 + b"\r\n.\r\nNOOP\r\n", max_data_line=1000)
    assert course.replies[4:] == ["554 5.6.0 Message holds a line of over 1000 octets", "250 2.0.0 Ok"]
    assert course.events[-1] == "DROPPED"


def test_bare_line_ends_are_reported() -> None:
    course = Course(EHLO + MAIL + RCPT + DATA + b"a\nb\r\n.\r\n")
    assert course.events[-1] == "END 6 bare"
    assert course.contents == [b"a\r\nb\r\n"]


def test_recipients_are_bounded() -> None:
    course = Course(EHLO + MAIL + LOST_RCPT * 3 + RCPT * 101 + DATA)
    assert course.codes.count(250) == 102
    assert course.replies[-2] == "452 4.5.3 Too many recipients in one transaction"
    assert course.codes[-1] == 354


def test_recipients_are_counted_anew_in_each_transaction() -> None:
    assert Course((EHLO + MAIL + RCPT * 100 + b"RSET\r\n") * 2).codes.count(452) == 0


def test_more_messages_in_a_session_than_were_offered() -> None:
    course = Course(EHLO + (MAIL + RCPT + DATA + b".\r\n") * 3 + MAIL + RCPT, max_messages=3)
    assert course.replies[-1] == "421 4.7.0 Too many messages in one session"
    assert course.codes.count(354) == 3
    assert course.events[-1] == "CLOSED refused"
    assert 421 not in Course(EHLO + MAIL * 20, max_messages=1, max_errors=30).codes


def test_a_mail_that_was_refused_counts_as_one_and_a_malformed_one_does_not() -> None:
    refused = Course(EHLO + b"MAIL FROM:<a@refused>\r\n" * 2 + b"MAIL FROM:<a@b> SIZE=99999\r\n" + MAIL, max_messages=3)
    assert refused.codes == [250, 554, 554, 552, 421]
    assert Course(EHLO + b"MAIL FROM:<bad\r\n" * 2 + MAIL, max_messages=1).codes == [250, 501, 501, 250]


def test_too_many_errors() -> None:
    course = Course(b"BAD\r\n" * 12, max_errors=10)
    assert course.codes == [500] * 10 + [421]
    assert course.replies[-1] == "421 4.7.0 Too many errors"
    assert course.events == ["CLOSED errors"]


def test_refusals_of_the_story_are_no_errors() -> None:
    course = Course(EHLO + MAIL + LOST_RCPT * 50)
    assert course.conversation.errors == 0
    assert course.codes[-1] == 550


@pytest.mark.parametrize("line", [b"NOOP\r\n", b"RSET\r\n", EHLO, b"VRFY a\r\n", b"HELP\r\n"])
def test_too_many_commands_without_mail(line: bytes) -> None:
    course = Course(line * 12, max_commands_without_mail=10)
    assert course.replies[-1] == "421 4.7.0 Too many commands without mail"
    assert len(course.codes) == 11
    assert course.events[-1] == "CLOSED errors"


def test_refused_recipients_are_commands_without_mail_and_taken_ones_are_not() -> None:
    assert Course(EHLO + MAIL + LOST_RCPT * 50 + b"NOOP\r\n", max_commands_without_mail=20).codes[-1] == 421
    assert Course(EHLO + MAIL + RCPT * 50 + b"NOOP\r\n", max_commands_without_mail=20).codes[-1] == 250


def test_a_message_begins_the_count_anew() -> None:
    message = MAIL + RCPT + DATA + b".\r\n"
    assert 421 not in Course(EHLO + message * 50, max_commands_without_mail=10).codes


def test_quit_is_heard_when_the_commands_are_used_up() -> None:
    assert Course(b"NOOP\r\n" * 10 + b"QUIT\r\n", max_commands_without_mail=10).codes[-1] == 221


def test_a_faulty_line_without_end_is_cut_off() -> None:
    course = Course(b"x" * 200_000, cuts=range(1000, 200_000, 1000))
    assert course.codes == [500, 421]
    assert course.events == ["CLOSED errors"]


def test_a_421_of_the_story_closes() -> None:
    course = Course(EHLO + MAIL + RCPT + DATA, answers=lambda _event: reply("overloaded"))
    assert course.codes == [421]
    assert course.events == ["EHLO c", "CLOSED refused"]


@pytest.mark.parametrize(
    "so_far", [b"", EHLO, EHLO + MAIL, EHLO + MAIL + RCPT + DATA, EHLO + MAIL + RCPT + DATA + b"x"]
)
def test_end_of_input(so_far: bytes) -> None:
    course = Course(so_far + b"QUI")
    course.conversation.receive_eof()
    assert course.conversation.next_event() == Closed(End.LOST)
    assert course.conversation.next_event() is None


def test_closing_from_outside_wins_over_what_waits() -> None:
    conversation = Conversation(Limits(), "mx")
    conversation.receive(EHLO + MAIL)
    conversation.next_event()
    conversation.close(reply("timeout"), End.TIMEOUT)
    assert conversation.next_event() == Closed(End.TIMEOUT)
    assert [answer.code for answer, _, _ in conversation.replies()] == [421]


def test_ehlo_in_a_transaction_drops_it_once_it_is_taken() -> None:
    course = Course(EHLO + MAIL + RCPT + EHLO + DATA)
    assert course.events == ["EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<u@ours>", "EHLO c", "DROPPED"]
    assert course.replies[-1] == "503 5.5.1 Bad sequence of commands: MAIL first"


def test_smtputf8_is_of_one_transaction() -> None:
    course = Course(
        EHLO
        + "MAIL FROM:<é@b> SMTPUTF8\r\nRCPT TO:<ü@ours>\r\nRSET\r\nMAIL FROM:<a@b>\r\nRCPT TO:<ü@ours>\r\n".encode()
    )
    assert course.codes == [250, 250, 250, 250, 250, 553]


def test_a_refusal_at_data_leaves_the_transaction() -> None:
    refusals = iter([reply("policy_defer"), reply("data_go")])
    course = Course(
        EHLO + MAIL + RCPT + DATA + DATA, answers=lambda e: next(refusals) if isinstance(e, DataAsked) else benign(e)
    )
    assert course.codes == [250, 250, 250, 451, 354]


# --- properties -----------------------------------------------------------------------------------------------------

PIECES = st.lists(
    st.sampled_from(
        [
            *LINES.values(),
            LOST_RCPT,
            b"MAIL FROM:<x@refused>\r\n",
            b"MAIL FROM:<bad\r\n",
            "RCPT TO:<é@ours>\r\n".encode(),
            b"DATA\r\nhello\r\n..\r\n.\r\n",
            b".\r\n",
            b"\r\n.\r\n",
            b"\n.\r\n",
            b"\r",
            b"\n",
            b"\0",
            b"BAD\r\n",
            b"x" * 2100,
            LINE * 300,
        ]
    ),
    max_size=25,
)
CUTS = st.lists(st.integers(0, 5000), max_size=10)


@given(PIECES, CUTS)
def test_any_split_of_the_input_gives_the_same_events_and_replies(pieces: list[bytes], cuts: list[int]) -> None:
    raw = b"".join(pieces)
    whole = Course(raw)
    split = Course(raw, [min(cut, len(raw)) for cut in cuts])
    assert split.events == whole.events
    assert split.replies == whole.replies
    assert split.contents == whole.contents
    assert split.conversation.state is whole.conversation.state


@given(PIECES)
def test_one_octet_at_a_time_gives_the_same(pieces: list[bytes]) -> None:
    raw = b"".join(pieces)[:3000]
    one = Course(raw, range(len(raw)))
    whole = Course(raw)
    assert (one.events, one.replies, one.contents) == (whole.events, whole.replies, whole.contents)


@given(st.lists(st.binary(max_size=30) | st.sampled_from(list(LINES.values()))).map(b"".join))
def test_garbage_never_raises_and_every_reply_is_one(raw: bytes) -> None:
    course = Course(raw)
    course.conversation.receive_eof()
    assert all(200 <= code < 600 for code in course.codes)
    assert len(course.codes) <= course.conversation.commands + len(course.contents) + 1
