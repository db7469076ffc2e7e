"""What spamd is shown of a long message: header section and body are bounded apart."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mailguard.message import MAX_HEAD
from mailguard.scanners.excerpt import Excerpt, excerpt
from mailguard.spool import Content

MakeContent = Callable[..., Content]
HEAD = b"Return-Path: <>\r\nSubject: s\r\n\r\n"
LINE = b"0123456789\r\n"
LONG = b"Received: " + b"x" * (MAX_HEAD - 12 - len(HEAD)) + b"\r\n"
"""Makes the longest header section that is shown whole."""


@pytest.mark.parametrize("in_file", [False, True])
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (HEAD + LINE * 10, Excerpt(HEAD + LINE * 10)),
        (HEAD + LINE * 11, Excerpt(HEAD + LINE * 10, body_cut=True)),
        (HEAD + LINE * 9 + b"x" * 12, Excerpt(HEAD + LINE * 9 + b"x" * 12)),
        (HEAD + LINE * 9 + b"x" * 13, Excerpt(HEAD + LINE * 9, body_cut=True)),
        (HEAD + b"x" * 121, Excerpt(HEAD + b"x" * 120, body_cut=True)),
        (HEAD, Excerpt(HEAD)),
        (HEAD[:-2] * 50, Excerpt(HEAD[:-2] * 50)),
        (LONG + HEAD + LINE * 11, Excerpt(LONG + HEAD + LINE * 10, body_cut=True)),
        (b"y" + LONG + HEAD + LINE, Excerpt(b"y" + LONG + HEAD[:-2], header_cut=True)),
        (b"y" * (MAX_HEAD + 1), Excerpt(b"y" * MAX_HEAD, header_cut=True)),
    ],
    ids=["whole", "long", "end", "over-end", "no-line", "no-body", "no-empty-line", "bound", "over-bound", "one-line"],
)
def test_excerpt(content: MakeContent, message: bytes, expected: Excerpt, in_file: bool) -> None:
    with content(message, in_file=in_file) as mail:
        found = excerpt(mail, 120)
    assert (found.body_cut, found.header_cut) == (expected.body_cut, expected.header_cut)
    assert found.octets == expected.octets
    assert found.cut == (found.octets != message)


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
    assert found == Excerpt(top + expected.octets, expected.body_cut)
