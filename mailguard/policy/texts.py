"""Texts of a policy with ``{fact}`` in them: reply texts, and where a blocked sender can ask.

A value in a text may hold anything that a client or a zone's owner chose: it is made printable ASCII on one line, so
that nothing can end a reply early or forge another (RFC 5321 4.2).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from mailguard.facts import FACTS, Stage
from mailguard.positions import did_you_mean
from mailguard.replies import printable

_PIECE: Final = re.compile(r"\{(?P<name>[^{}]*)\}|(?P<stray>[{}])|(?P<text>[^{}]+)")
MAX_TEXT: Final = 300
"""Characters of a text before its values are filled in: the reference id and the values need room too."""

Fault: TypeAlias = tuple[int, int, str, str]
"""Start and end of what is wrong in a text, message, hint."""


@dataclass(frozen=True, slots=True)
class Template:
    """Literal pieces and names of facts, in order."""

    pieces: tuple[tuple[bool, str], ...]
    _names: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _form: str = field(init=False, repr=False, compare=False)
    """With ``%s`` for each of ``_names``."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_names", tuple(name for is_name, name in self.pieces if is_name))
        form = "".join("%s" if is_name else piece.replace("%", "%%") for is_name, piece in self.pieces)
        object.__setattr__(self, "_form", form)

    @property
    def names(self) -> frozenset[str]:
        """The facts that it shows."""
        return frozenset(self._names)

    def render(self, shown: Callable[[str], str]) -> str:
        """The text with every fact as ``shown`` writes it, printable, cut to what a reply line holds."""
        return printable(self._form % tuple(map(shown, self._names)))


def showable(stage: Stage) -> frozenset[str]:
    """The facts that a reply text may show; the content's no recipient, for there is one reply for all of them."""
    known = {name for name, spec in FACTS.items() if spec.stage <= stage}
    return frozenset(known if stage is Stage.ENVELOPE else {name for name in known if not _of_recipient(name)})


def parse(text: str, known: Collection[str]) -> tuple[Template, list[Fault]]:
    """The template that ``text`` is, and everything wrong with it; ``known`` are the facts that it may show."""
    pieces: list[tuple[bool, str]] = []
    faults: list[Fault] = []
    if not text.strip():
        faults.append((0, len(text), "the text is empty", "tell the sender what is wrong and where to ask"))
    if len(text) > MAX_TEXT:
        faults.append((MAX_TEXT, len(text), f"the text is longer than {MAX_TEXT} characters", "a reply is one line"))
    faults += _unprintable(text)
    for match in _PIECE.finditer(text):
        name = match["name"]
        if match["stray"]:
            faults.append((*match.span(), f"`{match['stray']}` stands alone", "a fact is written `{client.ip}`"))
        elif name is not None and name not in known:
            faults.append((*match.span(), f"`{{{name}}}` can't be shown here", _instead(name, known)))
        pieces.append((name is not None, name if name is not None else match.group()))
    return Template(tuple(pieces)), faults


def _instead(name: str, known: Collection[str]) -> str:
    if name in FACTS and FACTS[name].stage is Stage.CONTENT:
        return "it is known only when the content has come"
    if _of_recipient(name) and known == showable(Stage.CONTENT):
        return "a message has one reply, whoever its recipients are; a rule of the envelope may show it"
    return did_you_mean(name, known, otherwise="these can")


def _of_recipient(name: str) -> bool:
    return name in FACTS and name.startswith("recipient.")


def _unprintable(text: str) -> list[Fault]:
    hint = "a reply is one line of ASCII (RFC 5321 4.2)"
    return [
        (i, i + 1, f"the character U+{ord(c):04X} can't stand in a reply", hint)
        for i, c in enumerate(text)
        if not " " <= c <= "~"
    ][:1]
