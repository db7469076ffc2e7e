"""Header sections read field by field, apart from ``mailguard.message``, whose one pass over them must agree."""

from __future__ import annotations

import re

_STARTS = re.compile(rb"(?<=\r\n)(?![ \t])")


def fields(section: bytes) -> list[bytes]:
    """The fields of ``section``, a message or its beginning, up to the first empty line: folded lines and all."""
    end = section.find(b"\r\n\r\n")
    return [field for field in _STARTS.split(section if end < 0 else section[: end + 2]) if field]
