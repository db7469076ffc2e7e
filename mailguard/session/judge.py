"""From a spooled message to a verdict on it: surgery for the scanners, both of them at once, then the content rules.

The scanners see the message under our Return-Path and Received and without forged headers, so that SpamAssassin's last
external relay is the connecting client (smtp.md, "Headers"). A scanner that is not configured, or does not answer
within ``scan_deadline``, is unknown; what unknown means is the policy's word.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from mailguard.facts import NOT_ASKED, Answer, Message, SpamResult, VirusResult
from mailguard.session.services import Services
from mailguard.session.transaction import Accepted
from mailguard.spool import Content
from mailguard.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict on a message, and the scanners' answers that it rests on."""

    verdict: Verdict
    message: Message


async def judge(services: Services, scanned: Content, size: int, first: Accepted) -> Judgement:
    """The content rules' verdict for ``first``, which holds for all recipients of its transaction.

    Args:
        scanned: the message as the scanners shall see it.
        size: octets of the message as received.
    """
    deadline = asyncio.get_running_loop().time() + services.settings.limits.scan_deadline
    async with asyncio.TaskGroup() as scans:
        virus = scans.create_task(_scan(services, scanned, deadline))
        spam = scans.create_task(_score(services, scanned, deadline, first))
    message = Message(size, virus.result(), spam.result())
    return Judgement(services.policy.content(first.client, first.envelope, message, first.verdict), message)


async def _scan(services: Services, scanned: Content, deadline: float) -> Answer[VirusResult]:
    if services.clamav is None:
        return NOT_ASKED
    return await services.clamav.scan(scanned, deadline)


async def _score(services: Services, scanned: Content, deadline: float, first: Accepted) -> Answer[SpamResult]:
    if services.spamassassin is None:
        return NOT_ASKED
    return await services.spamassassin.score(scanned, deadline, first.client.address)
