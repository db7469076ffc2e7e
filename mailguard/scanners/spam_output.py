"""Points by rule out of what spamd returns: the header fields that SpamAssassin added, or its report. Pure; strict.

HEADERS gives exact points where ``deploy/spamassassin/mailguard.cf`` is in force, for it adds the field
``X-Spam-Tests-Scores``. Fields of that name in the message itself are no danger: mailguard strips ``X-Spam-*`` before
the scan, SpamAssassin does so again, and its own stand above all others but Return-Path.

REPORT rounds: points below 10 to 0.1, others to whole numbers (PerMsgStatus::check_cleanup). Only lines under the
last rule of the table's head are read; what comes from the message (the preview above it, addresses in brackets below)
cannot look like one.

Failure: BadReply.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mailguard.facts import ClientAddress
from mailguard.scanners.spamd_protocol import BadReply
from mailguard.spamrules.points import Hit

_NAME: Final = r"[A-Za-z_]\w{0,127}"
_POINTS: Final = r"-?(?:\d+(?:\.\d*)?|\.\d+)(?:e-?\d+)?"
_PAIR: Final = re.compile(rf"({_NAME})=({_POINTS})", re.ASCII | re.IGNORECASE)
_FOLD: Final = re.compile(r"\r?\n[ \t]+")
_HEAD: Final = re.compile(r"^\s*-{2,}[ \t]+-{4,}[ \t]+-{4,}\s*$", re.MULTILINE)
_ROW: Final = re.compile(rf"^[ \t]{{0,3}}(-?\d+(?:\.\d)?) ({_NAME})(?:[ \t]|$)", re.MULTILINE | re.ASCII)
_MARK: Final = re.compile(r"1 version=(\S*) rules=(\S*)")


@dataclass(frozen=True, slots=True)
class Output:
    """What one scan showed besides its total.

    Attributes:
        hits: every hit.
        settings: whether mailguard.cf is in force, so that the following are known.
        version: of SpamAssassin.
        rules_version: of the rules (``_RULESVERSION_``), often empty.
        relay: what SpamAssassin took for the last external relay; None where there was none.
    """

    hits: tuple[Hit, ...]
    settings: bool = False
    version: str = ""
    rules_version: str = ""
    relay: ClientAddress | None = None


def from_headers(body: str) -> Output | None:
    """The output of HEADERS, or None where mailguard.cf is not in force.

    Raises:
        BadReply: its fields are not as mailguard.cf makes them.
    """
    fields = _first_fields(body)
    scores, mark = fields.get("x-spam-tests-scores"), fields.get("x-spam-mailguard")
    if scores is None or mark is None:
        return None
    found = _MARK.fullmatch(mark)
    if found is None:
        raise BadReply(f"X-Spam-Mailguard is not as mailguard.cf makes it: {mark[:80]!a}")
    relay = fields.get("x-spam-lastexternal-ip", "")
    return Output(_exact(scores), True, found[1], found[2], _address(relay))


def _first_fields(body: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    for line in re.split(r"\r?\n(?![ \t])", body):
        name, colon, value = line.partition(":")
        if colon and name.lower().startswith("x-spam-"):
            fields.setdefault(name.lower(), _FOLD.sub(" ", value).strip())
    return fields


def _exact(scores: str) -> tuple[Hit, ...]:
    text = re.sub(r"\s", "", scores)
    if text == "none":
        return ()
    hits = []
    for pair in text.split(","):
        found = _PAIR.fullmatch(pair)
        if found is None:
            raise BadReply(f"no points by rule: {pair[:80]!a}")
        hits.append(Hit(found[1], float(found[2])))
    return tuple(hits)


def _address(text: str) -> ClientAddress | None:
    """The relay's address; what is no address is no relay that could be granted."""
    try:
        return ClientAddress.parse(text)
    except ValueError:
        return None


def from_report(body: str) -> Output:
    """The output of REPORT, with the error that its rounding makes.

    Raises:
        BadReply: there is no table in it (``report`` templates of the site's own may have none).
    """
    heads = list(_HEAD.finditer(body))
    if not heads:
        raise BadReply("a report without a table of points")
    rows = _ROW.findall(body[heads[-1].end() :])
    return Output(tuple(Hit(name, float(points), 0.05 if "." in points else 0.5) for points, name in rows))
