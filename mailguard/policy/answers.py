"""What the answers of a DNSBL mean: a table of codes in 127/8 to weights (RFC 5782 2.1), and the sum over all lists.

A table's key is a code (``127.0.0.4``), a range of last octets (``127.0.0.4-7``), or a pattern (``127.0.*.1``); exact
beats range beats pattern. 127.255.255.x is how lists say "you may not ask" and never an answer: in a table it is an
error, and in a reply, like anything outside 127/8, it voids the whole reply.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from ipaddress import IPv4Address, IPv4Network
from operator import add
from typing import Final

from mailguard.facts import NOT_ASKED, Answer, Codes, DnsblZone, Known, Unknown
from mailguard.policy.texts import Template
from mailguard.policy.truth import EMPTY, ZERO, Members, Range
from mailguard.verdict import Weight

_OCTET: Final = r"(0|[1-9][0-9]{0,2}|\*)"
_KEY: Final = re.compile(rf"{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}(?:-(0|[1-9][0-9]{{0,2}}))?")
LOOPBACK: Final = IPv4Network("127.0.0.0/8")
ERROR_CODES: Final = IPv4Network("127.255.255.0/24")


class BadCode(ValueError):
    """A table's key that no answer can be; ``hint`` says what would be right."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class CodePattern:
    """One key of a table: least and greatest value of each octet; ``rank``: 0 exact, 1 range, 2 and up patterns."""

    octets: tuple[tuple[int, int], ...]
    rank: int

    @classmethod
    def parse(cls, key: str) -> CodePattern:
        """The key as written.

        Raises:
            BadCode: it is of another form, outside 127/8, or an error code.
        """
        match = _KEY.fullmatch(key)
        if match is None:
            raise BadCode(f"`{key}` is no answer of a DNSBL", "write 127.0.0.2, 127.0.0.4-7 or 127.0.*.1")
        first = [(0, 255) if g == "*" else (int(g), int(g)) for g in match.groups()[:4]]
        stars = match.groups()[:4].count("*")
        if match[5] is not None:
            if match[4] == "*":
                raise BadCode(f"`{key}` mixes `*` and a range", "write 127.0.*.1 or 127.0.0.4-7")
            first[3] = (first[3][0], int(match[5]))
        return cls._checked(key, tuple(first), 1 + stars if stars or match[5] is not None else 0)

    @classmethod
    def _checked(cls, key: str, octets: tuple[tuple[int, int], ...], rank: int) -> CodePattern:
        if any(high > 255 for _, high in octets):
            raise BadCode(f"`{key}` has an octet over 255")
        if octets[3][0] > octets[3][1]:
            raise BadCode(f"the range of `{key}` runs backwards", "the smaller number comes first")
        if octets[0] != (127, 127):
            raise BadCode(f"`{key}` is outside 127/8", "an answer there means a broken list or resolver (RFC 5782 2.1)")
        if octets[1:3] == ((255, 255), (255, 255)):
            raise BadCode(f"`{key}` says that the question was refused", "127.255.255.x never lists anybody: remove it")
        return cls(octets, rank)

    def matches(self, code: IPv4Address) -> bool:
        """Whether ``code`` is one of those meant."""
        return all(low <= octet <= high for octet, (low, high) in zip(code.packed, self.octets, strict=True))

    def overlaps(self, other: CodePattern) -> bool:
        """Whether one code can match both, at the same rank."""
        pairs = zip(self.octets, other.octets, strict=True)
        return self.rank == other.rank and all(a <= d and c <= b for (a, b), (c, d) in pairs)


@dataclass(frozen=True, slots=True)
class Listing:
    """One entry of a table: a weight (negative: welcome), a label for conditions, and its key as written."""

    pattern: CodePattern
    weight: float
    label: str
    key: str = ""


def usable(answer: Answer[Codes]) -> Answer[Codes]:
    """``answer``, unknown where one of its codes voids it (RFC 5782 2.1)."""
    if isinstance(answer, Known):
        for code in answer.value:
            if code not in LOOPBACK or code in ERROR_CODES:
                return Unknown(f"answered {code}")
    return answer


