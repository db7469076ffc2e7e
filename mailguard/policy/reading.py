"""The facts of one decision, read from what is known of client, envelope and message.

One function a fact, in one table (:data:`READERS`, the same names as ``facts.FACTS``). A fact whose answer is missing
is None; a sum over lists, some of which did not answer, is a range. A fact is read once a decision, when it is first
asked for. What the same answers of the lists come to is kept for the next.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import lru_cache, partial
from typing import Final, TypeVar

from mailguard.facts import (
    FACTS,
    NOT_ASKED,
    Answer,
    Cause,
    Client,
    Codes,
    Envelope,
    Known,
    Message,
    ReverseDns,
    Source,
    SpamResult,
    Unknown,
    VirusResult,
)
from mailguard.policy.answers import ListTable, Reckoned, reckon
from mailguard.policy.expression import TAGS
from mailguard.policy.repute import Repute
from mailguard.policy.truth import Members, Range, Value
from mailguard.verdict import MAX_TEXT, Evidence, Weight

T = TypeVar("T")
_UNOFFICIAL: Final = ".UNOFFICIAL"
_RECKONED: Final = 1024
"""Combinations of answers that are kept with what they come to: most clients share a few."""


@dataclass(frozen=True, slots=True)
class Scales:
    """How a policy weighs: its lists, its weights of boolean facts, and signature names that it takes as official."""

    lists: tuple[ListTable, ...] = ()
    weights: Mapping[str, float] = field(default_factory=dict)
    official: tuple[str, ...] = ()
    _names: tuple[str, ...] = field(init=False, repr=False, compare=False)
    _unasked: tuple[Answer[Codes], ...] = field(init=False, repr=False, compare=False)
    _reckon: Callable[[tuple[Answer[Codes], ...]], Reckoned] = field(init=False, repr=False, compare=False)
    """The same of answers in the order of the lists."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "_names", tuple([table.zone.name for table in self.lists]))
        object.__setattr__(self, "_unasked", (NOT_ASKED,) * len(self.lists))
        object.__setattr__(self, "_reckon", lru_cache(_RECKONED)(partial(reckon, self.lists)))

    def reckoned(self, answers: Mapping[str, Answer[Codes]]) -> Reckoned:
        """What ``answers`` of the lists come to; one that is not there was not asked."""
        return self._reckon(tuple(map(answers.get, self._names, self._unasked)))


def virus_kind(name: str, official: tuple[str, ...] = ()) -> str:
    """The kind of a signature by its name; empty where there is none.

    ``heuristic`` and ``unofficial`` are guesses and third-party signatures, which may look at headers: they count as
    received evidence. ``official`` are patterns of names, compared without ``.UNOFFICIAL``, that the policy vouches
    for.
    """
    if not name:
        return ""
    bare = name.removesuffix(_UNOFFICIAL)
    if bare.startswith("Heuristics."):
        return "heuristic"
    if bare != name and not any(fnmatchcase(bare, pattern) for pattern in official):
        return "unofficial"
    return "pua" if bare.startswith("PUA.") else "malware"


class Reading(dict[str, Value | None]):
    """The facts of one decision, of one recipient at one stage, by name; with ``tags``, and as far as they were read.

    Args:
        scales: how the policy weighs.
        client, envelope: as known so far.
        message: None before its content has come.
        tags: given so far.
        repute: the client's under the rules that decide, if any.

    Attributes:
        reckoned: what the lists' answers come to.
        tags: given so far; :meth:`give` changes them.
    """

    __slots__ = ("client", "envelope", "message", "reckoned", "repute", "scales", "tags")

    def __init__(
        self,
        scales: Scales,
        client: Client,
        envelope: Envelope,
        message: Message | None,
        tags: Members,
        repute: Repute | None = None,
    ) -> None:
        self.scales = scales
        self.client = client
        self.envelope = envelope
        self.message = message
        self.repute = Repute(scales.reckoned(client.dnsbl)) if repute is None else repute
        self.reckoned = self.repute.reckoned
        self.give(tags)
        if envelope.hidden:
            self.update(dict.fromkeys(envelope.hidden))

    def __missing__(self, name: str) -> Value | None:
        value = self[name] = READERS[name](self)
        return value

    def give(self, tags: Members) -> None:
        """From now on, these are ``tags``."""
        self.tags = self[TAGS] = tags

    def with_tags(self, tags: Members) -> Reading:
        """The same facts with other ``tags``."""
        return Reading(self.scales, self.client, self.envelope, self.message, tags, self.repute)

    def value(self, name: str) -> Value | None:
        """The value of a fact or of ``tags``, None where there was no answer."""
        return self[name]

    def shown(self, name: str) -> str:
        """The value of a fact for a reply."""
        value = self[name]
        if value is None:
            return self.help() if name == "dnsbl.help" else "unknown"
        return self._written(value)

    def told(self, names: Iterable[str]) -> dict[str, str | None]:
        """Facts as the trace keeps them."""
        told: dict[str, str | None] = {}
        for name in names:
            value = self[name]
            told[name] = None if value is None else self._written(value)[:MAX_TEXT]
        return told

    def evidence(self, name: str) -> Evidence:
        """A fact as an explanation shows it."""
        return Evidence(name, self.shown(name), FACTS[name].provenance, self[name] is None)

    def _written(self, value: Value) -> str:
        if isinstance(value, str):
            return value
        if isinstance(value, bool):
            return "true" if value else "false"
        return self.client.address.text if value is self.client.address.ip else str(value)

    def help(self) -> str:
        """Where a blocked sender can ask: the help of the heaviest list that is known to list the client."""
        template = self.reckoned.help
        return "" if template is None else template.render(self.shown)

    def weights(self) -> tuple[Weight, ...]:
        """Every weight that counted, the lists' first."""
        found, of_facts = self.reckoned.tally.weights, self.scales.weights
        if not of_facts:
            return found
        return found + tuple([Weight(name, weight) for name, weight in of_facts.items() if self[name] is True])

    def score(self) -> Range:
        """``client.score``: an unknown boolean may weigh all or nothing."""
        total = self.reckoned.tally.score
        for name, weight in self.scales.weights.items():
            value = self[name]
            if value is None:
                total += Range(min(0.0, weight), max(0.0, weight), 0.0)
            elif value is True:
                total += Range.exactly(weight)
        return total

    def unknown(self, source: Source) -> Unknown | None:
        """Why ``source`` gave no answer, or not all; None where it did."""
        if source is Source.DNSBL:
            return self.reckoned.unknown
        answer = _ANSWERS[source](self)
        return answer if isinstance(answer, Unknown) else None

    @property
    def unscannable(self) -> bool:
        """Whether a scanner that is up could not judge this message."""
        return any(isinstance(a, Unknown) and a.cause is Cause.UNSCANNABLE for a in (self.virus, self.spam))

    @property
    def sender_resolves(self) -> Answer[bool]:
        """Whether the sender's domain takes mail; there is nothing to ask about a bounce's."""
        return Known(True) if self.envelope.sender.is_null else self.envelope.sender_resolves

    @property
    def virus(self) -> Answer[VirusResult]:
        """clamd's answer."""
        return self.message.virus if self.message is not None else NOT_ASKED

    @property
    def spam(self) -> Answer[SpamResult]:
        """spamd's answer."""
        return self.message.spam if self.message is not None else NOT_ASKED


