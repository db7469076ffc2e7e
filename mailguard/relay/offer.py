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
        body = mail.parameter("BODY")
        if mail.parameter("SMTPUTF8") and not self.smtputf8:
            raise BackendFailed("the message needs SMTPUTF8, which the backend does not offer")
        if body and (body.value or b"").upper() != b"7BIT" and not self.eightbitmime:
            raise BackendFailed("the message needs 8BITMIME, which the backend does not offer")
        self._require_dsn(mail.parameters)
        dropped = ({"SIZE"} if not self.sized else set()) | ({"BODY"} if not self.eightbitmime else set())
        return replace(mail, parameters=tuple(p for p in mail.parameters if p.keyword not in dropped))

    def take(self, recipient: RcptTo) -> None:
        """Raises BackendFailed where ``recipient`` needs an extension that is not offered."""
        self._require_dsn(recipient.parameters)

    def _require_dsn(self, parameters: Sequence[Parameter]) -> None:
        if not self.dsn and any(parameter.keyword in _OF_DSN for parameter in parameters):
            raise BackendFailed("the message needs DSN, which the backend does not offer")
