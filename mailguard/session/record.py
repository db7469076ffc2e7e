"""What is written down of a session: a log line for each connection, message and refused recipient; and the counters.

Every line bears the reference that the client was told, and what decided. A message's content never stands here.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mailguard import metrics
from mailguard.facts import Answer, Client, Codes, Known, Mailbox, SpamResult, TlsSession, Unknown
from mailguard.log import logger
from mailguard.policy.engine import CompiledPolicy
from mailguard.replies import Reply
from mailguard.session.judge import Judgement
from mailguard.session.transaction import Transaction
from mailguard.smtp.story import ConnectionEnd
from mailguard.spool import Content
from mailguard.verdict import Trace, Verdict

NO_RULE: Final = "none"
"""The label of a verdict that no rule gave."""

MAX_SPAM_RULES: Final = 40
"""SpamAssassin rules in one line, the weightiest; a message may hit hundreds."""

MAX_VALUE: Final = 200
"""Characters of one fact's value or one rule's name."""


@dataclass(frozen=True, slots=True)
class Who:
    """Whom a log line is about: the client as far as it is known, what it called itself, its connection's TLS."""

    client: Client
    helo: str
    tls: TlsSession | None = None

    def fields(self) -> dict[str, object]:
        """For the log."""
        name = self.client.reverse_dns
        return {
            "client": str(self.client.address),
            "reverse": name.value.name if isinstance(name, Known) and name.value.confirmed else "",
            "helo": self.helo,
            "tls": f"{self.tls.version}/{self.tls.cipher}" if self.tls else "",
            "dnsbl": _lists(self.client.dnsbl),
        }


def _lists(answers: Mapping[str, Answer[Codes]]) -> list[str]:
    """What is worth a word: ``zen=127.0.0.4`` where listed, ``zen=unknown(timeout)`` where unknown."""
    words = []
    for name, answer in answers.items():
        if isinstance(answer, Unknown):
            words.append(f"{name}=unknown({answer.why})")
        elif answer.value:
            words.append(f"{name}={'+'.join(sorted(map(str, answer.value)))}")
    return words


def _reply(answer: Reply) -> dict[str, object]:
    refused_by = "" if answer.positive else answer.origin.value
    return {"reply": str(answer), "refused_by": refused_by, "cause": answer.cause}


def _decision(verdict: Verdict, envelope: Verdict | None = None) -> dict[str, object]:
    """What was decided and why; ``envelope``: the verdict before, where this is the content's."""
    observed = _kept_from(verdict, envelope)
    return {
        "action": verdict.action.value,
        "rule": verdict.rule,
        "folder": verdict.folder,
        "weights": [f"{weight.name}={weight.weight:g}" for weight in (observed or verdict).trace.weights],
        "facts": _facts(*((envelope, verdict) if envelope else (verdict,))),
        "observed": f"{observed.action} {observed.rule}" if observed else "",
    }


def _kept_from(verdict: Verdict, envelope: Verdict | None) -> Verdict | None:
    """What observe mode kept from being done: what would have ended it at the envelope, else what is last."""
    first = envelope.observed if envelope else None
    return first if first and first.action.blocks else verdict.observed


def _trace(verdict: Verdict) -> Trace:
    """Where something is observed, the trace of that: it holds all that counts, in force or not."""
    return (verdict.observed or verdict).trace


def _facts(*verdicts: Verdict) -> list[str]:
    """``name=value`` of each fact that a rule looked at; a value that holds commas or quotes stands in quotes."""
    values = {fact.name: fact.value[:MAX_VALUE] for verdict in verdicts for fact in _trace(verdict).facts}
    return [f"{name}={_one_word(value)}" for name, value in values.items()]


