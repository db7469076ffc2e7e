"""The end of data: what ends it, what does not, and that nothing else changes."""

from __future__ import annotations

import poplib
import smtplib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.smtp.dotreader import DotReader

MAX_LINE = 100


def read(raw: bytes, cuts: list[int] | None = None, max_line: int = MAX_LINE) -> tuple[bytes, DotReader]:
    """The content of ``raw`` cut into packets at ``cuts``, and the reader; what follows the end is in its ``rest``."""
    reader, content, after = DotReader(max_line), b"", b""
    for start, end in pairwise([0, *sorted(cuts or []), len(raw)]):
        if reader.ended:
            after += raw[start:end]
        else:
            content += reader.feed(raw[start:end])
    reader.rest += after
    return content, reader


@pytest.mark.parametrize(
    ("raw", "content", "rest"),
    [
        (b".\r\n", b"", b""),
        (b".\r\nQUIT\r\n", b"", b"QUIT\r\n"),
        (b"\r\n.\r\n", b"\r\n", b""),
        (b"a\r\n.\r\n", b"a\r\n", b""),
        (b"a\r\n.\r\n.\r\n", b"a\r\n", b".\r\n"),
        (b"..\r\n.\r\n", b".\r\n", b""),
        (b"...\r\n.\r\n", b"..\r\n", b""),
        (b".a\r\n.\r\n", b"a\r\n", b""),
        (b"a.\r\n.\r\n", b"a.\r\n", b""),
        (b"\0\xff\x7f\r\n.\r\n", b"\0\xff\x7f\r\n", b""),
        (b"a\r\n\r\n\r\n.\r\n", b"a\r\n\r\n\r\n", b""),
    ],
)
def test_the_end_and_unstuffing(raw: bytes, content: bytes, rest: bytes) -> None:
    got, reader = read(raw)
    assert (got, reader.ended, reader.rest) == (content, True, rest)
    assert not reader.bare_line_ends
    assert reader.size == len(content)


SMUGGLING = [
    (b"a\n.\nb", b"a\r\n.\r\nb"),
    (b"a\n.\r\nb", b"a\r\n.\r\nb"),
    (b"a\r.\r\nb", b"a\r\n.\r\nb"),
    (b"a\r.\rb", b"a\r\n.\r\nb"),
    (b"a\r\r\n.\rb", b"a\r\n\r\n\r\nb"),
    (b"a\r\n.\nb", b"a\r\n\r\nb"),
    (b"a\r\n.\rb", b"a\r\n\r\nb"),
    (b"a\r\n\n.\r\nb", b"a\r\n\r\n.\r\nb"),
    (b"a\r\n\r.\r\nb", b"a\r\n\r\n.\r\nb"),
    (b"a\n\r.\n\rb", b"a\r\n\r\n.\r\n\r\nb"),
    (b"a\r\n.\0\r\nb", b"a\r\n\0\r\nb"),
    (b"a\0\r\n.\r\0\nb", b"a\0\r\n\r\n\0\r\nb"),
    (b"\n.\r\nb", b"\r\n.\r\nb"),
    (b".\nb", b"\r\nb"),
    (b".\rb", b"\r\nb"),
    (b"a\r\n. \r\nb", b"a\r\n \r\nb"),
]


@pytest.mark.parametrize(("raw", "content"), SMUGGLING)
def test_nothing_but_crlf_dot_crlf_ends_a_message(raw: bytes, content: bytes) -> None:
    got, reader = read(raw + b"\r\n.\r\n")
    assert got == content + b"\r\n"
    assert reader.ended
    assert reader.rest == b""
    assert reader.bare_line_ends == (b"\n" in raw.replace(b"\r\n", b"") or b"\r" in raw.replace(b"\r\n", b""))


@pytest.mark.parametrize(("raw", "_content"), SMUGGLING)
def test_no_end_is_seen_before_it_is_there(raw: bytes, _content: bytes) -> None:
    assert not read(raw)[1].ended
    assert not read(raw + b"\r\n.\r")[1].ended


OCTETS = st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.", b"\n.\n", b"a", b"\0", b"\xe9"])).map(
    b"".join
)
CUTS = st.lists(st.integers(0, 60), max_size=8)


