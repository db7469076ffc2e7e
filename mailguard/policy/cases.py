"""What a case gives, and how it goes: its facts made those of a client and a message, and put through the engine.

What is expected of a case stands in ``policy.suites``. Facts not given are those of a client and a message without any
fault: listed nowhere, a confirmed name, clean, score 0, to user@example.com. ``unknown`` is a missing answer,
``unscannable`` that of a scanner which is up but can't judge.
Only what is asked of the world is given: ``dnsbl.NAME`` rather than ``dnsbl.score``, which follows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, ip_address
from typing import Final, TypeVar

from mailguard.caseless import lowered
from mailguard.facts import (
    FACTS,
    NOT_LISTED,
    Answer,
    Cause,
    Client,
    ClientAddress,
    Codes,
    Envelope,
    FactSpec,
    FactType,
    Helo,
    Known,
    Mailbox,
    Message,
    ReverseDns,
    Source,
    SpamResult,
    Unknown,
    VirusResult,
)
from mailguard.policy.course import Course, Facts, course_of
from mailguard.policy.engine import CompiledPolicy
from mailguard.policy.schema import CaseEntry, Given
from mailguard.positions import Document, Path, Problem, did_you_mean
from mailguard.verdict import Verdict

T = TypeVar("T")
UNKNOWN: Final = "unknown"
UNSCANNABLE: Final = "unscannable"
_REVERSE_DNS: Final = ("reverse_dns.name", "reverse_dns.missing", "reverse_dns.unconfirmed")
_VIRUS: Final = ("virus.status", "virus.name", "virus.kind")
_SPAM: Final = ("spam.score", "spam.received_score", "spam.rules")
_SCANNERS: Final = (Source.CLAMAV, Source.SPAMASSASSIN)
_DERIVED: Final[Mapping[str, str]] = {
    "client.score": "give `dnsbl.NAME`, and the facts that have weights",
    "dnsbl.score": "give `dnsbl.NAME`",
    "dnsbl.listed_by": "give `dnsbl.NAME`",
    "dnsbl.zones": "give `dnsbl.NAME`",
    "dnsbl.labels": "give `dnsbl.NAME`",
    "dnsbl.help": "give `dnsbl.NAME`",
    "spam.content_score": "give `spam.score` and `spam.received_score`: it is the difference",
    "sender.local": "give `sender.address`",
    "sender.domain": "give `sender.address`",
}
"""Facts that follow from others, and what to give instead."""

_SIGNATURES: Final[Mapping[str, str]] = {
    "malware": "Test.Signature",
    "heuristic": "Heuristics.Test",
    "pua": "PUA.Test",
    "unofficial": "Test.UNOFFICIAL",
}
"""A signature's name of each kind, where a case gives the kind alone."""

_FORMS: Final[Mapping[FactType, tuple[Callable[[Given], bool], str]]] = {
    FactType.BOOLEAN: (lambda v: isinstance(v, bool), "true or false"),
    FactType.NUMBER: (lambda v: isinstance(v, int | float) and not isinstance(v, bool), "a number"),
    FactType.TEXT: (lambda v: isinstance(v, str), "a text"),
    FactType.TEXTS: (lambda v: isinstance(v, list), "a list of texts"),
    FactType.ADDRESS: (lambda v: _is_address(v), "an IP address"),
}
"""What a case may give for a fact of each type."""


def check(document: Document, cases: Sequence[CaseEntry], lists: frozenset[str]) -> Iterator[Problem]:
    """Everything wrong with what the cases give; ``lists`` are the names of the policy's lists."""
    for index, case in enumerate(cases):
        for name, value in case.given.items():
            path: Path = ("cases", index, "given", name)
            listed = name.removeprefix("dnsbl.")
            if name != listed and name not in FACTS:
                yield from _check_list(document, path, listed, value, lists)
            elif name in FACTS:
                yield from _check_fact(document, path, FACTS[name], value)
            else:
                yield document.key_problem(path, f"there is no fact `{name}`", did_you_mean(name, FACTS))


def _check_list(document: Document, path: Path, name: str, value: Given, lists: frozenset[str]) -> Iterator[Problem]:
    if name not in lists:
        yield document.key_problem(path, f"the policy has no list `{name}`", did_you_mean(name, lists))
    elif value != UNKNOWN and not all(_is_ipv4(code) for code in _codes(value)):
        yield document.problem(path, "this is no answer of a DNSBL", "write 127.0.0.2, a list of such, [] or unknown")


