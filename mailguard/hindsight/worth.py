"""What each DNS list was good for, by the journal: how often it listed, alone or with others, and how it answered.

Answers are counted once for each connection (and segment of the journal), refusals for each recipient:

* asked: the list was asked; ``listed``: it listed the client; ``alone``: no other list that speaks against clients did.
* unknown: by kind, as the metric has them: ``timeout``, ``servfail``, ``refused``, ``blocked``, ``ill`` and others.
* needed: recipients that the policy refuses at the envelope (or would, where it only observes), and would not, had this
  list not listed the client: by the engine, for a list alone. Where one of two suffices, neither was needed.
* measured: messages of clients that it listed which came in although the rules would have refused them, by observe
  mode or by the sample. ``clean`` of those: ClamAV found nothing and SpamAssassin's content score was below its own
  threshold (``required``). Nothing else tells of false positives: what is refused is never seen.

Memory: numbers for each list and each pair of them, the references of one segment. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from mailguard.facts import NOT_LISTED, Answer, Codes, Known
from mailguard.hindsight.judging import decisions_of, refusal_spared
from mailguard.hindsight.recorded import Facts, facts_of
from mailguard.hindsight.visible import Seen
from mailguard.journal.form import Record
from mailguard.journal.index import connection_of
from mailguard.journal.line import is_unknown
from mailguard.policy.cases import tried
from mailguard.policy.engine import CompiledPolicy
from mailguard.verdict import Action

_NOT_ASKED: Final = "not asked"
_ILL: Final = "ill"
"""Set aside: it has no answer, and was not asked."""


@dataclass
class Worth:
    """What one list was good for; see the module's text. ``milliseconds``: how many answers took so long."""

    zone: str = ""
    asked: int = 0
    listed: int = 0
    alone: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    milliseconds: Counter[int] = field(default_factory=Counter)
    refusals: int = 0
    needed: int = 0
    measured: int = 0
    clean: int = 0

    def take(self, other: Worth) -> None:
        """Add what other records say of it."""
        self.zone = other.zone or self.zone
        for name in ("asked", "listed", "alone", "refusals", "needed", "measured", "clean"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.unknown.update(other.unknown)
        self.milliseconds.update(other.milliseconds)

    def seconds(self, share: float) -> float | None:
        """Within how many seconds ``share`` of its answers came; None where that was not written down."""
        wanted, seen = share * self.milliseconds.total(), 0
        for milliseconds in sorted(self.milliseconds):
            seen += self.milliseconds[milliseconds]
            if seen >= wanted:
                return milliseconds / 1000
        return None


class Needs:
    """Which lists a policy needed for its refusals.

    Attributes:
        white: lists that can only speak for a client.
    """

    def __init__(self, policy: CompiledPolicy) -> None:
        self._policy = tried(policy)
        tables = self._policy.force.scales.lists
        self._lists = tuple(table.zone for table in tables)
        self.white = frozenset(table.zone.name for table in tables if table.white)
        self._seen = Seen(self._policy, self._needed)

    def of(self, record: Record) -> frozenset[str] | None:
        """Without which of its lists the policy would not refuse ``record`` at the envelope; None: it does not.

        Raises:
            Unreadable: the record lacks what its version has.
        """
        return next((self._seen.of(facts) for facts in facts_of(record, self._lists)), None)

    def _needed(self, facts: Facts) -> frozenset[str] | None:
        if not self._refuses(facts):
            return None
        listed = (name for name, answer in facts.client.dnsbl.items() if isinstance(answer, Known) and answer.value)
        return frozenset(name for name in listed if not self._refuses(_without(facts, name)))

    def _refuses(self, facts: Facts) -> bool:
        return self._policy.envelope(facts.client, facts.envelope).action is Action.REJECT


def _without(facts: Facts, name: str) -> Facts:
    """The same, had the list ``name`` not listed the client."""
    answers: dict[str, Answer[Codes]] = {**facts.client.dnsbl, name: NOT_LISTED}
    return replace(facts, client=replace(facts.client, dnsbl=answers))


@dataclass
class Lists:
    """What records say of all lists.

    Attributes:
        worth: by the policy's name of the list.
        together: clients that both of two lists list, by their names in order.
        refusals: recipients that the policy refuses; None where no policy was asked.
        unreadable: records that are not of the form that they should have.
        torn: lines and blocks that were not whole.
    """

    worth: dict[str, Worth] = field(default_factory=dict)
    together: Counter[tuple[str, str]] = field(default_factory=Counter)
    refusals: int | None = None
    unreadable: int = 0
    torn: int = 0

    def of(self, name: str) -> Worth:
        """Of one list."""
        return self.worth.setdefault(name, Worth())

    def overlap(self, one: str, other: str) -> int:
        """Clients that both list."""
        return self.together[min(one, other), max(one, other)]

    def take(self, other: Lists) -> None:
        """Add what other records say."""
        for name, worth in other.worth.items():
            self.of(name).take(worth)
        self.together.update(other.together)
        self.unreadable += other.unreadable
        self.torn += other.torn
        if other.refusals is not None:
            self.refusals = (self.refusals or 0) + other.refusals


def weighed(records: Iterable[Record], needs: Needs | None) -> Lists:
    """What ``records`` of one segment say of the lists; ``needs``: by the policy whose refusals are looked at."""
    lists = Lists(refusals=None if needs is None else 0)
    connections: set[str] = set()
    for record in records:
        try:
            _weigh(lists, record, connections, needs)
        except (AttributeError, KeyError, TypeError, ValueError):  # Unreadable is a ValueError
            lists.unreadable += 1
    return lists


def _weigh(lists: Lists, record: Record, connections: set[str], needs: Needs | None) -> None:
    client = record.get("client") or {}
    answers = {name: answer for name, answer in client.get("dnsbl", {}).items() if not _was_not_asked(answer)}
    if not answers or client.get("own_relay"):
        return
    listing = [name for name, answer in answers.items() if answer and not is_unknown(answer)]
    connection = connection_of(record["ref"])
    if connection not in connections:
        connections.add(connection)
        _answered(lists, client, answers, listing, needs.white if needs else frozenset())
    if listing:
        _mail(lists, record, listing, needs)


def _was_not_asked(answer: Any) -> bool:
    return is_unknown(answer) and answer["unknown"] == _NOT_ASKED


def _answered(
    lists: Lists, client: Mapping[str, Any], answers: Mapping[str, Any], listing: list[str], white: frozenset[str]
) -> None:
    """Count what the lists said of one connection's client."""
    seconds = client.get("dnsbl_seconds")
    for name, answer in answers.items():
        worth = lists.of(name)
        worth.zone = client.get("zones", {}).get(name, worth.zone)
        kind = answer["unknown"].partition(":")[0].replace(" ", "_") if is_unknown(answer) else ""
        worth.asked += name in seconds if seconds is not None else kind != _ILL
        worth.listed += name in listing
        worth.alone += name in listing and not set(listing) - white - {name}
        if kind:
            worth.unknown[kind] += 1
        if seconds and name in seconds:
            worth.milliseconds[round(seconds[name] * 1000)] += 1
    for one in listing:
        lists.together.update((one, other) for other in listing if one < other)


def _mail(lists: Lists, record: Record, listing: list[str], needs: Needs | None) -> None:
    """Count what became of the mail of a client that is listed."""
    if needs is not None and "envelope" in record:
        needed = needs.of(record)
        lists.refusals = (lists.refusals or 0) + (needed is not None)
        for name in listing if needed is not None else ():
            lists.of(name).refusals += 1
            lists.of(name).needed += name in (needed or ())
    if record["event"] == "message" and any(map(_spared, decisions_of(record))):
        for name in listing:
            lists.of(name).measured += 1
            lists.of(name).clean += _is_clean(record)


def _spared(decisions: Any) -> bool:
    return len(decisions) > 1 and refusal_spared(decisions[0]) is not None


def _is_clean(record: Record) -> bool:
    """Whether its content was looked at, and nothing was found."""
    virus, spam = record["virus"], record["spam"]
    if is_unknown(virus) or is_unknown(spam):
        return False
    return not virus["name"] and spam["content_score"] < spam["required"]


def as_json(lists: Lists) -> dict[str, Any]:
    """All of it, for a program to read; seconds are None where they were not written down."""
    return {
        "refusals": lists.refusals,
        "unreadable": lists.unreadable,
        "torn": lists.torn,
        "lists": {name: dict(_worth(name, lists)) for name in sorted(lists.worth)},
    }


def _worth(name: str, lists: Lists) -> Iterator[tuple[str, Any]]:
    worth = lists.worth[name]
    yield from (("zone", worth.zone), ("asked", worth.asked), ("listed", worth.listed), ("alone", worth.alone))
    yield "unknown", dict(worth.unknown.most_common())
    yield "seconds", {"p50": worth.seconds(0.5), "p95": worth.seconds(0.95)}
    if lists.refusals is not None:
        yield "refusals", worth.refusals
        yield "needed", worth.needed
    yield "false_positives", {"measured": worth.measured, "clean": worth.clean} if worth.measured else None
    yield "together", {other: lists.overlap(name, other) for other in sorted(lists.worth) if other != name}
