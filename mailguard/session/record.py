"""What is written down of a session: a log line for each connection, message and refused recipient; and the counters.

Every line bears the reference that the client was told. A message's content never stands here (operations.md, "Files").
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from mailguard import metrics
from mailguard.facts import Answer, Client, Codes, Known, Mailbox, Message, Unknown
from mailguard.log import logger
from mailguard.policy.engine import CompiledPolicy
from mailguard.replies import Reply
from mailguard.session.judge import Judgement
from mailguard.session.transaction import Transaction
from mailguard.smtp.story import ConnectionEnd
from mailguard.spool import Content
from mailguard.verdict import Verdict

NO_RULE = "none"
"""The label of a verdict that no rule gave."""


@dataclass(frozen=True, slots=True)
class Who:
    """Whom a log line is about: the client as far as it is known, and what it called itself."""

    client: Client
    helo: str

    def fields(self) -> dict[str, object]:
        """For the log."""
        name = self.client.reverse_dns
        return {
            "client": str(self.client.address),
            "reverse": name.value.name if isinstance(name, Known) and name.value.confirmed else "",
            "helo": self.helo,
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
    return {"reply": str(answer), "cause": answer.cause}


def _decision(verdict: Verdict) -> dict[str, object]:
    observed = verdict.observed
    return {
        "action": verdict.action.value,
        "rule": verdict.rule,
        "folder": verdict.folder,
        "weights": [f"{weight.name}={weight.weight:g}" for weight in verdict.trace.weights],
        "observed": f"{observed.action} {observed.rule}" if observed else "",
    }


def _scans(message: Message) -> dict[str, object]:
    virus, spam = message.virus, message.spam
    found = f"unknown({virus.why})" if isinstance(virus, Unknown) else virus.value.name or "clean"
    if isinstance(spam, Unknown):
        return {"virus": found, "spam": f"unknown({spam.why})"}
    return {"virus": found, "spam": spam.value.score, "spam_content": spam.value.content_score}


def _envelope(transaction: Transaction) -> dict[str, object]:
    recipients = [str(each.recipient) for each in transaction.accepted]
    return {"sender": str(transaction.mail.path.mailbox), "recipients": recipients}


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
        sender=str(transaction.mail.path.mailbox),
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
        **_decision(verdict),
        **_scans(judgement.message),
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