def _one_word(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if "," in value or '"' in value else value


def _scans(judgement: Judgement) -> dict[str, object]:
    virus, spam = judgement.message.virus, judgement.message.spam
    found: dict[str, object] = {
        "virus": f"unknown({virus.why})" if isinstance(virus, Unknown) else virus.value.name or "clean",
        "virus_kind": judgement.virus_kind,
    }
    return found | (_spam(spam.value) if isinstance(spam, Known) else {"spam": f"unknown({spam.why})"})


def _spam(spam: SpamResult) -> dict[str, object]:
    return {
        "spam": spam.score,
        "spam_content": spam.content_score,
        "spam_received": spam.received_score,
        "spam_rules": _spam_rules(spam),
    }


def _spam_rules(spam: SpamResult) -> list[str]:
    """``BAYES_99=3.5``, and ``RCVD_IN_X=1.2/received`` where the rule may look at Received; the weightiest first."""
    hits = sorted(spam.rules.items(), key=lambda hit: (-abs(hit[1]), hit[0]))[:MAX_SPAM_RULES]
    return [f"{name[:MAX_VALUE]}={points:g}{'/received' * (name in spam.tainted)}" for name, points in hits]


def _sender(transaction: Transaction) -> str:
    return str(transaction.mail.path.mailbox) or "<>"


def _envelope(transaction: Transaction) -> dict[str, object]:
    return {"sender": _sender(transaction), "recipients": [str(each.recipient) for each in transaction.accepted]}


def _observed(verdict: Verdict) -> None:
    if verdict.observed is not None:
        metrics.OBSERVED.labels(verdict.observed.action.value, verdict.observed.rule or NO_RULE).inc()


def recipient_judged(verdict: Verdict) -> None:
    """Count a verdict on a recipient."""
    metrics.RECIPIENTS.labels(verdict.action.value, verdict.rule or NO_RULE).inc()
    _observed(verdict)


def recipient_refused(
    transaction: Transaction, recipient: Mailbox, answer: Reply, who: Who, verdict: Verdict | None
) -> None:
    """Log one recipient that was not taken, by us or by the backend; ``verdict`` where policy was asked."""
    logger.info(
        "recipient",
        ref=transaction.reference,
        **who.fields(),
        sender=_sender(transaction),
        recipient=str(recipient),
        **(_decision(verdict) if verdict else {}),
        **_reply(answer),
    )


def message_refused(transaction: Transaction, answer: Reply, who: Who) -> None:
    """Log a message that was refused before anybody judged it."""
    logger.info("message", ref=transaction.reference, **who.fields(), **_envelope(transaction), **_reply(answer))


async def message_judged(
    transaction: Transaction, judgement: Judgement, message_id: str, content: Content, answer: Reply, who: Who
) -> None:
    """Count and log a message. Where it may be delivered twice, its digest tells which (RFC 1047, architecture.md)."""
    verdict = judgement.verdict
    metrics.MESSAGES.labels(verdict.action.value, verdict.rule or NO_RULE).inc()
    _observed(verdict)
    doubtful = transaction.onward is not None and transaction.onward.doubtful
    logger.info(
        "message",
        ref=transaction.reference,
        **who.fields(),
        **_envelope(transaction),
        **_decision(verdict, transaction.accepted[0].verdict),
        **_scans(judgement),
        size=content.size,
        backend=transaction.onward.backend if transaction.onward else "",
        message_id=message_id,
        digest=await asyncio.to_thread(content.digest) if doubtful else "",
        **_reply(answer),
    )


def connection(policy: CompiledPolicy, reference: str, who: Who, end: ConnectionEnd, messages: int) -> None:
    """Log the end of a connection; count codes that no table knows: they weigh nothing, but somebody should look."""
    for name, _code in policy.unmatched(who.client):
        metrics.DNSBL_UNMATCHED.labels(name).inc()
    logger.info(
        "connection",
        ref=reference,
        **who.fields(),
        end=end.how.value,
        messages=messages,
        commands=end.commands,
        errors=end.errors,
        seconds=round(end.seconds, 3),
    )