def _check_fact(document: Document, path: Path, spec: FactSpec, value: Given) -> Iterator[Problem]:
    if spec.name in _DERIVED:
        yield document.key_problem(path, f"`{spec.name}` follows from other facts", _DERIVED[spec.name])
    elif _is_missing(spec, value):
        return
    elif not _FORMS[spec.type][0](value):
        yield document.problem(path, f"`{spec.name}` is {_FORMS[spec.type][1]}", _may_be(spec))
    elif spec.values and value not in spec.values:
        yield document.problem(path, f"`{spec.name}` is never '{value}'", did_you_mean(str(value), spec.values))


def _is_missing(spec: FactSpec, value: Given) -> bool:
    if value == UNSCANNABLE:
        return spec.source in _SCANNERS
    return value == UNKNOWN and (spec.source is not None or spec.name == "early_talker")


def _may_be(spec: FactSpec) -> str:
    return "or `unknown`, where there was no answer" if _is_missing(spec, UNKNOWN) else ""


def _codes(value: Given) -> list[str]:
    return [str(code) for code in value] if isinstance(value, list) else [str(value)]


def _is_ipv4(text: str) -> bool:
    return _is_address(text) and ip_address(text).version == 4


def _is_address(value: object) -> bool:
    try:
        ip_address(str(value))
    except ValueError:
        return False
    return isinstance(value, str)


@dataclass(frozen=True, slots=True)
class _Given:
    """The facts of one case, checked; what is not given is benign. ``why`` an answer is missing that is given so."""

    facts: Mapping[str, Given]
    why: str = "a case says so"

    def _get(self, name: str) -> object:
        return self.facts.get(name, FACTS[name].benign)

    def _text(self, name: str) -> str:
        return str(self._get(name))

    def _number(self, name: str) -> float:
        return float(str(self._get(name)))

    def _answer(self, names: tuple[str, ...], make: Callable[[], T]) -> Answer[T]:
        """Unknown where one of ``names`` is given so, else what ``make`` makes."""
        given = [self.facts.get(name) for name in names]
        if UNSCANNABLE in given:
            return Unknown(self.why, Cause.UNSCANNABLE)
        return Unknown(self.why) if UNKNOWN in given else Known(make())

    def client(self) -> Client:
        """The client."""
        lists = {n.removeprefix("dnsbl."): v for n, v in self.facts.items() if n.startswith("dnsbl.")}
        return Client(
            ClientAddress.parse(self._text("client.ip")),
            early_talker=self._answer(("early_talker",), lambda: self._get("early_talker") is True),
            reverse_dns=self._answer(_REVERSE_DNS, self._reverse_dns),
            dnsbl={n: Unknown(self.why) if v == UNKNOWN else Known(_answered(v)) for n, v in lists.items()},
        )

    def _reverse_dns(self) -> ReverseDns:
        name = "" if self._get("reverse_dns.missing") is True else self._text("reverse_dns.name")
        return ReverseDns(name, confirmed=bool(name) and self._get("reverse_dns.unconfirmed") is not True)

    def envelope(self) -> Envelope:
        """The envelope."""
        null = self.facts.get("sender.is_null") is True
        recipient = _mailbox(self._text("recipient.address"))
        return Envelope(
            Helo(
                self._text("helo.name"),
                self._get("helo.is_address") is True,
                self._answer(("helo.unresolvable",), lambda: self._get("helo.unresolvable") is not True),
            ),
            _mailbox("" if null else self._text("sender.address")),
            Mailbox(
                str(self.facts.get("recipient.local", recipient.local)),
                lowered(str(self.facts.get("recipient.domain", recipient.domain))),
            ),
            self._answer(("sender.unresolvable",), lambda: self._get("sender.unresolvable") is not True),
        )

    def message(self) -> Message:
        """The message."""
        virus = self._answer(_VIRUS, lambda: VirusResult(self._signature()))
        spam = self._answer(_SPAM, self._spam)
        return Message(int(self._number("message.size")), virus, spam)

    def _signature(self) -> str:
        name, kind = str(self.facts.get("virus.name", "")), str(self.facts.get("virus.kind", ""))
        if name or self.facts.get("virus.status") == "clean":
            return name
        return _SIGNATURES.get(kind) or ("Test.Signature" if self.facts.get("virus.status") == "infected" else "")

    def _spam(self) -> SpamResult:
        score, received = self._number("spam.score"), self._number("spam.received_score")
        rules = self.facts.get("spam.rules", [])
        names = rules if isinstance(rules, list) else []
        return SpamResult(score, round(score - received, 3), rules=dict.fromkeys(names, 0.0))


def _answered(value: Given) -> Codes:
    return frozenset(IPv4Address(code) for code in _codes(value))


def _mailbox(address: str) -> Mailbox:
    local, at, domain = address.rpartition("@")
    return Mailbox(local, lowered(domain)) if at else Mailbox(address, "")


