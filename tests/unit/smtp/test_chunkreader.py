"""Content in chunks: no octet of it ends anything, line ends are made alike, and cuts do not matter."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.smtp.chunkreader import ChunkReader
from mailguard.smtp.dotreader import DotReader

MAX_LINE = 100


def read(raw: bytes, cuts: list[int] | None = None, max_line: int = MAX_LINE) -> tuple[bytes, ChunkReader]:
    """The content of ``raw`` in chunks or packets that end at ``cuts``, and the reader."""
    reader, content = ChunkReader(max_line), b""
    for start, end in pairwise([0, *sorted(cuts or []), len(raw)]):
        content += reader.feed(raw[start:end])
    return content + reader.finish(), reader


@pytest.mark.parametrize(
    ("raw", "content", "bare"),
    [
        (b"", b"", False),
        (b"a\r\n", b"a\r\n", False),
        (b"a", b"a\r\n", False),
        (b"a\r", b"a\r\n", True),
        (b"a\n", b"a\r\n", True),
        (b"\r", b"\r\n", True),
        (b"\r\r\n", b"\r\n\r\n", True),
        (b"a\n\rb", b"a\r\n\r\nb\r\n", True),
        (b"a\r\n.\r\nQUIT\r\n", b"a\r\n.\r\nQUIT\r\n", False),
        (b".\r\n", b".\r\n", False),
        (b"..a\r\n..\r\n", b"..a\r\n..\r\n", False),
        (b"\0\xff\r\n", b"\0\xff\r\n", False),
    ],
)
def test_content(raw: bytes, content: bytes, bare: bool) -> None:
    for cuts in ([], list(range(len(raw)))):
        got, reader = read(raw, cuts)
        assert (got, reader.bare_line_ends, reader.size) == (content, bare, len(content))


OCTETS = st.lists(st.sampled_from([b"\r", b"\n", b".", b"\r\n", b"\r\n.\r\n", b"a", b"\0", b"\xe9"])).map(b"".join)
CUTS = st.lists(st.integers(0, 60), max_size=8)


@given(OCTETS, CUTS)
def test_any_cut_gives_the_same(raw: bytes, cuts: list[int]) -> None:
    whole, one = read(raw)
    parts, other = read(raw, [min(cut, len(raw)) for cut in cuts])
    assert parts == whole
    for name in ("size", "bare_line_ends", "line_too_long"):
        assert getattr(other, name) == getattr(one, name), name


@given(OCTETS)
def test_every_line_end_is_one(raw: bytes) -> None:
    got, reader = read(raw)
    wanted = re.sub(rb"\r\n|\r|\n", b"\r\n", raw)
    assert got == (wanted if not wanted or wanted.endswith(b"\r\n") else wanted + b"\r\n")
    assert reader.size == len(got)


@given(OCTETS)
def test_bdat_and_data_make_the_same_message(raw: bytes) -> None:
    content, chunks = read(raw)
    dots = DotReader(MAX_LINE)
    assert dots.feed(re.sub(rb"(?m)^\.", b"..", content) + b".\r\n") == content
    assert (dots.size, dots.line_too_long) == (chunks.size, chunks.line_too_long)


@pytest.mark.parametrize(
    ("raw", "too_long"), [(b"x" * 98, False), (b"x" * 98 + b"\r\n", False), (b"x" * 99, True), (b"x" * 500, True)]
)
@pytest.mark.parametrize("step", [1, 7, 10_000])
def test_line_length(raw: bytes, too_long: bool, step: int) -> None:
    assert read(raw, list(range(0, len(raw), step)))[1].line_too_long is too_long


def test_one_octet_is_held_back_at_the_most() -> None:
    reader = ChunkReader(MAX_LINE)
    assert [reader.feed(octets) for octets in (b"a\r", b"\r", b"\nb")] == [b"a", b"\r\n", b"\r\nb"]
