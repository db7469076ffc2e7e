"""relay/stuffing.py against the plainest reading of RFC 5321 4.5.2, wherever the pieces end."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.relay.stuffing import END, Stuffer
from tests.support.client import stuffed
from tests.support.sink import unstuffed

LINES = st.lists(st.text(alphabet=".ab\x00é", max_size=4).map(str.encode), max_size=12)
CONTENTS = LINES.map(lambda lines: b"".join(line + b"\r\n" for line in lines))


def sent(pieces: list[bytes]) -> bytes:
    stuffer = Stuffer()
    return b"".join([stuffer.stuffed(piece) for piece in pieces] + [stuffer.line_end(), END])


def cut(octets: bytes, places: list[int]) -> list[bytes]:
    bounds = [0, *sorted(min(place, len(octets)) for place in places), len(octets)]
    return [octets[a:b] for a, b in itertools.pairwise(bounds)]


@given(CONTENTS, st.lists(st.integers(0, 60), max_size=8))
def test_any_split_gives_what_the_plain_way_gives(content: bytes, places: list[int]) -> None:
    assert sent(cut(content, places)) == stuffed(content) + END


@given(CONTENTS, st.lists(st.integers(0, 60), max_size=8))
def test_the_other_side_gets_the_content_back(content: bytes, places: list[int]) -> None:
    raw = sent(cut(content, places))
    assert unstuffed(raw) == content
    assert (b"\r\n" + raw).find(b"\r\n.\r\n") == len(raw) - 3, "the only end of data is the last"


@given(st.text(alphabet=".\r\nab", max_size=20).map(str.encode), st.lists(st.integers(0, 20), max_size=5))
def test_octets_with_bare_line_ends_never_look_like_an_end_of_data(content: bytes, places: list[int]) -> None:
    """Such octets do not come from the dot reader; a lenient backend takes LF . LF and LF . CR LF for the end."""
    raw = sent(cut(content, places))
    inside = (b"\r\n" + raw)[: -len(END)]
    for lenient in (b"\n.\n", b"\n.\r\n", b"\n.\r"):
        assert lenient not in inside


@pytest.mark.parametrize(
    ("content", "wire"),
    [
        (b"", b".\r\n"),
        (b".\r\n", b"..\r\n.\r\n"),
        (b"..\r\n", b"...\r\n.\r\n"),
        (b"a.\r\n.b\r\n", b"a.\r\n..b\r\n.\r\n"),
        (b"no line end", b"no line end\r\n.\r\n"),
        (b"half a line end\r", b"half a line end\r\r\n.\r\n"),
    ],
)
def test_examples(content: bytes, wire: bytes) -> None:
    assert sent([content]) == wire