@dataclass(frozen=True, slots=True)
class ListTable:
    """One list: what to ask, and what its answers mean. ``observed``: it counts only in what would have been."""

    zone: DnsblZone
    listings: tuple[Listing, ...]
    help: Template | None = None
    observed: bool = False

    def listing(self, code: IPv4Address) -> Listing | None:
        """The entry that ``code`` falls under: the listings are in order of rank."""
        return next((entry for entry in self.listings if entry.pattern.matches(code)), None)

    @property
    def bounds(self) -> Range:
        """What an unknown answer may weigh."""
        weights = [entry.weight for entry in self.listings]
        return Range(min(0.0, *weights), max(0.0, *weights), 0.0)

    @property
    def white(self) -> bool:
        """Whether it can only speak for a client: no entry weighs against one, and some for it."""
        return self.bounds.high <= 0 and self.bounds.low < 0

    def unmatched(self, answer: Answer[Codes]) -> list[IPv4Address]:
        """The codes of an answer that the table does not know; they weigh nothing."""
        answer = usable(answer)
        codes = sorted(answer.value) if isinstance(answer, Known) else []
        return [code for code in codes if self.listing(code) is None]

    def tally(self, answer: Answer[Codes]) -> Tally:
        """What ``answer`` counts for: the heaviest of its entries once; :data:`NOTHING` for most clients."""
        if isinstance(answer, Known) and not answer.value:
            return NOTHING
        answer = usable(answer)
        if isinstance(answer, Unknown):
            return self._unknown()
        found = [entry for code in sorted(answer.value) if (entry := self.listing(code)) is not None]
        if not found:
            return NOTHING
        # The heaviest either way; of two as heavy the one for the sender.
        weight = max((entry.weight for entry in found), key=lambda w: (abs(w), -w))
        labels = Members.exactly(f"{self.zone.name}/{entry.label}" for entry in found)
        zones = Members.exactly([self.zone.zone] if weight > 0 else [])
        listed = Range.exactly(1.0 if weight > 0 else 0.0)
        return Tally(Range.exactly(weight), listed, zones, labels, (self._weight(found, weight),))

    def _weight(self, found: Iterable[Listing], weight: float) -> Weight:
        label = next(entry.label for entry in found if entry.weight == weight)
        return Weight(f"{self.zone.name}/{label}", weight)

    def _unknown(self) -> Tally:
        bounds = self.bounds
        positive = bounds.high > 0
        return Tally(
            bounds,
            Range(0.0, 1.0 if positive else 0.0, 0.0),
            Members(possible=frozenset([self.zone.zone] if positive else [])),
            Members(possible=frozenset(f"{self.zone.name}/{entry.label}" for entry in self.listings)),
        )


@dataclass(frozen=True, slots=True)
class Tally:
    """What lists count for: the facts ``dnsbl.*``, and the weights for the trace."""

    score: Range = ZERO
    listed_by: Range = ZERO
    zones: Members = EMPTY
    labels: Members = EMPTY
    weights: tuple[Weight, ...] = ()

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.score + other.score,
            self.listed_by + other.listed_by,
            _union(self.zones, other.zones),
            _union(self.labels, other.labels),
            self.weights + other.weights,
        )


NOTHING: Final = Tally()
"""What a list counts for that does not list the client."""


def _union(a: Members, b: Members) -> Members:
    return Members(a.certain | b.certain, a.possible | b.possible, a.settled | b.settled)


@dataclass(frozen=True, slots=True)
class Reckoned:
    """What the answers of all lists about one client come to.

    Attributes:
        tally: their sum.
        unknown: why the first of those gave no answer that gave none; None where all did.
        unmatched: lists and the codes they answered that their tables do not know: they weigh nothing.
        white: zone and answer of each list that was asked and can only speak for the client.
        help: where a blocked sender can ask, of the heaviest list that says so.
    """

    tally: Tally
    unknown: Unknown | None
    unmatched: tuple[tuple[str, IPv4Address], ...]
    white: tuple[tuple[str, Answer[Codes]], ...]
    help: Template | None


def reckon(tables: Sequence[ListTable], answers: Sequence[Answer[Codes]]) -> Reckoned:
    """What ``answers``, one for each of ``tables``, come to."""
    found = [(table, answer, usable(answer)) for table, answer in zip(tables, answers, strict=True)]
    total = reduce(add, [each for table, answer, _ in found if (each := table.tally(answer)) is not NOTHING], NOTHING)
    return Reckoned(
        total,
        next((used for _, _, used in found if isinstance(used, Unknown)), None),
        tuple([(table.zone.name, code) for table, answer, _ in found for code in table.unmatched(answer)]),
        tuple([(table.zone.zone, used) for table, answer, used in found if table.white and answer != NOT_ASKED]),
        next(_help(tables, total.weights), None),
    )


def _help(tables: Sequence[ListTable], weights: Iterable[Weight]) -> Iterator[Template]:
    by_name = {table.zone.name: table for table in tables}
    for weight in sorted(weights, key=lambda w: -w.weight):
        template = by_name[weight.name.partition("/")[0]].help
        if weight.weight > 0 and template is not None:
            yield template
