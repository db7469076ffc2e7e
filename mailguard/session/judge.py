"""From a spooled message to a verdict on it: surgery for the scanners, both of them at once, then the content rules.

The scanners see the message under our Return-Path and Received and without forged headers, so that SpamAssassin's last
external relay is the connecting client (smtp.md, "Headers"). A scanner that is not configured, or does not answer
within ``scan_deadline``, is unknown; what unknown means is the policy's word.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from mailguard.facts import Known, Message
from mailguard.net.together import both
from mailguard.session.services import Services
from mailguard.session.transaction import Accepted
from mailguard.spool import Content
from mailguard.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on a message, and the scanners' answers that it rests on; ``virus_kind`` as the policy names it."""

    verdict: Verdict
    message: Message
    virus_kind: str = ""


async def judge(services: Services, scanned: Content, size: int, first: Accepted) -> Judgement:
    """The content rules' verdict for ``first``, which holds for all recipients of its transaction.

    Args:
        scanned: the message as the scanners shall see it.
        size: octets of the message as it came, but for its Received fields: a fact that may refuse counts none.
    """
    deadline = asyncio.get_running_loop().time() + services.settings.limits.scan_deadline
    virus, spam = await both(
        services.clamav.scan(scanned, deadline), services.spamassassin.score(scanned, deadline, first.client.address)
    )
    message = Message(size, virus, spam)
    verdict = services.policy.content(first.client, first.envelope, message, first.verdict)
    return Judgement(verdict, message, services.policy.virus_kind(virus.value) if isinstance(virus, Known) else "")
