"""One mistake in a file, told so that an admin can mend it: where, what is wrong, what would be right.

Lines and columns count from 1, columns in characters. A problem holds its source line, so that it can be shown
long after the file has changed. What is told goes to a terminal, and a file may hold anything: characters that cannot
be seen are told as escapes, and in the source line, where each must keep its column, as U+FFFD.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cached_property, lru_cache
from itertools import islice
from typing import Final

MAX_SHOWN: Final = 200
"""Characters of a source line that are shown: a longer line is cut around the mistake."""

MAX_NAMES: Final = 10
"""Names that a hint lists."""

MAX_COMPARED: Final = 256
"""Names with which one that is unknown is compared, which takes microseconds each."""

MAX_TOLD: Final = 200
"""Problems that are written out; a file that is not what it should be has tens of thousands."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake.

    Attributes:
        file: as the admin named it.
        line, column: where, from 1.
        message: what is wrong.
        hint: what would be right, or empty.
        source_line: the line it stands on.
        width: characters that are wrong, for the caret line.
        path: how one thing led to the other, one sentence a step (the way of a taint).
    """

    file: str
    line: int
    column: int
    message: str
    hint: str = ""
    source_line: str = ""
    width: int = 1
    path: tuple[str, ...] = ()

    @property
    def where(self) -> str:
        """``file:line:column``, as editors understand it."""
        return f"{_visible(self.file)}:{self.line}:{self.column}"

    def _shown(self) -> tuple[str, int]:
        """The source line, cut where it is long, and the column of the mistake in it."""
        start = max(0, self.column - MAX_SHOWN // 2) if len(self.source_line) > MAX_SHOWN else 0
        cut = self.source_line[start : start + MAX_SHOWN].rstrip()
        shown = cut if cut.isprintable() else "".join(c if c == "\t" or c.isprintable() else "\ufffd" for c in cut)
        return shown, self.column - 1 - start

    def _excerpt(self) -> list[str]:
        """The source line with carets under the mistake; nothing where there is no line to show."""
        line, column = self._shown()
        if not line:
            return []
        number = str(self.line)
        padding = "".join("\t" if c == "\t" else " " for c in line[:column]).ljust(column)
        carets = "^" * max(1, min(self.width, len(line) - column))
        return [f"  {number} | {line}", f"  {' ' * len(number)} | {padding}{carets}"]

    @property
    def in_one_line(self) -> str:
        """For a log: place, message, steps and hint in plain words, without the source line."""
        steps = "; because " + ", then ".join(self.path) if self.path else ""
        told = f"{self.message}{steps}" + (f"; hint: {self.hint}" if self.hint else "")
        return f"{self.where}: {_visible(told)}"

    def __str__(self) -> str:
        lines = [f"{self.where}: {_visible(self.message)}", *self._excerpt()]
        lines += [f"    {'because' if i == 0 else '   then'}: {_visible(step)}" for i, step in enumerate(self.path)]
        return "\n".join([*lines, f"    hint: {_visible(self.hint)}"] if self.hint else lines)


def _visible(text: str) -> str:
    """``text`` on one line, with escapes for what a terminal would obey instead of showing it."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class Problems(Exception):
    """Everything that is wrong with a file or a set of files, in the order in which it stands there.

    Attributes:
        problems: one or more.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: list[Problem] = sorted(set(problems), key=lambda p: (p.file, p.line, p.column, p.message))
        super().__init__(self.problems)

    def __str__(self) -> str:
        more = len(self.problems) - MAX_TOLD
        told = [str(problem) for problem in self.problems[:MAX_TOLD]]
        return "\n\n".join([*told, f"and {more} more"] if more > 0 else told)


@dataclass(frozen=True)
class Text:
    """A file's text under the name that the admin gave it."""

    file: str
    text: str

    def line(self, number: int) -> str:
        """Line ``number``, from 1; empty past the end."""
        return self.lines[number - 1] if 0 < number <= len(self.lines) else ""

    @cached_property
    def lines(self) -> list[str]:
        """All lines, which end as YAML has it (1.2.2, 5.4): LF, CR LF, or CR alone.

        Split once, at the first problem: a file may have as many problems as lines.
        """
        return self.text.replace("\r\n", "\n").replace("\r", "\n").split("\n")

    def problem(
        self, line: int, column: int, message: str, hint: str = "", *, width: int = 1, path: tuple[str, ...] = ()
    ) -> Problem:
        """A problem of this text."""
        return Problem(self.file, line, column, message, hint, self.line(line), width, path)


def closest(word: str, known: Iterable[str], nearness: float = 0.6) -> str | None:
    """The known word that ``word`` was most likely meant to be, if one is near: 0 is any, 1 the same."""
    matches = get_close_matches(word, list(known), n=1, cutoff=nearness)
    return matches[0] if matches else None


def did_you_mean(word: str, known: Collection[str], *, otherwise: str = "known here") -> str:
    """A hint for an unknown name: the nearest known one, or all of them.

    Of more than :data:`MAX_COMPARED` known names the first are told, and none is sought that is near: a generated file
    may have ten thousand names, and as many unknown ones.
    """
    compared = len(known) <= MAX_COMPARED
    names = tuple(sorted(known) if compared else islice(known, MAX_NAMES))
    near = _nearest(word, names) if compared else None
    if near is not None:
        return f"did you mean `{near}`?"
    shown = ", ".join(f"`{name}`" for name in names[:MAX_NAMES])
    more = f" and {len(known) - MAX_NAMES} more" if len(known) > MAX_NAMES else ""
    return f"{otherwise}: {shown}{more}" if names else ""


@lru_cache(maxsize=1024)
def _nearest(word: str, names: tuple[str, ...]) -> str | None:
    """As :func:`closest`; one mistake is often made many times."""
    return closest(word, names)
