"""A YAML document as plain values, and beside them where each one stands.

A value is found by its path: keys and indices from the root, as pydantic's error locations have them. A document may
be put together of several texts, so each place knows its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final, TypeAlias

from mailguard.positions.problem import Problem, Text

Path: TypeAlias = tuple[str | int, ...]
"""Keys and indices from the root of a document to a value."""

_ESCAPE_LENGTH: Final = {"x": 4, "u": 6, "U": 10}
"""Characters that a numeric escape takes in a double-quoted scalar (YAML 1.1, 5.6)."""


class Style(Enum):
    """How a value is written."""

    PLAIN = ""
    SINGLE = "'"
    DOUBLE = '"'
    LITERAL = "|"
    FOLDED = ">"
    COLLECTION = "collection"


@dataclass(frozen=True, slots=True)
class Place:
    """Where in ``text`` a value stands; lines and columns from 1, ``end_column`` just past the last character.

    ``key`` is where its key stands: line, column, width. An entry of a list has none.
    """

    text: Text
    line: int
    column: int
    end_line: int
    end_column: int
    style: Style
    key: tuple[int, int, int] | None = None

    @property
    def one_line(self) -> bool:
        """Whether a column can be named within it: not a block, and not folded over lines."""
        return self.line == self.end_line and self.style in (Style.PLAIN, Style.SINGLE, Style.DOUBLE)


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed text, or several put together.

    Attributes:
        text: what it was parsed from; of several the first, after which it is called.
        data: dicts, lists, texts, numbers, true/false and None.
        places: where each value stands, by path.
        problems: what the parser refused; it put None in its place and went on, so that all are found at once.
        several: whether it was put together, so that a line alone does not say where.
    """

    text: Text
    data: Any
    places: Mapping[Path, Place]
    problems: tuple[Problem, ...] = ()
    spoilt: frozenset[Path] = field(default=frozenset())
    several: bool = False

    def place(self, path: Path) -> Place:
        """Where the value at ``path`` stands, or the nearest that encloses it."""
        while path not in self.places:
            path = path[:-1]
        return self.places[path]

    def with_text(self, path: Path, text: Text) -> Document:
        """The same, but that the whole of ``text``, a line, stands at ``path``: a value from elsewhere.

        Mappings on the way are made where they are missing. Where something else is in the way, nothing is changed: it
        is refused by whoever validates the document.
        """
        data = _with(self.data, path, text.text)
        if data is self.data:
            return self
        missing = [path[:length] for length in range(1, len(path)) if path[:length] not in self.places]
        width = len(text.text) + 1
        place = Place(text, 1, 1, 1, width, Style.PLAIN)
        places = {**self.places, **dict.fromkeys([*missing, path], place)}
        return replace(self, data=data, places=places)

    def value(self, path: Path) -> Any:
        """The value at ``path``, or None where nothing is."""
        found = self.data
        for step in path:
            try:
                found = found[step]
            except (KeyError, IndexError, TypeError):
                return None
        return found

    def problem(self, path: Path, message: str, hint: str = "", *, steps: tuple[str, ...] = ()) -> Problem:
        """A problem with the value at ``path``; a collection, or one that is missing, is shown by its key."""
        place = self.place(path)
        absent = place.style is Style.PLAIN and (place.line, place.column) == (place.end_line, place.end_column)
        if place.key is not None and (absent or place.style is Style.COLLECTION):
            return self.key_problem(path, message, hint, steps=steps)
        width = place.end_column - place.column if place.line == place.end_line else 1
        return place.text.problem(place.line, place.column, message, hint, width=max(1, width), path=steps)

    def key_problem(self, path: Path, message: str, hint: str = "", *, steps: tuple[str, ...] = ()) -> Problem:
        """A problem with the key at ``path``, or with the value where it has none."""
        place = self.place(path)
        line, column, width = place.key or (place.line, place.column, 1)
        return place.text.problem(line, column, message, hint, width=width, path=steps)

    def span_problem(
        self, path: Path, span: tuple[int, int], message: str, hint: str = "", *, steps: tuple[str, ...] = ()
    ) -> Problem:
        """A problem with the characters ``span`` (from 0, end excluded) of the one-line text at ``path``."""
        start, end = self.column(path, span[0]), self.column(path, span[1])
        place = self.place(path)
        return place.text.problem(place.line, start, message, hint, width=max(1, end - start), path=steps)

    def told(self, path: Path) -> str:
        """Where the key or value at ``path`` stands, for a sentence: ``line 5``, or ``line 5 of FILE``."""
        place = self.place(path)
        line = f"line {place.key[0] if place.key else place.line}"
        return f"{line} of {place.text.file}" if self.several else line

    def column(self, path: Path, offset: int) -> int:
        """The column of character ``offset`` of the one-line text at ``path``: quotes and escapes are counted in."""
        place = self.place(path)
        if place.style is Style.PLAIN:
            return place.column + offset
        raw = place.text.line(place.line)
        position = place.column  # 0-based index of the character after the opening quote
        for _ in range(offset):
            position += _width_at(raw, position, place.style)
        return min(position + 1, place.end_column)


def _with(data: Any, path: Path, value: Any) -> Any:
    """``data`` with ``value`` at ``path``; ``data`` itself where what stands on the way is no mapping."""
    if not path:
        return value
    if data is None:
        data = {}
    if not isinstance(data, dict):
        return data
    before = data.get(path[0])
    after = _with(before, path[1:], value)
    return data if after is before else {**data, path[0]: after}


def _width_at(raw: str, position: int, style: Style) -> int:
    """Characters that one character of a quoted scalar takes in its source: ``''``, or an escape sequence."""
    pair = raw[position : position + 2]
    if style is Style.SINGLE:
        return 2 if pair == "''" else 1
    return _ESCAPE_LENGTH.get(pair[1:], 2) if pair.startswith("\\") else 1
