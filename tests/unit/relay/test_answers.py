"""relay/answers.py: what is a reply, and what our client is told of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.relay.answers import MAX_LINE, MAX_LINES, Answer, NoReply, Replies, passed_on


def said(octets: bytes) -> Answer | None:
    replies = Replies()
    replies.receive(octets)
    return replies.next_reply()


@pytest.mark.parametrize(
    ("octets", "answer"),
    [
        (b"250 ok\r\n", Answer(250, (b"ok",))),
        (b"250-more\r\n250 ok\r\n", Answer(250, (b"more", b"ok"))),
        (b"250\r\n", Answer(250, (b"",))),
        (b"250 \r\n", Answer(250, (b"",))),
        (b"250-\r\n250\r\n", Answer(250, (b"", b""))),
        (b"554 5.7.1 no\n", Answer(554, (b"5.7.1 no",))),
        (b"550 \xff\x00\x1b[2J\r\n", Answer(550, (b"\xff\x00\x1b[2J",))),
        (b"250 a\rb\r\n", Answer(250, (b"a\rb",))),
        (b"250 a\r\r\n", Answer(250, (b"a\r",))),
    ],
)
def test_replies(octets: bytes, answer: Answer) -> None:
    assert said(octets) == answer


@pytest.mark.parametrize(
    "line",
    [
        b"\r\n",
        b"25 ok\r\n",
        b"2500 ok\r\n",
        b"250ok\r\n",
        b"250_ok\r\n",
        b"150 go\r\n",
        b"650 ?\r\n",
        b"260 ?\r\n",
        b" 250 ok\r\n",
        b"ok\r\n",
        b"\xb2\xb5\xb0 ok\r\n",
        b"EHLO x\r\n",
        b"2 0 ok\r\n",
        b"250\r\r\n",
    ],
)
def test_no_replies(line: bytes) -> None:
    with pytest.raises(NoReply, match="no reply line"):
        said(line)
    with pytest.raises(NoReply, match="no reply line"):
        said(b"250-ok\r\n" + line)


def test_lines_of_one_reply_bear_one_code() -> None:
    with pytest.raises(NoReply, match="different codes"):
        said(b"250-a\r\n550 b\r\n")


def test_a_line_has_its_bound() -> None:
    longest = b"250 " + b"x" * (MAX_LINE - 6) + b"\r\n"
    assert said(longest) == Answer(250, (longest[4:-2],))
    assert said(longest[:-1]) is None
    for too_long in (b"250 x" + longest[4:], b"x" * MAX_LINE):
        with pytest.raises(NoReply, match="over 2048 octets"):
            said(too_long)


def test_a_reply_has_its_bound() -> None:
    assert said(b"250-x\r\n" * (MAX_LINES - 1) + b"250 x\r\n") == Answer(250, (b"x",) * MAX_LINES)
    with pytest.raises(NoReply, match="over 100 lines"):
        said(b"250-x\r\n" * MAX_LINES)


@given(
    st.lists(st.sampled_from([b"250 ok\r\n", b"250-a\r\n250 b\r\n", b"354\n", b"550 \r\r\n"]), max_size=4),
    st.lists(st.integers(1, 9)),
)
def test_however_they_are_cut_the_replies_are_the_same(lines: list[bytes], cuts: list[int]) -> None:
    whole, cut, found = Replies(), Replies(), []
    octets = b"".join(lines)
    whole.receive(octets)
    for size in [*cuts, len(octets)]:
        cut.receive(octets[:size])
        octets = octets[size:]
        while (answer := cut.next_reply()) is not None:
            found.append(answer)
    assert found == [whole.next_reply() for _ in lines]
    assert len(found) == len(lines)
    assert not cut.pending
    assert not whole.pending


@pytest.mark.parametrize(
    ("lines", "ours"),
    [
        ([b"250 Accepted"], b"250 2.0.0 Accepted\r\n"),
        ([b"250 2.1.5 Accepted"], b"250 2.1.5 Accepted\r\n"),
        ([b"550 Unknown user"], b"550 5.0.0 Unknown user\r\n"),
        ([b"550 5.1.1 Unknown user"], b"550 5.1.1 Unknown user\r\n"),
        ([b"451 5.1.1 classes differ"], b"451 4.0.0 5.1.1 classes differ\r\n"),
        ([b"550-5.7.1 one", b"550 5.7.1 two"], b"550-5.7.1 one\r\n550 5.7.1 two\r\n"),
        ([b"550-5.7.1 one", b"550 two"], b"550-5.7.1 one\r\n550 5.7.1 two\r\n"),
        ([b"550-one", b"550 5.1.1 two"], b"550-5.0.0 one\r\n550 5.0.0 5.1.1 two\r\n"),
        ([b"550 5.1.1"], b"550 5.1.1 Refused by the mail server\r\n"),
        ([b"550"], b"550 5.0.0 Refused by the mail server\r\n"),
        ([b"250"], b"250 2.0.0 Recipient ok\r\n"),
        ([b"550 5.1.10000 x"], b"550 5.0.0 5.1.10000 x\r\n"),
        ([b"552 \x1b[31mred\x07\xff\t"], b"552 5.0.0 ?[31mred???\r\n"),
        ([b"550 a\rQUIT"], b"550 5.0.0 a?QUIT\r\n"),
        ([b"550 gr\xc3\xbc\xc3\x9fe"], b"550 5.0.0 gr??e\r\n"),
    ],
)
def test_passed_on(lines: list[bytes], ours: bytes) -> None:
    parsed = said(b"".join(line + b"\r\n" for line in lines))
    assert parsed is not None
    assert passed_on(parsed, "rcpt_ok").encode() == ours


@given(
    st.sampled_from([250, 251, 252, 450, 451, 452, 550, 551, 552, 553, 554, 503, 555]),
    st.lists(st.binary(max_size=2040), min_size=1, max_size=100),
)
def test_whatever_a_backend_says_ours_is_a_wellformed_reply(code: int, texts: list[bytes]) -> None:
    ours = passed_on(Answer(code, tuple(text.replace(b"\n", b" ") for text in texts)), "data_ok")
    lines = ours.encode().split(b"\r\n")
    assert lines.pop() == b""
    assert len(lines) <= 10
    for number, line in enumerate(lines, 1):
        assert len(line) <= 510
        separator = b" " if number == len(lines) else b"-"
        assert re.fullmatch(rb"%d%b%d\.\d{1,3}\.\d{1,3} [ -~]*" % (code, separator, code // 100), line)
