"""Regular expressions in conditions: RE2's, which take time linear in the text, whatever pattern and text may be.

Python's own would take longer than the sun has for ``(a+)+$`` and a name that the client has chosen. RE2
(https://github.com/google/re2/wiki/Syntax) has no look-around and no backreferences for that. What a pattern grows to
is bounded too: one that would grow too large is refused when the policy is loaded (decision 0110).

A pattern is looked for anywhere in the text. Where case does not matter (domains, local parts), the text is compared
in small letters, A to Z alone (``mailguard.caseless``), so a capital in the pattern could never match: it is refused.
RE2's own ``(?i)`` knows the cases of all scripts, for which the Kelvin sign is a ``k``.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import re2

from mailguard.caseless import lowered

MAX_MEMORY: Final = 1024 * 1024
"""Octets that RE2 may take for a pattern, its caches included."""
MAX_STEPS: Final = 4000
"""Instructions of a compiled pattern. RE2's time is at worst text by instructions: with these 20 ms for 1000 octets."""

_EXPLAINED: Final = (
    (r"\\[1-9]", "what a group found can't be asked for again: RE2 has no backreferences"),
    (r"\\Z", r"the end of the text is `$` or `\z`"),
    (r"\\N", r"`\N` is Exim's, and not needed here: leave it out"),
    (r"\(\?([=!]|<[=!])", "RE2 has no look-ahead or look-behind: write two conditions, joined with `and not`"),
    (r"\*|\+|\?", r"`*` repeats what stands before it: any text is `.*`, a dot itself is `\.`"),
    (r"\{", "up to 1000 repetitions, all in all"),
    (r"\[|\(|\)", "every bracket that opens must close; one that is meant itself has a backslash before it"),
)
"""What RE2 stopped at, and what to do instead."""
_SYNTAX: Final = "the syntax is that of RE2: https://github.com/google/re2/wiki/Syntax"
_SLASHES: Final = re.compile(r"/.*/[a-z]*")
_ESCAPED_OR_CAPITAL: Final = re.compile(r"\\(?:[pP](?:\{\^?\w*\}|\w)|x(?:\{[0-9a-fA-F]*\}|..)|.)|\(\?P?<\w+>|[A-Z]")


class BadPattern(ValueError):
    """A pattern that is none; ``span`` is where in it, ``hint`` what would be right."""

    def __init__(self, message: str, hint: str, span: tuple[int, int]) -> None:
        super().__init__(message)
        self.hint = hint
        self.span = span


def finder(pattern: str, fold: bool) -> Callable[[str], bool]:
    """Tells of a text whether ``pattern`` is found in it; ``fold``: without regard to the case of A to Z.

    Raises:
        BadPattern: it is no pattern of RE2, or can never match.
    """
    _check_slips(pattern)
    compiled = _compiled(pattern)
    if not fold:
        return lambda text: compiled.search(_octets(text)) is not None
    _check_case(pattern)
    return lambda text: compiled.search(_octets(lowered(text))) is not None


def _octets(text: str) -> bytes:
    """What RE2 reads; it would refuse half a surrogate, which no text from outside holds."""
    return text.encode("utf-8", "replace")


def _compiled(pattern: str) -> re2._Regexp:
    options = re2.Options()
    options.max_mem = MAX_MEMORY
    options.log_errors = False
    options.never_capture = True
    try:
        compiled = re2.compile(_octets(pattern), options)
    except re2.error as error:
        raise _explained(pattern, _said(error)) from error
    if compiled.programsize > MAX_STEPS:
        raise _too_large(pattern)
    return compiled


def _said(error: re2.error) -> str:
    said = error.args[0] if error.args else ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)


def _explained(pattern: str, said: str) -> BadPattern:
    """RE2 says what is wrong and behind a colon the part that is."""
    what, _, part = said.partition(": ")
    start = max(0, pattern.find(part)) if part else 0
    span = (start, start + len(part)) if part and part in pattern else (0, len(pattern))
    if "too large" in said:
        return _too_large(pattern)
    hint = next((hint for sign, hint in _EXPLAINED if re.search(sign, part)), _SYNTAX)
    return BadPattern(f"this is no regular expression: {what}" + (f" `{part}`" if part else ""), hint, span)


def _too_large(pattern: str) -> BadPattern:
    hint = r"repeat less often: `{n}` stands for n times as much; a class such as `\pL` is large too"
    return BadPattern("this pattern grows too large", hint, (0, len(pattern)))


def _check_slips(pattern: str) -> None:
    """What RE2 would read, but as something that its author did not mean."""
    whole = (0, len(pattern))
    if not pattern:
        raise BadPattern("an empty pattern is found in every text", "write what is to be found", whole)
    if _SLASHES.fullmatch(pattern):
        hint = "the quotes are enough: leave the slashes out"
        raise BadPattern("the slashes would be part of what is looked for", hint, whole)


def _check_case(pattern: str) -> None:
    if (flag := re.search(r"\(\?[a-zA-Z]*i", pattern)) is not None:
        raise BadPattern("case does not matter here already", "leave `(?i)` out", flag.span())
    capital = next((m for m in _ESCAPED_OR_CAPITAL.finditer(pattern) if len(m.group()) == 1), None)
    if capital is not None:
        small = _ESCAPED_OR_CAPITAL.sub(lambda m: m.group().lower() if len(m.group()) == 1 else m.group(), pattern)
        message = f"`{capital.group()}` is never found: case does not matter here, and small letters are compared"
        raise BadPattern(message, f"write '{small}'", capital.span())
