"""A replay: how many records would come out otherwise under a policy, and the newest of them.

A :class:`Replay` is what came of some records; of several segments they are added up. Memory: a counter for each pair
of rules, and at the most ``limit`` changes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from heapq import heappush, heappushpop
from typing import Any, Final

from mailguard.hindsight.judging import Compared, Judge, Judged, Outcome
from mailguard.journal.form import Record

_WORDS: Final = {"reject": "refused", "defer": "deferred", "accept": "delivered", "file": "filed"}


@dataclass(frozen=True, slots=True, order=True)
class Change:
    """One record whose mail would fare otherwise; in order of time."""

    time: str
    ref: str
    client: str
    sender: str
    recipient: str
    before: Outcome = field(compare=False)
    now: Outcome = field(compare=False)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of change: what was done by which rule, and what would be by which."""

    before: str
    now: str
    rule_before: str
    rule_now: str


def told(outcome: Outcome) -> str:
    """``outcome`` in a word or two."""
    word = f"{_WORDS[outcome.action]} in {outcome.folder}" if outcome.action == "file" else _WORDS[outcome.action]
    if outcome.whole:
        return word
    return "taken, content unknown" if outcome.action == "accept" else f"{word}, content unknown"


@dataclass
class Replay:
    """What came of judging records again.

    Attributes:
        limit: changes that are kept, the newest.
        outcomes: records by how they came out.
        kinds: changed records by kind.
        lacking: records that could not be judged, by what was not written down.
        newest: the newest changes; :meth:`changes` has them in order.
        torn: lines and blocks that were not whole.
    """

    limit: int
    outcomes: Counter[Judged] = field(default_factory=Counter)
    kinds: Counter[Kind] = field(default_factory=Counter)
    lacking: Counter[str] = field(default_factory=Counter)
    newest: list[Change] = field(default_factory=list)
    torn: int = 0

    @property
    def judged(self) -> int:
        """Records whose outcome is known."""
        return self.outcomes[Judged.SAME] + self.outcomes[Judged.OTHER_RULE] + self.outcomes[Judged.CHANGED]

    @property
    def changed(self) -> int:
        """Records whose mail would fare otherwise."""
        return self.outcomes[Judged.CHANGED]

    @property
    def changes(self) -> list[Change]:
        """The newest of those, the oldest first."""
        return sorted(self.newest)

    def add(self, record: Record, compared: Compared) -> None:
        """Count one record."""
        self.outcomes[compared.judged] += 1
        self.lacking.update(compared.lacking)
        if compared.before is not None and compared.now is not None:
            self._changed(record, compared, compared.before, compared.now)

    def _changed(self, record: Record, compared: Compared, before: Outcome, now: Outcome) -> None:
        self.kinds[Kind(told(before), told(now), before.rule, now.rule)] += 1
        self._keep(
            Change(
                record["time"],
                record["ref"],
                record["client"]["ip"],
                record["sender"],
                compared.recipient,
                before,
                now,
            )
        )

    def _keep(self, change: Change) -> None:
        if len(self.newest) < self.limit:
            heappush(self.newest, change)
        elif self.limit and self.newest[0] < change:
            heappushpop(self.newest, change)

    def take(self, other: Replay) -> None:
        """Add what came of other records."""
        self.outcomes.update(other.outcomes)
        self.kinds.update(other.kinds)
        self.lacking.update(other.lacking)
        self.torn += other.torn
        for change in other.newest:
            self._keep(change)


def replayed(records: Iterable[Record], judge: Judge, limit: int) -> Replay:
    """What comes of ``records``."""
    replay = Replay(limit)
    for record in records:
        if (compared := judge.compare(record)) is not None:
            replay.add(record, compared)
    return replay


def as_json(replay: Replay) -> dict[str, Any]:
    """All of it, for a program to read."""
    return {
        "judged": replay.judged,
        "changed": replay.changed,
        "same": replay.outcomes[Judged.SAME],
        "same_by_another_rule": replay.outcomes[Judged.OTHER_RULE],
        "not_judged": replay.outcomes[Judged.UNKNOWN],
        "lacking": dict(replay.lacking.most_common()),
        "decided_elsewhere": replay.outcomes[Judged.ELSEWHERE],
        "unreadable": replay.outcomes[Judged.UNREADABLE],
        "torn": replay.torn,
        "kinds": [
            {
                "before": kind.before,
                "now": kind.now,
                "rule_before": kind.rule_before,
                "rule_now": kind.rule_now,
                "count": count,
            }
            for kind, count in replay.kinds.most_common()
        ],
        "changes": [_change(change) for change in replay.changes],
    }


def _change(change: Change) -> dict[str, Any]:
    return {
        "time": change.time,
        "ref": change.ref,
        "client": change.client,
        "sender": change.sender,
        "recipient": change.recipient,
        "before": _outcome(change.before),
        "now": _outcome(change.now),
    }


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {
        "action": outcome.action,
        "folder": outcome.folder,
        "rule": outcome.rule,
        "content_known": outcome.whole,
    }
