"""Sections of ``docs/performance.md``, which several commands write: each puts its own into place and keeps the others.

A section begins with its heading, ``## ...``, on a line of its own; a page is what stands above the first, and these.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

PAGE: Final = Path(__file__).parents[2] / "docs" / "performance.md"


def split(page: str) -> list[str]:
    """The page in pieces: what stands above the first section, then each section."""
    return re.split(r"(?m)^(?=## )", page)


def heading(section: str) -> str:
    """The first line of ``section``."""
    return section.partition("\n")[0]


def with_section(page: str, text: str) -> str:
    """``page`` with ``text``, a section, in the place of the one with its heading, or at the end."""
    pieces = split(page)
    place = next((i for i, piece in enumerate(pieces) if heading(piece) == heading(text)), len(pieces))
    pieces[place : place + 1] = [text]
    return "\n".join(f"{piece.rstrip()}\n" for piece in pieces)


def keeping(page: str, before: str) -> str:
    """``page`` and behind it those sections of ``before`` that it has not."""
    own = {heading(piece) for piece in split(page)}
    for piece in split(before)[1:]:
        if heading(piece) not in own:
            page = with_section(page, piece)
    return page
