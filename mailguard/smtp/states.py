"""The states of a conversation and the order of its commands, as a table (RFC 5321 4.1.4); pure.

**What is not in :data:`TABLE` is illegal**: 503 5.5.1, and nothing changes but what :data:`AFTER_REFUSAL` says.
``smtp.conversation`` carries it out.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum, auto
from typing import Final

from mailguard.replies import Reply, reply


class Verb(StrEnum):
    """The commands that are offered; END is no command but the end of the content, which is answered like one."""

    __hash__ = str.__hash__  # an enum's own is a function in Python, called for each look into a table

    EHLO = "EHLO"
    HELO = "HELO"
    STARTTLS = "STARTTLS"
    XCLIENT = "XCLIENT"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    BDAT = "BDAT"
    END = "."
    RSET = "RSET"
    NOOP = "NOOP"
    VRFY = "VRFY"
    EXPN = "EXPN"
    HELP = "HELP"
    QUIT = "QUIT"


class State(Enum):
    """What the conversation has come to."""

    __hash__ = object.__hash__

    START = auto()
    """Greeted, not yet introduced."""
    READY = auto()
    """Introduced, no transaction."""
    SENDER = auto()
    """MAIL was taken, no RCPT was given yet."""
    REFUSED = auto()
    """MAIL was taken, and every RCPT so far was refused."""
    RECIPIENTS = auto()
    """At least one RCPT was taken."""
    CONTENT = auto()
    """DATA was taken, content is read."""
    CHUNKS = auto()
    """A BDAT was taken, the last one is yet to come (RFC 3030 2)."""
    FAILED = auto()
    """A BDAT was refused before the last one came: half a message must never be taken for one."""
    CLOSED = auto()
    """Nothing more is read."""


_S, _V = State, Verb


def _anywhere(here: State) -> dict[Verb, State]:
    """The commands that may be given at any time (RFC 5321 4.1.4)."""
    stay = dict.fromkeys((_V.NOOP, _V.VRFY, _V.EXPN, _V.HELP), here)
    return {**stay, _V.EHLO: _S.READY, _V.HELO: _S.READY, _V.QUIT: _S.CLOSED}


TABLE: Final[Mapping[State, Mapping[Verb, State]]] = {
    _S.START: {**_anywhere(_S.START), _V.RSET: _S.START, _V.XCLIENT: _S.CLOSED},
    _S.READY: {
        **_anywhere(_S.READY),
        _V.RSET: _S.READY,
        _V.MAIL: _S.SENDER,
        _V.STARTTLS: _S.CLOSED,
        _V.XCLIENT: _S.CLOSED,
    },
    _S.SENDER: {**_anywhere(_S.SENDER), _V.RSET: _S.READY, _V.RCPT: _S.RECIPIENTS},
    _S.REFUSED: {**_anywhere(_S.REFUSED), _V.RSET: _S.READY, _V.RCPT: _S.RECIPIENTS},
    _S.RECIPIENTS: {
        **_anywhere(_S.RECIPIENTS),
        _V.RSET: _S.READY,
        _V.RCPT: _S.RECIPIENTS,
        _V.DATA: _S.CONTENT,
        _V.BDAT: _S.CHUNKS,
    },
    _S.CONTENT: {_V.END: _S.READY},
    _S.CHUNKS: {**_anywhere(_S.CHUNKS), _V.RSET: _S.READY, _V.BDAT: _S.CHUNKS, _V.END: _S.READY},
    _S.FAILED: {**_anywhere(_S.FAILED), _V.RSET: _S.READY},
    _S.CLOSED: {},
}
"""The state after a command that was taken, by the state before; what is not here is illegal.

STARTTLS and XCLIENT close this conversation; the connection goes on with another.
"""

AFTER_REFUSAL: Final[Mapping[tuple[State, Verb], State]] = {
    (_S.SENDER, _V.RCPT): _S.REFUSED,
    (_S.CONTENT, _V.END): _S.READY,
    (_S.SENDER, _V.BDAT): _S.FAILED,
    (_S.REFUSED, _V.BDAT): _S.FAILED,
    (_S.RECIPIENTS, _V.BDAT): _S.FAILED,
    (_S.CHUNKS, _V.BDAT): _S.FAILED,
    (_S.CHUNKS, _V.END): _S.READY,
    (_S.FAILED, _V.END): _S.READY,
}
"""The state after a command that was refused, where it is another (RFC 5321 4.1.4: as if it had not been given).

A refused BDAT fails its transaction, also where it was illegal: were a later one taken, it would be half a message.
"""

OUT_OF_ORDER: Final[Mapping[State, Reply]] = {
    _S.START: reply("bad_sequence", expected="EHLO or HELO first"),
    _S.READY: reply("bad_sequence", expected="MAIL first"),
    _S.SENDER: reply("bad_sequence", expected="RCPT first, or RSET"),
    _S.REFUSED: reply("bad_sequence", expected="RCPT first, or RSET"),
    _S.RECIPIENTS: reply("bad_sequence", expected="RCPT, DATA or RSET first"),
    _S.CHUNKS: reply("bad_sequence", expected="BDAT or RSET first"),
    _S.FAILED: reply("bad_sequence", expected="RSET first"),
}
"""The reply to an illegal command, by state."""

NOT_OFFERED: Final = frozenset(
    {"STARTTLS", "AUTH", "ETRN", "TURN", "ATRN", "SEND", "SOML", "SAML", "XCLIENT", "XFORWARD"}
)
"""Commands that are known and not offered, or not to everybody: 502 instead of 500 (RFC 5321 4.2.4)."""
