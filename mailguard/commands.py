"""The two commands that travel from the client to the backend, as values.

What goes to the backend is what was parsed, serialised afresh, never a decoded or "repaired" string (smtp.md,
"Grammar"). ``smtp.grammar`` makes these from bytes, ``relay`` writes them; neither knows the other.
"""

from __future__ import annotations

from dataclasses import field

from mailguard.caseless import lowered
from mailguard.facts import Mailbox
from mailguard.value import value


def _unquoted(local: bytes) -> bytes:
    """The local part that a Quoted-string stands for (RFC 5321 4.1.2: the quotes are no part of its meaning)."""
    if local[:1] != b'"' or local[1:][-1:] != b'"':
        return local
    text, out, i = local[1:-1], bytearray(), 0
    while i < len(text):
        i += text[i] == 0x5C and i + 1 < len(text)
        out.append(text[i])
        i += 1
    return bytes(out)


@value(frozen=True, slots=True)
class Path:
    """A reverse-path or forward-path without its source route (RFC 5321 4.1.2, C).

    Attributes:
        local: the local part as it was sent, quotes included; empty for ``<>``.
        domain: a domain or an address literal as it was sent; empty for ``<>`` and ``<postmaster>``.
    """

    local: bytes = b""
    domain: bytes = b""
    _mailbox: Mailbox | None = field(default=None, init=False, repr=False, compare=False)

    def encode(self) -> bytes:
        """With angle brackets, for the wire."""
        return b"<%b@%b>" % (self.local, self.domain) if self.domain else b"<%b>" % self.local

    @property
    def mailbox(self) -> Mailbox:
        """For policy and log: unquoted, UTF-8 (RFC 6531 3.3), the domain in lower case (``caseless``)."""
        if self._mailbox is None:
            mailbox = Mailbox(_unquoted(self.local).decode(), lowered(self.domain.decode()))
            object.__setattr__(self, "_mailbox", mailbox)
            return mailbox
        return self._mailbox

    @property
    def needs_smtputf8(self) -> bool:
        """Whether an octet is outside ASCII (RFC 6531 3.2)."""
        return not (self.local.isascii() and self.domain.isascii())


@value(frozen=True, slots=True)
class Parameter:
    """One ESMTP parameter (RFC 5321 4.1.2): ``keyword`` in upper case, ``value`` byte for byte, None without ``=``."""

    keyword: str
    value: bytes | None = None

    def encode(self) -> bytes:
        """For the wire."""
        keyword = self.keyword.encode("ascii")
        return keyword if self.value is None else b"%b=%b" % (keyword, self.value)


@value(frozen=True, slots=True)
class _Addressed:
    """A path and its parameters."""

    path: Path
    parameters: tuple[Parameter, ...] = field(default=())

    def parameter(self, keyword: str) -> Parameter | None:
        """The parameter ``keyword``, if it was given."""
        for parameter in self.parameters:
            if parameter.keyword == keyword:
                return parameter
        return None

    def _line(self, verb: bytes) -> bytes:
        """The command line without CR LF."""
        line = verb + self.path.encode()
        for parameter in self.parameters:
            line += b" " + parameter.encode()
        return line


@value(frozen=True, slots=True)
class MailFrom(_Addressed):
    """A MAIL command (RFC 5321 4.1.1.2)."""

    def encode(self) -> bytes:
        """The command line without CR LF."""
        return self._line(b"MAIL FROM:")


@value(frozen=True, slots=True)
class RcptTo(_Addressed):
    """A RCPT command (RFC 5321 4.1.1.3)."""

    def encode(self) -> bytes:
        """The command line without CR LF."""
        return self._line(b"RCPT TO:")


@value(frozen=True, slots=True)
class Extensions:
    """Which end-to-end extensions are offered (smtp.md, "Extensions"): all configured backends must do them.

    ``size`` is the SIZE offered in octets (RFC 1870), 0 for none; ``dsn`` stands for DSN (RFC 3461).
    """

    size: int = 0
    eightbitmime: bool = False
    smtputf8: bool = False
    dsn: bool = False
