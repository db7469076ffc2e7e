"""Records as the session writes them, made of facts and of what a policy decides on them."""

from __future__ import annotations

from typing import Any

from mailguard.facts import Client, Envelope, Message
from mailguard.journal.form import VERSION, Record, decode, encode
from mailguard.policy.engine import CompiledPolicy
from mailguard.session import record as session
from mailguard.session.judge import Judgement
from mailguard.session.record import Who
from mailguard.verdict import Verdict
from tests.unit.journal.conftest import reference

TIME = "2026-11-21T10:00:00.000000Z"


def recorded(
    policy: CompiledPolicy, client: Client, envelope: Envelope, message: Message | None, number: int = 0
) -> Record:
    """The record of one recipient, or of a message to one, that ``policy`` decided about; read back from its line."""
    first = policy.sampled(client, policy.envelope(client, envelope))
    zones = tuple((table.zone.name, table.zone.zone) for table in (policy.trial or policy.force).scales.lists)
    whole: Record = {
        "v": VERSION,
        "time": TIME,
        "ref": f"{reference(number)}-1",
        **Who(client, envelope.helo, envelope.sender_resolves, own_relay=False, zones=zones).fields,
        "sender": str(envelope.sender) or "<>",
        "sender_resolves": session._answer(envelope.sender_resolves),
        "policy": policy.digest,
        "envelope": session._decision(first),
    }
    if first.action.blocks or message is None:
        whole |= {"event": "recipient", "recipient": str(envelope.recipient), **_reply(first)}
    else:
        whole |= _content(policy, client, envelope, message, first)
    found = decode(encode(whole))
    assert found is not None
    return found


def _content(
    policy: CompiledPolicy, client: Client, envelope: Envelope, message: Message, first: Verdict
) -> dict[str, Any]:
    last = policy.content(client, envelope, message, first)
    return {
        "event": "message",
        "recipients": [str(envelope.recipient)],
        "content": session._decision(last),
        **session._scans(Judgement((), message)),
        **_reply(last),
    }


def _reply(verdict: Verdict) -> dict[str, Any]:
    if verdict.reply is None:
        return {"reply": {"code": 250, "enhanced": "2.0.0", "text": "OK", "by": "backend", "cause": ""}}
    return {"reply": session.reply_fields(verdict.reply)}
