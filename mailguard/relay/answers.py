"""What a backend says: reply lines to a value, and that value to what our client is told. Pure.

A reply has at most :data:`MAX_LINES` lines of :data:`MAX_LINE` octets (RFC 5321 4.5.3.1.5 asks for 512); lines of one
reply bear one code (4.2.1). Anything else is no reply, :class:`NoReply`: nobody guesses what a backend may have
meant. :class:`Replies` finds them in octets that come in pieces of any cut.

:func:`passed_on` makes a reply our own: code, enhanced code (RFC 3463; ``x.0.0`` where there is none) and text,
printable ASCII within one reply line. A 421 speaks of the backend's connection and not of our client's: it never
comes this far.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal, NamedTuple, TypeAlias

from mailguard.replies import Origin, Reply, printable, reply

MAX_LINE: Final = 2048
"""Octets of one line, line end included."""
MAX_LINES: Final = 100
_MAX_LINES_PASSED_ON: Final = 10

_BEGINNINGS: Final = {
    b"%d%b" % (code, mark): (code, mark == b"-")
    for code in range(200, 600)
    if code // 10 % 10 < 6
    for mark in (b"", b" ", b"-")
}
"""What a line may begin with (RFC 5321 4.2.1: digits from 2 to 5, 0 to 5, 0 to 9): its code, whether more follow."""
_ENHANCED: Final = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})(?= |$)")

OK: Final = frozenset((250, 251, 252))
"""Codes by which MAIL, RCPT and the end of data are taken (RFC 5321 4.3.2); 252 is seen as an answer to RCPT."""


Fault: TypeAlias = Literal["unreachable", "silent", "closing", "tls", "other"]


class BackendFailed(Exception):
    """The dialogue cannot go on; the text is a private cause.

    Attributes:
        fault: ``unreachable``, no connection could be made; ``silent``, no answer in time; ``closing``, a 421 (RFC 5321
            3.8); ``tls``, there is no TLS connection as it should be; ``other``, it closed without a word, or said
            something that makes no sense.
        code: of the reply that was the reason, 0 where none was.
    """

    def __init__(self, why: str, fault: Fault = "other", code: int = 0) -> None:
        super().__init__(why)
        self.fault = fault
        self.code = code


class NoReply(BackendFailed):
    """The backend said something that is no SMTP reply."""


class Answer(NamedTuple):
    """One reply of a backend: the code and the text of each line, enhanced code included, as sent."""

    code: int
    lines: tuple[bytes, ...]

    @property
    def taken(self) -> bool:
        """Whether the command was taken."""
        return self.code in OK

    @property
    def refused(self) -> bool:
        """Whether the command was refused, by a reply that speaks of the command and not of the connection."""
        return self.code >= 400 and self.code != 421

    def __str__(self) -> str:
        return printable(f"{self.code} {b' '.join(self.lines).decode(errors='replace')}")


class Replies:
    """Finds whole replies in what comes in.

    Attributes:
        pending: something is here that was not handed out: a reply, or the beginning of one.
    """

    def __init__(self) -> None:
        self.pending = False
        self._octets = b""
        self._lines: tuple[bytes, ...] = ()
        """Those so far of a reply that is not whole."""
        self._code = 0
        """Of these lines."""

    def receive(self, octets: bytes) -> None:
        """What the backend sent."""
        self._octets += octets
        self.pending = self.pending or octets != b""

    def next_reply(self) -> Answer | None:
        """The next reply, None while it is not whole.

        Raises:
            NoReply: this will be none.
        """
        while self.pending:
            line, end, rest = self._octets.partition(b"\n")
            if len(line) >= MAX_LINE:
                raise NoReply(f"a line of over {MAX_LINE} octets")
            if not end:
                return None
            line = line.removesuffix(b"\r")
            if (beginning := _BEGINNINGS.get(line[:4])) is None:
                raise NoReply(f"no reply line: {line[:80]!r}")
            code, more = beginning
            self._octets, text = rest, line[4:]
            if not (more or self._lines):
                self.pending = rest != b""
                return Answer(code, (text,))
            lines = *self._lines, text
            if code != self._code and self._lines:
                raise NoReply(f"lines of different codes: {self._code}, {line[:80]!r}")
            if not more:
                self._lines, self.pending = (), rest != b""
                return Answer(code, lines)
            self._code, self._lines = code, lines
            if len(lines) == MAX_LINES:
                raise NoReply(f"a reply of over {MAX_LINES} lines")
        return None


@lru_cache(maxsize=64)
def passed_on(answer: Answer, silent: str) -> Reply:
    """``answer`` as our own reply; one that was taken without a word gets the text of our reply ``silent``.

    What a backend says of recipients it says again and again, so that much is kept.
    """
    texts = [text.decode(errors="replace") for text in answer.lines[:_MAX_LINES_PASSED_ON]]
    match = _ENHANCED.match(texts[0])
    if match is None or match[1] != str(answer.code)[0]:
        enhanced = f"{answer.code // 100}.0.0"
    else:
        enhanced = match[0]
        # RFC 2034 4: the enhanced code stands on every line; Reply writes it on every line again.
        texts = [text.removeprefix(enhanced).removeprefix(" ") for text in texts]
    lines = tuple(printable(text).strip() for text in texts)
    if not any(lines):
        lines = reply(silent).lines if answer.taken else ("Refused by the mail server",)
    return Reply(answer.code, enhanced, lines, origin=Origin.BACKEND)
