"""relay/answers.py: what is a reply, and what our client is told of it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.relay.answers import Answer, NoReply, parse_line, parse_reply, passed_on


@pytest.mark.parametrize(
    ("line", "parsed"),
    [
        (b"250 ok\r\n", (250, True, b"ok")),
        (b"250-more\r\n", (250, False, b"more")),
        (b"250\r\n", (250, True, b"")),
        (b"250 \r\n", (250, True, b"")),
        (b"250-\r\n", (250, False, b"")),
        (b"554 5.7.1 no\n", (554, True, b"5.7.1 no")),
        (b"550 \xff\x00\x1b[2J\r\n", (550, True, b"\xff\x00\x1b[2J")),
        (b"250 a\rb\r\n", (250, True, b"a\rb")),
    ],
)
def test_lines(line: bytes, parsed: tuple[int, bool, bytes]) -> None:
    assert parse_line(line) == parsed


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
    ],
)
def test_no_lines(line: bytes) -> None:
    with pytest.raises(NoReply):
        parse_line(line)


def test_lines_of_one_reply_bear_one_code() -> None:
    assert parse_reply([b"250-a\r\n", b"250 b\r\n"]) == Answer(250, (b"a", b"b"))
    with pytest.raises(NoReply, match="different codes"):
        parse_reply([b"250-a\r\n", b"550 b\r\n"])


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
    assert passed_on(parse_reply(lines), silent="rcpt_ok").encode() == ours


@given(
    st.sampled_from([250, 251, 252, 450, 451, 452, 550, 551, 552, 553, 554, 503, 555]),
    st.lists(st.binary(max_size=2040), min_size=1, max_size=100),
)
def test_whatever_a_backend_says_ours_is_a_wellformed_reply(code: int, texts: list[bytes]) -> None:
    ours = passed_on(Answer(code, tuple(text.replace(b"\n", b" ") for text in texts)), silent="data_ok")
    lines = ours.encode().split(b"\r\n")
    assert lines.pop() == b""
    assert len(lines) <= 10
    for number, line in enumerate(lines, 1):
        assert len(line) <= 510
        separator = b" " if number == len(lines) else b"-"
        assert re.fullmatch(rb"%d%b%d\.\d{1,3}\.\d{1,3} [ -~]*" % (code, separator, code // 100), line)