_ANSWERS: Final[Mapping[Source, Callable[[Reading], object]]] = {
    Source.REVERSE_DNS: lambda r: r.client.reverse_dns,
    Source.HELO: lambda r: r.envelope.helo.resolves,
    Source.SENDER: lambda r: r.sender_resolves,
    Source.CLAMAV: lambda r: r.virus,
    Source.SPAMASSASSIN: lambda r: r.spam,
}


def _of(answer: Answer[T], read: Callable[[T], Value]) -> Value | None:
    return read(answer.value) if isinstance(answer, Known) else None


def _help_value(reading: Reading) -> Value | None:
    score = reading.reckoned.tally.score
    return reading.help() if score.low == score.high else None


def _client(read: Callable[[ReverseDns], Value]) -> Callable[[Reading], Value | None]:
    def value(reading: Reading) -> Value | None:
        answer = reading.client.reverse_dns
        return read(answer.value) if isinstance(answer, Known) else None

    return value


def _virus(read: Callable[[VirusResult, Reading], Value]) -> Callable[[Reading], Value | None]:
    def value(reading: Reading) -> Value | None:
        answer = reading.virus
        return read(answer.value, reading) if isinstance(answer, Known) else None

    return value


def _spam(read: Callable[[SpamResult], Value]) -> Callable[[Reading], Value | None]:
    return lambda r: _of(r.spam, read)


READERS: Final[Mapping[str, Callable[[Reading], Value | None]]] = {
    "client.ip": lambda r: r.client.address.ip,
    "client.score": Reading.score,
    "early_talker": lambda r: _of(r.client.early_talker, bool),
    "dnsbl.score": lambda r: r.reckoned.tally.score,
    "dnsbl.listed_by": lambda r: r.reckoned.tally.listed_by,
    "dnsbl.zones": lambda r: r.reckoned.tally.zones,
    "dnsbl.labels": lambda r: r.reckoned.tally.labels,
    "dnsbl.help": _help_value,
    "reverse_dns.name": _client(lambda dns: dns.name),
    "reverse_dns.missing": _client(lambda dns: not dns.name),
    # A client without a name is `missing` alone: it does not pay twice.
    "reverse_dns.unconfirmed": _client(lambda dns: bool(dns.name) and not dns.confirmed),
    "helo.name": lambda r: r.envelope.helo.name,
    "helo.is_address": lambda r: r.envelope.helo.is_address,
    "helo.unresolvable": lambda r: _of(r.envelope.helo.resolves, lambda resolves: not resolves),
    "sender.address": lambda r: r.envelope.sender.unquoted,
    "sender.local": lambda r: r.envelope.sender.local,
    "sender.domain": lambda r: r.envelope.sender.domain,
    "sender.is_null": lambda r: r.envelope.sender.is_null,
    "sender.unresolvable": lambda r: _of(r.sender_resolves, lambda resolves: not resolves),
    "recipient.address": lambda r: r.envelope.recipient.unquoted,
    "recipient.local": lambda r: r.envelope.recipient.local,
    "recipient.domain": lambda r: r.envelope.recipient.domain,
    "message.size": lambda r: Range.exactly(float(r.message.size)) if r.message is not None else None,
    "virus.status": _virus(lambda virus, _: "infected" if virus.infected else "clean"),
    "virus.name": _virus(lambda virus, _: virus.name),
    "virus.kind": _virus(lambda virus, r: virus_kind(virus.name, r.scales.official)),
    "spam.score": _spam(lambda spam: Range.exactly(spam.score)),
    "spam.content_score": _spam(lambda spam: Range.exactly(spam.content_score)),
    "spam.received_score": _spam(lambda spam: Range.exactly(spam.received_score)),
    "spam.rules": _spam(lambda spam: Members.exactly(spam.rules)),
}
"""How each fact is read."""
