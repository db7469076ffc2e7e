"""What spamd is shown of a long message: header section and body are bounded apart."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailguard.scanners.excerpt import Excerpt, excerpt
from mailguard.spool import CHUNK, Content

MakeContent = Callable[..., Content]
HEAD = b"Return-Path: <>\r\nSubject: s\r\n\r\n"
LINE = b"0123456789\r\n"
LONG = b"Received: " + b"x" * ((1 << 20) - 12) + b"\r\n"
"""As long as a header section may be by itself (``limits.max_header_size``); what stands above it comes on top."""


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (HEAD + LINE * 10, Excerpt(HEAD + LINE * 10)),
        (HEAD + LINE * 11, Excerpt(HEAD + LINE * 10, cut=True)),
        (HEAD + LINE * 9 + b"x" * 12, Excerpt(HEAD + LINE * 9 + b"x" * 12)),
        (HEAD + LINE * 9 + b"x" * 13, Excerpt(HEAD + LINE * 9, cut=True)),
        (HEAD + b"x" * 121, Excerpt(HEAD + b"x" * 120, cut=True)),
        (HEAD, Excerpt(HEAD)),
        (HEAD[:-2] * 50, Excerpt(HEAD[:-2] * 50)),
        (LONG + HEAD + LINE * 11, Excerpt(LONG + HEAD + LINE * 10, cut=True)),
        (LONG, Excerpt(LONG)),
    ],
    ids=["whole", "long", "end", "over-end", "no-line", "no-body", "no-empty-line", "head", "long-no-empty-line"],
)
def test_excerpt(content: MakeContent, message: bytes, expected: Excerpt, in_file: bool) -> None:
    with content(message, in_file=in_file) as mail:
        found = excerpt(mail, 120)
    assert found.cut == expected.cut
    assert found.octets == expected.octets
    assert found.cut == (found.octets != message)


@pytest.mark.parametrize("before", range(CHUNK - 4, CHUNK + 1))
def test_the_empty_line_is_found_wherever_the_pieces_of_a_message_end(content: MakeContent, before: int) -> None:
    head = b"A: " + b"x" * (before - 3) + b"\r\n\r\n"
    with content(head + LINE * 11) as mail:
        assert excerpt(mail, 120) == Excerpt(head + LINE * 10, cut=True)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(0, 3000), max_size=20), st.lists(st.integers(0, 300), max_size=30), st.integers(1, 4000))
def test_received_lines_take_nothing_from_the_rest(
    content: MakeContent, received: list[int], body: list[int], limit: int
) -> None:
    """Whatever Received lines stand on top, the rest is shown to the same octet."""
    rest = HEAD + b"".join(b"x" * length + b"\r\n" for length in body)
    top = b"".join(b"Received: " + b"r" * length + b"\r\n" for length in received)
    with content(rest) as plain, content(top + rest) as more:
        expected, found = excerpt(plain, limit), excerpt(more, limit)
    assert found == Excerpt(top + expected.octets, expected.cut)
