"""What is written down of a session: one log line a connection, a message, and a refused recipient; and the counters.

Every line bears the reference that the client was told. A message's content never stands here (operations.md, "Files").
"""

from __future__ import annotations

from collections.abc import Mapping

from mailguard import metrics
from mailguard.facts import Answer, Client, Codes, Envelope, Known, Mailbox, Message, Unknown
from mailguard.log import logger
from mailguard.policy.compiler import CompiledPolicy
from mailguard.replies import Reply
from mailguard.verdict import Verdict

NO_RULE = "none"
"""The label of a verdict that no rule gave."""


def _lists(answers: Mapping[str, Answer[Codes]]) -> list[str]:
    """What is worth a word: ``zen=127.0.0.4`` where listed, ``zen=unknown(timeout)`` where unknown."""
    words = []
    for name, answer in answers.items():
        if isinstance(answer, Unknown):
            words.append(f"{name}=unknown({answer.why})")
        elif answer.value:
            words.append(f"{name}={','.join(sorted(map(str, answer.value)))}")
    return words


def about_client(client: Client, envelope: Envelope | None) -> dict[str, object]:
    """The log fields of a client and its envelope."""
    name = client.reverse_dns
    fields: dict[str, object] = {
        "client": client.address,
        "reverse": name.value.name if isinstance(name, Known) and name.value.confirmed else "",
        "dnsbl": _lists(client.dnsbl),
    }
    if envelope is not None:
        fields |= {"helo": envelope.helo.name, "sender": str(envelope.sender)}
    return fields


def about_verdict(verdict: Verdict) -> dict[str, object]:
    """The log fields of a decision."""
    observed = verdict.observed
    return {
        "action": verdict.action.value,
        "rule": verdict.rule,
        "folder": verdict.folder,
        "weights": [f"{weight.name}={weight.weight:g}" for weight in verdict.trace.weights],
        "observed": f"{observed.action} {observed.rule}" if observed else "",
    }


def about_scans(message: Message) -> dict[str, object]:
    """The log fields of the scanners' answers."""
    virus, spam = message.virus, message.spam
    if isinstance(spam, Unknown):
        scores: dict[str, object] = {"spam": f"unknown({spam.why})"}
    else:
        scores = {"spam": spam.value.score, "spam_content": spam.value.content_score}
    found = f"unknown({virus.why})" if isinstance(virus, Unknown) else virus.value.name or "clean"
    return {"virus": found, **scores}


def count_verdict(verdict: Verdict, message: bool) -> None:
    """Count one decision on a recipient or on a message."""
    counter = metrics.MESSAGES if message else metrics.RECIPIENTS
    counter.labels(verdict.action.value, verdict.rule or NO_RULE).inc()
    if verdict.observed is not None:
        metrics.OBSERVED.labels(verdict.observed.action.value, verdict.observed.rule or NO_RULE).inc()


def count_unmatched(policy: CompiledPolicy, client: Client) -> None:
    """Count the codes that no table of the policy knows: they weigh nothing, but somebody should look."""
    for name, _code in policy.unmatched(client):
        metrics.DNSBL_UNMATCHED.labels(name).inc()


def refused_recipient(reference: str, recipient: Mailbox, reply: Reply, **fields: object) -> None:
    """Log one recipient that was not taken, by us or by the backend."""
    logger.info("recipient", ref=reference, recipient=str(recipient), reply=str(reply), cause=reply.cause, **fields)
