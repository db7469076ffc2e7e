"""What is written down of a session: a record for each message and each refused recipient; and the counters.

Each record bears the reference that the client was told, and all that it was decided on: raw answers, facts, weights,
rules. The line of the log is made of it (``journal.line``), and where a journal is kept it goes there whole. The end of
a connection is told by a line alone. A message's content never stands here. What several records have in common, the
client above all, is made once and stands in each of them: nobody changes a record, nor a part of one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, TypeVar

from mailguard import metrics
from mailguard.clients import SEEN
from mailguard.facts import (
    Answer,
    Client,
    Codes,
    Helo,
    Known,
    Mailbox,
    Message,
    ReverseDns,
    SpamResult,
    TlsSession,
    Unknown,
)
from mailguard.journal.form import Record, begun, bounded
from mailguard.journal.line import Words, client_fields, words_of
from mailguard.journal.recorder import Recorder, became, reply_fields
from mailguard.log import logger
from mailguard.policy.engine import CompiledPolicy
from mailguard.replies import Reply
from mailguard.rfc3339 import milliseconds
from mailguard.session.judge import Judgement, Party
from mailguard.session.transaction import Transaction
from mailguard.smtp.story import ConnectionEnd
from mailguard.spool import Content
from mailguard.verdict import MAX_TEXT, RuleOutcome, Verdict

T = TypeVar("T")

NO_RULE: Final = "none"
"""The label of a verdict that no rule gave."""


class Who:
    """Whom a record is about: the client as far as it is known, what it called itself, its connection's TLS.

    What a record and a line say of it is made here, once: several of a connection are about the same. What they say of
    the client alone is kept for its next connection.

    Args:
        sender_resolves: what is known of the sender's domain.
        own_relay: it is one of ours, and its facts were given, not found.
        zones: each of the policy's lists: its name, its DNS zone.
        port: the client's of this connection.
        dnsbl_seconds: how long each of them took to answer, by name.

    Attributes:
        client: the client as far as it is known.
        sender_resolves: what is known of the sender's domain, as a record has it.
        fields: of it for a record.
        line: the same for the line of the log.
    """

    __slots__ = ("client", "fields", "line", "sender_resolves")

    def __init__(
        self,
        client: Client,
        helo: Helo,
        sender_resolves: Answer[bool],
        own_relay: bool,
        zones: tuple[tuple[str, str], ...],
        tls: TlsSession | None = None,
        port: int = 0,
        dnsbl_seconds: Mapping[str, float] = MappingProxyType({}),
    ) -> None:
        self.client = client
        self.sender_resolves = _answer(sender_resolves)
        told, words = _of_client(client, own_relay, zones)
        self.fields: Record = {
            "client": {
                **told,
                "port": port,
                "dnsbl_seconds": {name: milliseconds(seconds) for name, seconds in dnsbl_seconds.items()},
            },
            "helo": {"name": helo.name, "is_address": helo.is_address, "resolves": _answer(helo.resolves)},
            "tls": {"version": tls.version, "cipher": tls.cipher, "bits": tls.bits} if tls else None,
        }
        self.line = client_fields(self.fields, words)


@lru_cache(SEEN)
def _of_client(client: Client, own_relay: bool, zones: tuple[tuple[str, str], ...]) -> tuple[Record, Words]:
    """What a record says of a client alone, and in the words of a line."""
    told = {
        "ip": client.address.text,
        "port": 0,
        "own_relay": own_relay,
        "early_talker": _answer(client.early_talker),
        "reverse": _answer(client.reverse_dns, _name),
        "dnsbl": {name: _answer(answer, _codes) for name, answer in client.dnsbl.items()},
        "zones": {name: zone for name, zone in zones if name in client.dnsbl},
    }
    return told, words_of(told)


def _answer(answer: Answer[T], form: Callable[[T], Any] | None = None) -> Any:
    """What was answered, by ``form`` where JSON does not have it as it is."""
    if isinstance(answer, Known):
        return form(answer.value) if form else answer.value
    return {"unknown": answer.why[:MAX_TEXT], "cause": answer.cause}


def _name(reverse: ReverseDns) -> dict[str, object]:
    return {"name": reverse.name, "confirmed": reverse.confirmed}


@lru_cache(maxsize=1024)
def _codes(codes: Codes) -> tuple[str, ...]:
    """As text; lists have few codes, and combinations of them."""
    return tuple(sorted(map(str, codes)))


@lru_cache(maxsize=1024)
def _outcome(outcome: RuleOutcome) -> Mapping[str, object]:
    return {"rule": outcome.rule, "fired": outcome.fired}


def _decision(verdict: Verdict) -> Record:
    """What was decided, why, and what observe mode kept from being done."""
    facts, weights, rules = verdict.trace
    decision: Record = {
        "action": verdict.action,
        "rule": verdict.rule,
        "folder": verdict.folder,
        "tags": verdict.tags,
        "rules": list(map(_outcome, rules)),
        "facts": facts,
        "weights": dict(weights),
        "observed": _decision(verdict.observed) if verdict.observed else None,
    }
    if verdict.sampled:
        decision["sampled"] = True
    return decision


def _scans(judgement: Judgement) -> Record:
    found = judgement.message
    return {
        "virus": _answer(found.virus, lambda virus: {"name": bounded(virus.name), "kind": judgement.virus_kind}),
        "spam": _answer(found.spam, _spam),
        "message_size": found.size,
    }


def _spam(spam: SpamResult) -> Mapping[str, object]:
    return {
        "score": spam.score,
        "content_score": spam.content_score,
        "required": spam.required,
        "rules": {bounded(name): points for name, points in spam.rules.items()},
        "tainted": sorted(map(bounded, spam.tainted)),
        "truncated": spam.truncated,
    }


def _begun(event: str, transaction: Transaction, who: Who) -> Record:
    return {
        **begun(event, transaction.reference),
        **who.fields,
        "sender": str(transaction.mail.path.mailbox) or "<>",
        "sender_resolves": who.sender_resolves,
    }


def _message(transaction: Transaction, who: Who) -> Record:
    record = _begun("message", transaction, who)
    record["recipients"] = [str(each.recipient) for each in transaction.accepted]
    return record


def _note(
    recorder: Recorder, record: Record, who: Who, transaction: Transaction, answer: Reply, folder: str = ""
) -> None:
    """Tell of ``record`` with how it ended, which stands last in each."""
    onward = transaction.onward
    record["backend"] = onward.backend if onward else ""
    record["reply"] = reply_fields(answer)
    record["verdict"] = became(answer, folder)
    record["seconds"] = transaction.durations()
    recorder.note(record, who.line)


def _observed(verdict: Verdict) -> None:
    if verdict.observed is not None:
        metrics.OBSERVED.labels(verdict.observed.action, verdict.observed.rule or NO_RULE).inc()


def recipient_judged(verdict: Verdict) -> None:
    """Count a verdict on a recipient."""
    metrics.RECIPIENTS.labels(verdict.action, verdict.rule or NO_RULE).inc()
    if verdict.sampled:
        metrics.SAMPLED.labels(verdict.rule).inc()
    else:
        _observed(verdict)


def recipient_refused(
    recorder: Recorder,
    transaction: Transaction,
    recipient: Mailbox,
    answer: Reply,
    who: Who,
    decided: tuple[CompiledPolicy, Verdict] | None,
) -> None:
    """Tell of one recipient that was not taken, by us or by the backend; ``decided`` where policy was asked."""
    record = _begun("recipient", transaction, who)
    record["recipient"] = str(recipient)
    if decided:
        policy, verdict = decided
        record["policy"] = policy.digest
        record["envelope"] = _decision(verdict)
    _note(recorder, record, who, transaction, answer)


def message_refused(recorder: Recorder, transaction: Transaction, answer: Reply, who: Who) -> None:
    """Tell of a message that was refused before anybody judged it."""
    _note(recorder, _message(transaction, who), who, transaction, answer)


def _count(judgement: Judgement) -> None:
    """Each of the different verdicts on a message once, however many recipients share it."""
    for action, rule in {(party.verdict.action, party.verdict.rule) for party in judgement.parties}:
        metrics.MESSAGES.labels(action, rule or NO_RULE).inc()
    tried = {(kept.action, kept.rule) for party in judgement.parties if (kept := party.verdict.observed) is not None}
    for action, rule in tried:
        metrics.OBSERVED.labels(action, rule or NO_RULE).inc()


def _count_spared(judgement: Judgement) -> None:
    """Count a message that rules of the envelope refuse: what false positives are measured by (decision 0163)."""
    rules = {
        kept.rule
        for party in judgement.parties
        for each in party.recipients
        if (kept := each.verdict.observed) is not None and kept.action.blocks
    }
    if not rules:
        return
    content = word_on_content(judgement.message)
    for rule in rules:
        metrics.SPARED.labels(rule or NO_RULE, content).inc()
    for name, answer in judgement.parties[0].recipients[0].client.dnsbl.items():
        if isinstance(answer, Known) and answer.value:
            metrics.DNSBL_SPARED.labels(name, content).inc()


def word_on_content(found: Message) -> str:
    """``clean``, ``bad`` or ``unknown``: what scanners say, by SpamAssassin's own threshold and not by a policy's."""
    if isinstance(found.virus, Unknown) or isinstance(found.spam, Unknown):
        return "unknown"
    virus, spam = found.virus.value, found.spam.value
    return "bad" if virus.infected or spam.content_score >= spam.required else "clean"


def _judged(party: Party) -> Record:
    """What was decided for recipients who are treated alike, by the envelope of the first of them."""
    return {
        "profile": party.label,
        "envelope": _decision(party.recipients[0].verdict),
        "content": _decision(party.verdict),
    }


def _party(party: Party) -> Record:
    return {"recipients": [str(each.recipient) for each in party.recipients], **_judged(party)}


async def message_judged(
    recorder: Recorder,
    policy: CompiledPolicy,
    transaction: Transaction,
    judgement: Judgement,
    message_id: str,
    content: Content,
    answer: Reply,
    who: Who,
) -> None:
    """Count and tell of a message: of the first recipient and those treated like it, then of the others, if any.

    Where it may come twice, its digest tells which (RFC 1047, architecture.md).
    """
    _count(judgement)
    _count_spared(judgement)
    first, *others = judgement.parties
    doubtful = transaction.onward is not None and transaction.onward.doubtful
    record = _message(transaction, who)
    record["policy"] = policy.digest
    record |= _judged(first)
    record["others"] = [_party(party) for party in others]
    record |= _scans(judgement)
    record["size"] = content.size
    record["message_id"] = bounded(message_id)
    record["digest"] = await asyncio.to_thread(content.digest) if doubtful else ""
    _note(recorder, record, who, transaction, answer, judgement.folder or "")


def connection(policy: CompiledPolicy, reference: str, who: Who, end: ConnectionEnd, messages: int) -> None:
    """Log the end of a connection; count codes that no table knows: they weigh nothing, but somebody should look."""
    for name, _code in policy.unmatched(who.client):
        metrics.DNSBL_UNMATCHED.labels(name).inc()
    logger.tell(
        {
            "event": "connection",
            "ref": reference,
            **who.line,
            "end": end.how,
            "messages": messages,
            "commands": end.commands,
            "errors": end.errors,
            "seconds": milliseconds(end.seconds),
        },
    )
