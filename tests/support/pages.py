"""Pages of docs/ taken apart, so that a test runs what a reader is shown and not a copy of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

FENCE: Final = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_HEADING: Final = re.compile(r"^## (.+)$", re.MULTILINE)
_ROW: Final = re.compile(r"^\| (.+) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block: what stands behind the three backquotes, by words, and its text."""

    words: tuple[str, ...]
    text: str

    @property
    def language(self) -> str:
        """The first word; empty where there is none."""
        return self.words[0] if self.words else ""


def blocks(page: str, *words: str) -> Iterator[Block]:
    """The blocks of a page, or of a part of one, whose fence says exactly ``words``; without any, all blocks."""
    for said, text in FENCE.findall(page):
        if not words or tuple(said.split()) == words:
            yield Block(tuple(said.split()), text)


def sections(page: str) -> dict[str, str]:
    """The text below each heading of the second level (blocks may hold lines that begin with ``##``)."""
    outside = FENCE.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), page)
    starts = [(found[1], found.start(), found.end()) for found in _HEADING.finditer(outside)]
    ends = [start for _, start, _ in starts[1:]] + [len(page)]
    return {name: page[at:end] for (name, _, at), end in zip(starts, ends, strict=True)}


def table(text: str) -> list[dict[str, str]]:
    """The rows of the first table of a part of a page, by the names in its head; empty where there is none."""
    rows = [[cell.strip() for cell in row.split(" |")] for row in _ROW.findall(FENCE.sub("", text))]
    rows = [[cell.removeprefix("| ") for cell in row] for row in rows]
    return [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]
