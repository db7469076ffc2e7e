"""Our fields taken off a delivered message, by nothing but their names and their place at the top."""

from __future__ import annotations

import re

from tests.corpus.sample import Sample

_OURS = re.compile(rb"(?:X-Spam-(?:Flag|Status|Level|Score)|X-Virus-Scanned|X-Mailguard-(?:Id|Tags|Folder)): ")
_FOLDED = re.compile(rb"[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*")


def undo(delivered: bytes, hostname: str) -> bytes:
    """``delivered`` below our fields.

    Raises:
        AssertionError: it does not begin with our Received and our Authentication-Results.
    """
    name = hostname.encode()
    position = _take(delivered, 0, rb"Received: from [^\r]*\r\n\tby %b with " % re.escape(name))
    position = _take(delivered, position, rb"Authentication-Results: %b;\r\n" % re.escape(name))
    while _OURS.match(delivered, position):
        position = _end(delivered, position)
    return delivered[position:]


def _take(delivered: bytes, position: int, start: bytes) -> int:
    assert re.compile(start).match(delivered, position), f"no {start!r} in {delivered[:800]!r}"
    return _end(delivered, position)


def _end(delivered: bytes, position: int) -> int:
    match = _FOLDED.match(delivered, position)
    assert match
    return match.end()


def expected(sample: Sample) -> bytes:
    """What :func:`undo` must give for ``sample``."""
    return b"\r\n" + sample.kept if sample.headless else sample.kept