def facts_of_case(policy: CompiledPolicy, given: Mapping[str, Given]) -> tuple[Client, Envelope, Message]:
    """What a case gives, as the engine takes it: every list that is not given does not list the client."""
    facts = _Given(given)
    client = facts.client()
    names = [table.zone.name for table in policy.tables]
    answers = {name: client.dnsbl.get(name, NOT_LISTED) for name in names}
    return (
        Client(client.address, client.early_talker, client.reverse_dns, answers),
        facts.envelope(),
        facts.message(),
    )


def course(policy: CompiledPolicy, given: Mapping[str, Given]) -> Course:
    """What ``policy`` makes of a case."""
    return course_of(policy, Facts(*facts_of_case(policy, given)))


def decide(policy: CompiledPolicy, given: Mapping[str, Given]) -> Verdict:
    """The verdict that ``policy`` comes to in a case."""
    return course(policy, given).verdict


def overlaid(facts: Facts, given: Mapping[str, Given]) -> Facts:
    """``facts`` but for what is ``given``; a fact of a message, where none came, makes one that is benign else."""
    over = _Over(facts, given)
    return Facts(over.client(), over.envelope(), over.message())


class _Over:
    """Facts that are given, over others that are known."""

    def __init__(self, facts: Facts, given: Mapping[str, Given]) -> None:
        self._facts = facts
        self._given = given
        self._new = _Given({**self._kept(), **given}, "it is given so")

    def _touched(self, *names: str) -> bool:
        return any(name in self._given for name in names)

    def _kept(self) -> dict[str, Given]:
        """What stays of answers that consist of several facts, some of which are given."""
        kept: dict[str, Given] = {}
        reverse, message = self._facts.client.reverse_dns, self._facts.message
        if isinstance(reverse, Known) and reverse.value.name:
            kept["reverse_dns.name"] = reverse.value.name
            kept["reverse_dns.unconfirmed"] = not reverse.value.confirmed
        elif isinstance(reverse, Known) and "reverse_dns.name" not in self._given:
            kept["reverse_dns.missing"] = True
        if message is not None and isinstance(message.spam, Known):
            spam = message.spam.value
            kept |= {"spam.score": spam.score, "spam.received_score": spam.received_score}
            kept["spam.rules"] = list(spam.rules)
        return kept

    def client(self) -> Client:
        """The client."""
        old, new = self._facts.client, self._new.client()
        return replace(
            old,
            address=new.address if self._touched("client.ip") else old.address,
            early_talker=new.early_talker if self._touched("early_talker") else old.early_talker,
            reverse_dns=new.reverse_dns if self._touched(*_REVERSE_DNS) else old.reverse_dns,
            dnsbl={**old.dnsbl, **new.dnsbl},
        )

    def envelope(self) -> Envelope:
        """The envelope."""
        old, new = self._facts.envelope, self._new.envelope()
        return replace(
            old,
            helo=self._helo(old.helo, new.helo),
            sender=new.sender if self._touched("sender.address", "sender.is_null") else old.sender,
            recipient=self._recipient(old.recipient, new.recipient),
            sender_resolves=new.sender_resolves if self._touched("sender.unresolvable") else old.sender_resolves,
        )

    def _helo(self, old: Helo, new: Helo) -> Helo:
        return Helo(
            new.name if self._touched("helo.name") else old.name,
            new.is_address if self._touched("helo.is_address") else old.is_address,
            new.resolves if self._touched("helo.unresolvable") else old.resolves,
        )

    def _recipient(self, old: Mailbox, new: Mailbox) -> Mailbox:
        return Mailbox(
            new.local if self._touched("recipient.address", "recipient.local") else old.local,
            new.domain if self._touched("recipient.address", "recipient.domain") else old.domain,
        )

    def message(self) -> Message | None:
        """The message; None where none came and nothing of it is given."""
        old = self._facts.message
        if not self._touched("message.size", *_VIRUS, *_SPAM):
            return old
        new = self._new.message()
        if old is None:
            return new
        return Message(
            new.size if self._touched("message.size") else old.size,
            new.virus if self._touched(*_VIRUS) else old.virus,
            self._spam(old.spam, new.spam) if self._touched(*_SPAM) else old.spam,
        )

    def _spam(self, old: Answer[SpamResult], new: Answer[SpamResult]) -> Answer[SpamResult]:
        if isinstance(old, Unknown) or isinstance(new, Unknown):
            return new
        changed = replace(old.value, score=new.value.score, content_score=new.value.content_score)
        return Known(replace(changed, rules=new.value.rules) if self._touched("spam.rules") else changed)


def tried(policy: CompiledPolicy) -> CompiledPolicy:
    """``policy`` as it were if everything that is only observed were in force."""
    return replace(policy, force=policy.trial or policy.force, trial=None)
