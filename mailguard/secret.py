"""A text that is used and never shown, such as the key that a provider of DNS lists gave to one customer.

It has no ``str`` of its own, no ``repr`` and no form in JSON, so that a log line, a reply, a record of the journal or
a traceback that is made of what holds it cannot show it by accident: whoever uses it says so, by :meth:`revealed`.
"""

from __future__ import annotations

from typing import Final, final

SHOWN: Final = "(secret)"
"""What stands in its place."""


@final
class Secret:
    """A secret text; equal to another of the same text."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def revealed(self) -> str:
        """The text."""
        return self._text

    def __repr__(self) -> str:
        return SHOWN

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._text == self._text

    def __hash__(self) -> int:
        return hash((Secret, self._text))
