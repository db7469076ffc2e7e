"""What a backend's EHLO reply offers (RFC 5321 4.1.1.1), and which parameters of ours it then gets. Pure.

What a client was offered by us may be missing at the backend that is asked now: it was another when we offered, or has
changed. SIZE and BODY=7BIT may be left out without harm. What the message needs may not: that backend is passed over,
and where there is no other the client is told 451 and comes again, when our own offer has changed with the backend's.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from mailguard.commands import MailFrom, Parameter, RcptTo
from mailguard.relay.answers import BackendFailed

_MAX_DIGITS: Final = 20
"""Digits of a SIZE (RFC 1870 4)."""
_OF_DSN: Final = frozenset(("RET", "ENVID", "NOTIFY", "ORCPT"))
"""Parameters of RFC 3461."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What is offered.

    Attributes:
        size: octets (RFC 1870), 0 where none are named; ``sized``: whether SIZE is offered at all.
        chunking: BDAT (RFC 3030).
        xclient: the attributes that XCLIENT takes, None where it is not offered.
    """

    pipelining: bool = False
    size: int = 0
    sized: bool = False
    eightbitmime: bool = False
    smtputf8: bool = False
    chunking: bool = False
    dsn: bool = False
    starttls: bool = False
    xclient: frozenset[str] | None = None

    @classmethod
    def parse(cls, lines: Sequence[bytes], ignored: Collection[str] = ()) -> Offer:
        """The offer in the lines of an EHLO reply, of which the first is the greeting; ``ignored``: upper case."""
        words = {line.split()[0].upper(): line.split()[1:] for line in lines[1:] if line.split()}
        for keyword in ignored:
            words.pop(keyword.encode("ascii"), None)
        size, named = words.get(b"SIZE", []), words.get(b"XCLIENT")
        return cls(
            pipelining=b"PIPELINING" in words,
            size=int(size[0]) if size and size[0].isdigit() and len(size[0]) <= _MAX_DIGITS else 0,
            sized=b"SIZE" in words,
            eightbitmime=b"8BITMIME" in words,
            smtputf8=b"SMTPUTF8" in words,
            chunking=b"CHUNKING" in words,
            dsn=b"DSN" in words,
            starttls=b"STARTTLS" in words,
            xclient=None if named is None else frozenset(word.decode("latin-1").upper() for word in named),
        )

    def fit(self, mail: MailFrom) -> MailFrom:
        """``mail`` without the parameters that this backend does not know and that may be left out.

        Raises:
            BackendFailed: the message needs an extension that is not offered: another backend may have it.
        """
        if not mail.parameters:
            return mail
        kept = tuple([parameter for parameter in mail.parameters if self._takes(parameter)])
        return mail if len(kept) == len(mail.parameters) else replace(mail, parameters=kept)

    def take(self, recipient: RcptTo) -> None:
        """Raises BackendFailed where ``recipient`` needs an extension that is not offered."""
        for parameter in recipient.parameters:
            self._takes(parameter)

    def _takes(self, parameter: Parameter) -> bool:
        """Whether ``parameter`` is known; False where it may be left out.

        Raises:
            BackendFailed: it is not known, and may not be left out.
        """
        keyword = parameter.keyword
        if keyword == "SIZE":
            return self.sized
        if keyword == "BODY":
            if (parameter.value or b"").upper() == b"7BIT":
                return self.eightbitmime
            _need("8BITMIME", self.eightbitmime)
        elif keyword == "SMTPUTF8":
            _need("SMTPUTF8", self.smtputf8)
        elif keyword in _OF_DSN:
            _need("DSN", self.dsn)
        return True


def _need(extension: str, offered: bool) -> None:
    if not offered:
        raise BackendFailed(f"the message needs {extension}, which the backend does not offer")
