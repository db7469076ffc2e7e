"""Command lines: what is a line, what is a fault, and that a fault costs one reply and bounded memory."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.smtp.lines import CommandLines, Fault

MAX = 20


def drain(lines: CommandLines) -> list[bytes | Fault]:
    out: list[bytes | Fault] = []
    while (line := lines.next()) is not None:
        out.append(line)
    return out


def split(raw: bytes, cuts: list[int] | None = None) -> list[bytes | Fault]:
    lines, out = CommandLines(MAX), []
    for start, end in pairwise([0, *sorted(cuts or []), len(raw)]):
        lines.receive(raw[start:end])
        out += drain(lines)
    return out


@pytest.mark.parametrize(
    ("raw", "out"),
    [
        (b"", []),
        (b"NOOP", []),
        (b"NOOP\r", []),
        (b"NOOP\r\n", [b"NOOP"]),
        (b"\r\n", [b""]),
        (b"A\r\nB\r\nC", [b"A", b"B"]),
        (b"A\nB\r\nC\r\n", [Fault.BARE, b"C"]),
        (b"A\n", [Fault.BARE]),
        (b"A\nB\nC\n", [Fault.BARE]),
        (b"A\rB\r\nC\r\n", [Fault.BARE, b"C"]),
        (b"A\r\r\nC\r\n", [Fault.BARE, b"C"]),
        (b"A\0B\r\nC\r\n", [Fault.NUL, b"C"]),
        (b"\n\r\nC\r\n", [Fault.BARE, b"C"]),
        (b"\0\r\n\n\r\nC\r\n", [Fault.NUL, Fault.BARE, b"C"]),
        (b"A\0\nB\r\n", [Fault.NUL]),
        (b"A\r\0B\r\n", [Fault.BARE]),
        (b"x" * 18 + b"\r\n", [b"x" * 18]),
        (b"x" * 19 + b"\r\nC\r\n", [Fault.TOO_LONG, b"C"]),
        (b"x" * 20, [Fault.TOO_LONG]),
        (b"x" * 19, []),
        (b"x" * 500 + b"\r\nC\r\n", [Fault.TOO_LONG, b"C"]),
        (b"x" * 10 + b"\n" + b"x" * 500 + b"\r\nC\r\n", [Fault.BARE, b"C"]),
        (b"x" * 30 + b"\n" + b"\r\nC\r\n", [Fault.TOO_LONG, b"C"]),
    ],
)
def test_lines(raw: bytes, out: list[bytes | Fault]) -> None:
    assert split(raw) == out
    assert split(raw, list(range(len(raw)))) == out


PIECES = st.lists(st.sampled_from([b"\r", b"\n", b"\0", b"\r\n", b"a", b"b" * 9, b"c" * 25])).map(b"".join)


@given(PIECES, st.lists(st.integers(0, 200), max_size=8))
def test_any_cut_gives_the_same(raw: bytes, cuts: list[int]) -> None:
    assert split(raw, [min(cut, len(raw)) for cut in cuts]) == split(raw)


@given(st.binary(max_size=200))
def test_a_line_never_holds_what_could_end_it_elsewhere(raw: bytes) -> None:
    for line in split(raw):
        assert isinstance(line, Fault) or (not set(line) & set(b"\0\r\n") and len(line) <= MAX - 2)


def test_a_line_without_end_is_not_kept() -> None:
    lines = CommandLines(MAX)
    for _ in range(1000):
        lines.receive(b"x" * 1000)
        drain(lines)
    assert len(lines.take()) == 0
    assert lines.skipped == 1_000_000


def test_what_was_not_taken_goes_to_the_reader_of_content() -> None:
    lines = CommandLines(MAX)
    lines.receive(b"DATA\r\nhello\r\n.\r\n")
    assert lines.next() == b"DATA"
    assert lines.line_waiting
    assert lines.take(4) == b"hell"
    assert lines.line_waiting
    assert lines.take() == b"o\r\n.\r\n"
    assert not lines.line_waiting
    assert lines.take(4) == b""
