"""From a spooled message to the verdicts on it: surgery for the scanners, both of them at once, then the content rules.

The scanners see the message under our Return-Path and Received and without forged headers, so that SpamAssassin's last
external relay is the connecting client (smtp.md, "Headers"). A scanner that is not configured, or does not answer
within ``scan_deadline``, is unknown; what unknown means is the policy's word. The content rules are tried once for
all recipients who are treated alike.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from mailguard.facts import Known, Message
from mailguard.message import filing
from mailguard.net.together import both
from mailguard.policy.engine import CompiledPolicy
from mailguard.replies import Reply
from mailguard.session.services import Services
from mailguard.session.transaction import Accepted, Transaction
from mailguard.spool import Content
from mailguard.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Party:
    """Recipients of one message who are treated alike, and the verdict on it for all of them."""

    recipients: tuple[Accepted, ...]
    verdict: Verdict

    @property
    def label(self) -> str:
        """What the header calls them."""
        return self.recipients[0].treatment.label


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdicts on a message, and the scanners' answers that they rest on; ``virus_kind`` as the policy names it."""

    parties: tuple[Party, ...]
    message: Message
    virus_kind: str = ""

    @property
    def refusal(self) -> Reply | None:
        """What is replied to all where the message is blocked."""
        return self.parties[0].verdict.reply

    @property
    def tags(self) -> tuple[str, ...]:
        """What rules gave to all."""
        return self.parties[0].verdict.tags

    @property
    def folder(self) -> str | None:
        """Where it is filed: the value of our field."""
        return filing({party.label: party.verdict.folder for party in self.parties})


async def judge(services: Services, scanned: Content, size: int, transaction: Transaction) -> Judgement:
    """The content rules' verdicts for the recipients of ``transaction``.

    Args:
        scanned: the message as the scanners shall see it.
        size: octets of the message as it came, but for its Received fields: a fact that may refuse counts none.

    Raises:
        RuntimeError: some are blocked and some are not, of whom the policy said that this cannot be.
    """
    first = transaction.accepted[0]
    deadline = asyncio.get_running_loop().time() + services.settings.limits.scan_deadline
    virus, spam = await both(
        services.clamav.scan(scanned, deadline), services.spamassassin.score(scanned, deadline, first.client.address)
    )
    message = Message(size, virus, spam)
    parties = tuple(_party(services.policy, recipients, message) for recipients in transaction.parties.values())
    if len({party.verdict.reply is None for party in parties}) > 1:
        raise RuntimeError("recipients of one transaction of whom only some are blocked")
    return Judgement(parties, message, services.policy.virus_kind(virus.value) if isinstance(virus, Known) else "")


def _party(policy: CompiledPolicy, recipients: list[Accepted], message: Message) -> Party:
    first = recipients[0]
    return Party(tuple(recipients), policy.content(first.client, first.envelope, message, first.verdict))
