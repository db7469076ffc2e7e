"""A record of the journal: what it holds, how it becomes a line and a line becomes it again.

A record is a JSON object on one line (JSON Lines): nothing that is cut off in the middle of one is JSON, so that a
reader tells a torn line by reading it. Fields may be added under the same :data:`VERSION`, and readers pass over those
that they do not know; the version grows where the meaning of a field changes. ``docs/reference/journal.md`` is
generated from :data:`FIELDS`. Never a message's content, nor a header but the Message-ID. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, TypeAlias

import orjson

from mailguard.verdict import MAX_TEXT

Record: TypeAlias = dict[str, Any]
"""A record as JSON has it; its fields are :data:`FIELDS`."""

VERSION: Final = 1
"""The form that is written."""

FIELDS: Final[Mapping[str, str]] = {
    "v": f"version of this form: {VERSION}",
    "time": "when it was written, RFC 3339 in UTC, to the microsecond",
    "event": "`message`, `recipient` (one that was refused), `command refused`, `connection` (one turned away), "
    "`internal error`",
    "ref": "the reference that the client was told: of a connection, or of a transaction in it",
    "verdict": "what became of it: `accept`, `file`, `defer` (4yz) or `reject` (5yz), whoever said so",
    "client.ip": "address of the connecting client",
    "client.port": "its port, 0 where unknown",
    "client.own_relay": "whether it is in `own_relays`: nothing was asked about it",
    "client.early_talker": "whether it spoke before the greeting, or an unknown",
    "client.reverse": "`name` by PTR, and whether that is `confirmed`; or an unknown",
    "client.dnsbl": "by the policy's name of a list: the addresses that it answered, none: not listed; or an unknown",
    "client.zones": "the DNS zone of each of those lists, by the policy's name",
    "client.dnsbl_seconds": "how long each list that was asked took to answer; a cached answer takes next to nothing",
    "helo.name": "what the client called itself",
    "helo.is_address": "whether that is an address",
    "helo.resolves": "whether that has an A, AAAA or MX record, or an unknown",
    "tls": "`version`, `cipher` and `bits` of the client's connection; null where it was not in TLS",
    "sender": "the reverse-path, `<>` for a bounce",
    "sender_resolves": "whether the sender's domain takes mail, or an unknown",
    "recipient": "the forward-path that was refused",
    "recipients": "the forward-paths that were taken",
    "policy": "digest of the policy that decided",
    "profile": "what the header calls the first recipient and those treated like it: its profile, or the postmaster",
    "others": "recipients treated otherwise: of each party `recipients`, `profile`, `envelope`, `content`",
    "envelope": "what the envelope's rules decided; of a message: for its first recipient",
    "content": "what the content's rules decided",
    "envelope.action": "accept, reject, defer, greylist or file; `content.action` likewise, and so on for all below",
    "envelope.rule": "the rule that decided, `unavailable: SOURCE`, or `postmaster`; none where they came to their end",
    "envelope.folder": "where it is to be filed",
    "envelope.tags": "symbols given",
    "envelope.rules": "the rules that were tried, in order, each with whether it fired; null: could not be told",
    "envelope.facts": "what the rules looked at, by name; null where there was no answer",
    "envelope.weights": "what counted, by list and label or by fact",
    "envelope.observed": "the decision that `mode: observe` or the sample kept from being done, with all of the fields "
    "above",
    "envelope.sampled": "true where it was the policy's `sample` that let it in; else missing",
    "virus": "`name` and `kind` of what clamd found, both empty where clean; or an unknown",
    "spam.score": "SpamAssassin's total; `spam` as a whole may be an unknown",
    "spam.content_score": "the total without the positive points of rules that may look at Received",
    "spam.required": "SpamAssassin's own threshold",
    "spam.rules": "points by rule",
    "spam.tainted": "those of the rules that may look at Received",
    "spam.truncated": "whether only the first octets were scored",
    "size": "octets of the message as it came",
    "message_size": "the same without its Received fields: the fact `message.size`",
    "message_id": "its Message-ID",
    "digest": "SHA-256 of a message that may be delivered twice (RFC 1047), in hexadecimal",
    "backend": "address of the backend that was spoken to last",
    "reply.code": "of our reply",
    "reply.enhanced": "its enhanced code (RFC 3463)",
    "reply.text": "its text, without the reference",
    "reply.by": "who said so: `policy`, `backend`, or `mailguard` itself",
    "reply.cause": "its private cause",
    "seconds": "how long parts of the transaction took, in seconds: `questions` (waiting for answers about client and "
    "envelope), `scan`, `backend`, and `message`, from the end of the message to our reply",
    "end": "how a connection that was turned away ended",
    "exception": "of a bug; the log has the whole traceback",
}
"""Every field and what it means. An unknown is ``{"unknown": why, "cause": "down" or "unscannable"}``."""


_TEXTS: Final = ("time", "event", "ref")
"""What every record has."""
_ASKED_FOR: Final = ("verdict", "sender", "recipient")
"""What a record can be asked for by, where it has it; besides, its client and its recipients."""


def begun(event: str, reference: str) -> Record:
    """What every record begins with; ``Journal.put`` adds when it is written."""
    return {"v": VERSION, "time": "", "event": event, "ref": reference}


def encode(record: Record) -> bytes:
    """``record`` as a line, its end included; what UTF-8 cannot hold becomes ``?``."""
    try:
        return orjson.dumps(record, default=str, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:  # a lone surrogate
        return json.dumps(record, default=str, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def decode(line: bytes) -> Record | None:
    """The record of a line; None where the line is torn, or is no record of ours."""
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return record if isinstance(record, dict) and _is_ours(record) else None


def _is_ours(record: Record) -> bool:
    """Whether all that a record is found by is of its type: one that is not would end every search and all sealing."""
    client, recipients = record.get("client") or {}, record.get("recipients", [])
    return (
        isinstance(record.get("v"), int)
        and all(isinstance(record.get(name), str) for name in _TEXTS)
        and all(isinstance(record.get(name) or "", str) for name in _ASKED_FOR)
        and isinstance(client, dict)
        and isinstance(client.get("ip", ""), str)
        and isinstance(recipients, list)
        and all(isinstance(each, str) for each in recipients)
    )


def microseconds(now: datetime) -> int:
    """Microseconds from 1970 to ``now``, which is aware of its zone."""
    return round(now.timestamp() * 1_000_000)


def written(record: Record) -> int:
    """When ``record`` was written, in microseconds from 1970; 0 where that is no time, or one before that."""
    try:
        return max(0, microseconds(datetime.fromisoformat(record["time"])))
    except (ValueError, OverflowError):  # the latter: of a year that no clock of this machine has
        return 0


def bounded(text: str) -> str:
    """``text`` as far as a record holds it."""
    return text[:MAX_TEXT]
