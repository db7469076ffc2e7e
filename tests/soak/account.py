"""The account of a soak: what senders were told, against what lies in Exim's Maildirs and in the journal.

what the sender was told          copies at the backend
250 to the content                one
4yz or 5yz                        none; one may be where the log names the message with its digest (RFC 1047)
nothing, or the connection broke  one at the most
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mailguard.journal.folder import Folder
from mailguard.journal.form import Record
from mailguard.journal.reader import Query
from mailguard.journal.sweep import sweep
from mailguard.lab.exim import Exim
from tests.soak.failure import require
from tests.soak.link import OK
from tests.soak.traffic import Attempt

_ID = re.compile(rb"^Message-ID:\s*(<[^>\n]+>)", re.MULTILINE | re.IGNORECASE)
_SHOWN = 5
UNWRITTEN = 1.0
"""Seconds before a process was killed: what it answered then may have no record. docs/operations.md says 0.05 s;
the rest is for a machine whose cores all have other work."""


@dataclass(frozen=True, slots=True)
class Kill:
    """A process was killed.

    Attributes:
        sent: when the signal was sent.
        heard: when senders had read all that the process said before it died: a reply that waits in a socket while the
            signal is sent is timed after it.
    """

    sent: float
    heard: float

    def excuses(self, attempt: Attempt) -> bool:
        """Whether the record of that attempt may have died with the process."""
        return self.sent - UNWRITTEN <= attempt.at <= self.heard


class Maildirs:
    """What Exim has delivered. Files are removed once they are counted, so that a long run needs no disk."""

    def __init__(self, exim: Exim) -> None:
        self._exim = exim
        self.found: Counter[str] = Counter()

    async def settled(self, bound: float = 900.0) -> Counter[str]:
        """Have Exim deliver what it has taken; how often each Message-ID was delivered then.

        Raises:
            SoakFailed: its queue is not empty within ``bound`` seconds.
        """
        deadline = time.monotonic() + bound
        while queued := self._exim.queued:
            require(time.monotonic() < deadline, f"{queued} messages are still in Exim's queue after {bound:g} s")
            await asyncio.to_thread(self._exim.run_queue, max(deadline - time.monotonic(), 1))
        await asyncio.to_thread(self._collect)
        return self.found

    def _collect(self) -> None:
        for user in self._exim.users:
            for delivered in self._exim.mailbox(user):
                found = _ID.search(_head(delivered.path))
                require(found, f"{delivered.path} has no Message-ID")
                self.found[found[1].decode() if found else ""] += 1
                delivered.path.unlink()


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(4096)


@dataclass(frozen=True)
class Account:
    """How it came out, in messages.

    Attributes:
        taken: answered 250.
        deferred: answered 4yz or 5yz.
        unanswered: no reply, or no connection: while nobody listens senders try on and on.
        doubtful: of those the ones that are at the backend all the same: their senders send them again.
        unrecorded: answered 250 by a worker right before it was killed, and not in the journal.
    """

    taken: int
    deferred: int
    unanswered: int
    doubtful: int
    unrecorded: int

    def told(self) -> str:
        """For a report."""
        lost = f", {self.unrecorded} without a record" if self.unrecorded else ", each with its record"
        others = f"{self.deferred:,} answered 4yz, {self.unanswered:,} not at all ({self.doubtful} of them delivered)"
        return f"{self.taken:,} answered 250, each delivered once{lost}; {others}"


def account(attempts: Sequence[Attempt], found: Counter[str], told: Collection[str], unrecorded: int) -> Account:
    """Compare; ``told``: Message-IDs that the log names with a digest; ``unrecorded``: for the report.

    Raises:
        SoakFailed: a message was lost, came twice, or is there though its sender was told that it is not.
    """
    taken = {each.message_id for each in attempts if each.taken}
    silent = {each.message_id for each in attempts if each.fault}
    deferred = {each.message_id for each in attempts} - taken - silent
    _none(taken - found.keys(), "answered 250 and lost")
    _none({name for name in taken | silent if found[name] > 1}, "delivered more than once")
    _none((deferred & found.keys()) - set(told), "delivered, though the sender was told that it is not")
    return Account(len(taken), len(deferred), len(silent), len(silent & found.keys()), unrecorded)


def _none(messages: Collection[str], what: str) -> None:
    require(not messages, f"{len(messages)} messages {what}: {', '.join(sorted(messages)[:_SHOWN])}")


def recorded(folder: Path) -> Counter[str]:
    """How often each Message-ID stands in a record of a message that was answered 250."""
    found: Counter[str] = Counter()
    for swept in sweep(Folder(folder), Query(), _taken, processes=1):
        require(not swept.left_out, f"segments cannot be read: {swept.left_out}")
        found.update(swept.folded)
    return found


def _taken(records: Iterator[Record]) -> list[str]:
    messages = (record for record in records if record["event"] == "message")
    return [record["message_id"] for record in messages if record["reply"]["code"] == OK]


def account_records(attempts: Sequence[Attempt], records: Counter[str], kills: Sequence[Kill]) -> int:
    """Each message that was answered 250 has its one record, but for the last ones of killed processes; how many.

    Raises:
        SoakFailed: a record is missing, or there twice.
    """
    taken = {each.message_id: each for each in attempts if each.taken}
    _none({name for name, count in records.items() if count > 1}, "recorded more than once")
    missing = [each for name, each in taken.items() if name not in records]
    unexcused = {each.message_id for each in missing if not any(kill.excuses(each) for kill in kills)}
    _none(unexcused, "answered 250 and not in the journal, though nothing was killed")
    return len(missing)
