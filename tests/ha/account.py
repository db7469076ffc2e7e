"""One scenario with mail through it, and the account of it: every message counted where it was sent and where it lies.

accepted: answered 250. lost: accepted, and not at the backend. duplicated: there more than once; that may be where a
sender had no answer and sent again (RFC 1047), and is no loss. Seconds.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from mailguard.lab.process import LabError
from tests.ha.cluster import Cluster
from tests.ha.sender import Outside

AROUND: Final = 2.0
"""Mail goes on so long before a scenario and after it."""


@dataclass(frozen=True)
class Account:
    """What became of the messages of one scenario.

    Attributes:
        outage: how long no connection was greeted.
        fenced: nodes that the cluster switched off.
        again: attempts beyond the first of each message.
        faults: what senders met instead of 250, and how often.
    """

    name: str
    outage: float
    fenced: tuple[str, ...]
    sent: int
    accepted: int
    arrived: int
    lost: int
    duplicated: int
    again: int
    faults: Counter[str]


async def played(cluster: Cluster, name: str, scenario: Callable[[Cluster], None]) -> Account:
    """Play a scenario while mail goes through the cluster.

    Raises:
        LabError: the cluster does not do what it must.
        TimeoutError: a message was never accepted.
    """
    fenced = len(cluster.switch.fenced)
    async with Outside() as outside:
        await asyncio.sleep(AROUND)
        await asyncio.to_thread(scenario, cluster)
        await asyncio.sleep(AROUND)
    found = await cluster.maildirs.settled()
    sent = outside.sent
    return Account(
        name=name,
        outage=outside.sight.outage,
        fenced=tuple(node for _, node in cluster.switch.fenced[fenced:]),
        sent=len(sent.messages),
        accepted=len(sent.taken),
        arrived=sum(bool(found[number]) for number in sent.messages),
        lost=sum(not found[number] for number in sent.taken),
        duplicated=sum(found[number] > 1 for number in sent.messages),
        again=sent.attempts - len(sent.messages),
        faults=sent.faults,
    )


def require_nothing_lost(account: Account) -> None:
    """Check what must hold in every scenario.

    Raises:
        LabError: mail was lost or never accepted, or came twice though every sender had an answer.
    """
    unanswered = sum(count for fault, count in account.faults.items() if not fault.isdigit())
    wrong = {
        "answered 250 and lost": account.lost,
        "never accepted": account.sent - account.accepted,
        "there twice, though every attempt was answered": max(0, account.duplicated - unanswered),
    }
    if any(wrong.values()):
        raise LabError(f"{account.name}: " + ", ".join(f"{count} messages {what}" for what, count in wrong.items()))
