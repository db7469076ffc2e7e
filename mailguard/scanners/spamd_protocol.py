"""SPAMC/1.5 and SPAMD/1.x, the words on spamd's wire (SpamAssassin's ``spamd/PROTOCOL``). Pure; strict.

A reply is a first line ``SPAMD/1.1 0 EX_OK``, header fields, an empty line, and a body of Content-length octets. Any
other code than 0, another protocol version, a body that is longer or shorter, a second field of one name, or a verdict
that contradicts its own numbers is :class:`BadReply`.

Units: octets; points.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

EX_TIMEOUT: Final = 79
"""spamd gave up after its own --timeout-child."""

_FIRST: Final = re.compile(r"SPAMD/(\d{1,3})\.(\d{1,3}) (\d{1,3}) ([ -~]*)")
_FIELD: Final = re.compile(r"([!-9;-~]+):[ \t]*([ -~]*?)[ \t]*")
_NUMBER: Final = r"-?\d{1,6}(?:\.\d{1,6})?"
_SPAM: Final = re.compile(rf"(True|False) ; ({_NUMBER}) / ({_NUMBER})")


class BadReply(ValueError):
    """What spamd said is no answer; the text says why. ``gave_up``: spamd is up but was too slow for this message."""

    def __init__(self, text: str, gave_up: bool = False) -> None:
        super().__init__(text)
        self.gave_up = gave_up


@dataclass(frozen=True, slots=True)
class Scored:
    """A reply to HEADERS or REPORT: the total and the threshold, rounded to 0.1, and the body."""

    score: float
    required: float
    body: str


def request(command: str, message: bytes, user: str = "") -> list[bytes]:
    """The request for ``command`` (HEADERS, REPORT) about ``message``, in pieces to send."""
    fields = f"User: {user}\r\n" if user else ""
    head = f"{command} SPAMC/1.5\r\nContent-length: {len(message)}\r\n{fields}\r\n"
    return [head.encode("ascii"), message]


PING: Final = b"PING SPAMC/1.5\r\n\r\n"


def is_pong(reply: bytes) -> bool:
    """Whether ``reply`` is what spamd says to PING."""
    return re.fullmatch(rb"SPAMD/1\.\d{1,3} 0 PONG\r\n", reply) is not None


def parse_reply(octets: bytes) -> Scored:
    """The reply to HEADERS or REPORT.

    Raises:
        BadReply: it is no answer.
    """
    if not octets:
        raise BadReply("closed without a reply")
    head, separator, body = octets.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    _check_first(lines[0])
    if not separator:
        raise BadReply("reply cut off in its header")
    fields = _fields(lines[1:])
    _check_length(fields, body)
    score, required = _verdict(fields)
    return Scored(score, required, body.decode("latin-1"))


def _check_first(line: str) -> None:
    found = _FIRST.fullmatch(line)
    if found is None:
        raise BadReply(f"no reply of spamd: {line[:80]!a}")
    if found[1] != "1":
        raise BadReply(f"protocol SPAMD/{found[1]}.{found[2]}")
    if int(found[3]) != 0:
        raise BadReply(f"error {found[3]} {found[4]}", gave_up=int(found[3]) == EX_TIMEOUT)


def _fields(lines: list[str]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in lines:
        found = _FIELD.fullmatch(line)
        if found is None or found[1].lower() in fields:
            raise BadReply(f"bad header field {line[:80]!a}")
        fields[found[1].lower()] = found[2]
    return fields


def _check_length(fields: dict[str, str], body: bytes) -> None:
    length = fields.get("content-length", "")
    if not re.fullmatch(r"\d{1,9}", length):
        raise BadReply("no Content-length")
    if int(length) != len(body):
        raise BadReply(f"body of {len(body)} octets, not {length}")


def _verdict(fields: dict[str, str]) -> tuple[float, float]:
    found = _SPAM.fullmatch(fields.get("spam", ""))
    if found is None:
        raise BadReply("no verdict")
    score, required = float(found[2]), float(found[3])
    if (found[1] == "True") != (score >= required):
        raise BadReply(f"a verdict that contradicts itself: {found[0]}")
    return score, required