@given(OCTETS, CUTS)
def test_any_cut_gives_the_same(raw: bytes, cuts: list[int]) -> None:
    raw += b"\r\n.\r\nNOOP\r\n"
    whole, one = read(raw)
    parts, other = read(raw, [min(cut, len(raw)) for cut in cuts])
    assert parts == whole
    for name in ("ended", "rest", "size", "bare_line_ends", "line_too_long"):
        assert getattr(other, name) == getattr(one, name), name


@given(OCTETS)
def test_one_octet_at_a_time_gives_the_same(raw: bytes) -> None:
    raw += b"\r\n.\r\n"
    assert read(raw, list(range(len(raw))))[0] == read(raw)[0]


LINES = st.lists(st.binary(max_size=20).map(lambda line: line.translate(None, b"\r\n"))).map(
    lambda lines: b"".join(line + b"\r\n" for line in lines)
)


@given(
    LINES | st.lists(st.sampled_from([b".", b"..", b"", b".a", b"a."])).map(lambda x: b"".join(y + b"\r\n" for y in x))
)
def test_whatever_a_client_stuffs_comes_out_unchanged(content: bytes) -> None:
    """The other side is the standard library's: two independent implementations of RFC 5321 4.5.2."""
    stuffed = smtplib._quote_periods(content)  # type: ignore[attr-defined]
    got, reader = read(stuffed + b".\r\n")
    assert got == content
    assert (reader.ended, reader.rest, reader.bare_line_ends) == (True, b"", False)


@given(OCTETS)
def test_what_comes_out_holds_no_bare_line_end(raw: bytes) -> None:
    got, reader = read(raw + b"\r\n.\r\n")
    assert b"\n" not in got.replace(b"\r\n", b"")
    assert b"\r" not in got.replace(b"\r\n", b"")
    assert got == b"" or got.endswith(b"\r\n")
    assert reader.size == len(got)


@pytest.mark.parametrize(
    ("raw", "too_long"),
    [
        (b"x" * 98 + b"\r\n", False),
        (b"x" * 99 + b"\r\n", True),
        (b"." + b"." + b"x" * 97 + b"\r\n", False),  # measured unstuffed
        ((b"x" * 98 + b"\r\n") * 5, False),
        ((b"x" * 98 + b"\r\n") * 5 + b"x" * 99 + b"\r\n", True),
        (b"x" * 99 + b"\r\n" + b"y\r\n" * 9, True),
        ((b"x" * 70 + b"\n") * 9 + b"\r\n", False),  # a bare LF ends a line, it will be CR LF
        (b"x" * 1000, True),
    ],
)
@pytest.mark.parametrize("step", [1, 7, 64, 10_000])
def test_line_length(raw: bytes, too_long: bool, step: int) -> None:
    _, reader = read(raw + b"\r\n.\r\n", list(range(0, len(raw), step)))
    assert reader.line_too_long is too_long


@given(st.lists(st.integers(0, 40), max_size=12), CUTS)
def test_line_length_is_that_of_the_longest_line(lengths: list[int], cuts: list[int]) -> None:
    raw = b"".join(b"x" * length + b"\r\n" for length in lengths)
    _, reader = read(raw + b".\r\n", [min(cut, len(raw)) for cut in cuts], max_line=30)
    assert reader.line_too_long is (max(lengths, default=0) + 2 > 30)


def test_what_is_held_back_is_bounded() -> None:
    reader = DotReader(MAX_LINE)
    out = sum(len(reader.feed(octets)) for octets in [b"a", b"\r", b"\n", b".", b"\r", b"b", b"\r"])
    assert out == len(b"a\r\n\r\nb")  # the dot was stuffing, its bare CR a line end; the last CR waits for what follows


def test_pop3_reads_dot_lines_the_same_way() -> None:
    """RFC 1939 3 has the same rule, and poplib reads it line by line."""

    class Lines(poplib.POP3):
        def __init__(self, raw: bytes) -> None:
            self._lines = iter(raw.splitlines(keepends=True))
            self._debugging = 0

        def _getline(self) -> tuple[bytes, int]:
            line = next(self._lines)
            return line.removesuffix(b"\r\n"), len(line)

        def _getresp(self) -> bytes:
            return b"+OK"

    raw = b"a\r\n..\r\n...b\r\n\r\n..c\r\n.\r\n"
    assert b"".join(line + b"\r\n" for line in Lines(raw)._getlongresp()[1]) == read(raw)[0]
