"""Which DNS lists list the connecting client (RFC 5782): all asked at once, each answer known or unknown.

:class:`Dnsbl` is given a :class:`ClientAddress` and nothing else. No header, and no address found in one, can ever be
asked about (architecture.md, invariants).

- A client in an ``UNASKED`` network is on no list, unless ``ask_about_private_clients`` says to ask.
- An IPv6 client is on no list that does not declare IPv6 (RFC 5782 2.4: such a list holds none).
- Every failure, refusal and nonsense is :class:`Unknown` for that list alone.
- :meth:`Dnsbl.watch` probes the lists (:mod:`mailguard.checks.dnsbl_health`). One found ill is set aside: its answers
  are unknown until a probe finds it healthy again.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from mailguard import config, metrics
from mailguard.checks.dnsbl_answers import Outcome, read
from mailguard.checks.dnsbl_health import Finding, Health, probe
from mailguard.checks.dnsbl_names import is_asked_about
from mailguard.dns.inquiry import Inquiry, Steps
from mailguard.dns.question import Question, about, backwards
from mailguard.dns.resolver import Resolver
from mailguard.facts import NOT_LISTED, Answer, ClientAddress, Codes, DnsblZone, Unknown
from mailguard.log import logger
from mailguard.metric_kinds import Cells, Histogram
from mailguard.net.together import together

JITTER: Final = 0.1
"""Share by which the time to the next probe differs, so that workers started together do not probe together."""


@dataclass
class _List:
    """One list and how it stands: ``ill`` says why it is set aside, ``due`` when it is probed next (clock).

    ``question`` is what is asked, but for the labels of the client before it.
    """

    zone: DnsblZone
    due: float
    ill: str = ""
    question: Question = field(init=False)

    def __post_init__(self) -> None:
        self.question = about(self.zone.asked, "A")

    @cached_property
    def seconds(self) -> Histogram:
        """How long a question to it takes."""
        return metrics.DNSBL_SECONDS.labels(self.zone.name)

    @cached_property
    def outcomes(self) -> dict[Outcome, Cells]:
        """How many questions to it came out so."""
        return {outcome: metrics.DNSBL_QUERIES.labels(self.zone.name, outcome).cells for outcome in Outcome}


class _Standing:
    """How the lists stand, for clients of one IP version.

    Attributes:
        asked: those that are asked.
        answers: what the others say of whoever it is, and what those that are asked do until they have answered.
        ill: counts that they are, of each that is set aside.
        at_once: the seconds that an answer takes that was known, of each that is asked.
    """

    def __init__(self, lists: Collection[_List], version: int) -> None:
        holding = [item for item in lists if version == 4 or item.zone.ipv6]
        self.asked: Final = [item for item in holding if not item.ill]
        ill = [item for item in holding if item.ill]
        self.answers: Final[dict[str, Answer[Codes]]] = {item.zone.name: NOT_LISTED for item in lists}
        self.answers.update({item.zone.name: Unknown(f"ill: {item.ill}") for item in ill})
        self.ill: Final = [item.outcomes[Outcome.ILL] for item in ill]
        self.at_once: Final = {item.zone.name: 0.0 for item in self.asked}

    @cached_property
    def buckets(self) -> list[Cells]:
        """Counts such answers, of each that is asked."""
        return [item.seconds.bucket(0.0) for item in self.asked]


@dataclass(slots=True)
class Said:
    """What the lists say of one client.

    Attributes:
        answers: by the list's name.
        at_once: the seconds that each list that was asked takes now.
        counts: what one is added to whenever all that is known already: how it came out, of each, and of those that
            were asked that it took no time; of one that is set aside, that it is.
    """

    answers: dict[str, Answer[Codes]]
    at_once: Mapping[str, float] = field(default_factory=dict)
    counts: Sequence[Cells] = ()

    def count(self, took: dict[str, float]) -> None:
        """Count what was known: to whoever looks at the numbers it is a question as any other, answered at once."""
        took.update(self.at_once)
        for cells in self.counts:
            cells[0] += 1


class Dnsbl:
    """The policy's lists.

    Args:
        resolver: asked about everything.
        lists: the policy's lists; their names are the keys of :meth:`ask`.
        settings: intervals of probing, and whether private clients are asked about.
        clock: now in seconds, of any origin.
        jitter: a number from 0 to 1 each time it is called.

    Raises:
        ValueError: two lists have one name, or the zone of one is no name.
    """

    def __init__(
        self,
        resolver: Resolver,
        lists: Sequence[DnsblZone],
        settings: config.Dns,
        clock: Callable[[], float],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._resolver = resolver
        self._settings = settings
        self._clock = clock
        self._jitter = jitter
        self._lists: dict[str, _List] = {}
        self._changed = asyncio.Event()
        self.reconfigure(lists)

    def reconfigure(self, lists: Sequence[DnsblZone]) -> None:
        """Ask ``lists`` from now on. One known before stays as ill or healthy as it is; a new one is probed at once.

        Raises:
            ValueError: two lists have one name; nothing is changed then.
        """
        if len({zone.name for zone in lists}) < len(lists):
            raise ValueError("two lists have the same name")
        before, now = self._lists, self._clock()
        known = {item.zone: item for item in before.values()}
        self._lists = {zone.name: known.get(zone) or _List(zone, due=now) for zone in lists}
        self._stand()
        for name in before.keys() | self._lists.keys():
            item = self._lists.get(name)
            # A list that is asked no more is no alarm; multiprocess metrics cannot be taken back.
            metrics.DNSBL_HEALTHY.labels(zone=name).set(0 if item and item.ill else 1)
        for name in self._lists:
            metrics.from_the_start(metrics.DNSBL_QUERIES, *((name, outcome) for outcome in Outcome))
            metrics.from_the_start(metrics.DNSBL_UNMATCHED, (name,))
        self._changed.set()

    def _stand(self) -> None:
        """One of the lists is another, or stands otherwise: what they said is known again only while all do as then."""
        lists = self._lists.values()
        self._standing = {IPv4Address: _Standing(lists, 4), IPv6Address: _Standing(lists, 6)}

    def ask(
        self,
        address: ClientAddress,
        deadline: float,
        took: dict[str, float] | None = None,
    ) -> Inquiry[Said]:
        """What each list says of ``address``, by the list's name.

        Args:
            address: the connecting client.
            deadline: loop time at which all that is missing is unknown.
            took: given how many seconds each list that was asked indeed took, by its name; of a cached answer hardly
                any.
        """
        standing, took = self._standing[type(address.ip)], {} if took is None else took
        return self._resolver.inquire(
            ("lists", standing, address.text),
            lambda: self._steps(standing, address, took),
            deadline,
            lambda said: said.count(took),
        )

    def _steps(self, standing: _Standing, address: ClientAddress, took: dict[str, float]) -> Steps[Said]:
        if not self._settings.ask_about_private_clients and not is_asked_about(address):
            return Said(dict.fromkeys(standing.answers, NOT_LISTED))
        answers, asked, outcomes = standing.answers.copy(), standing.asked, standing.ill.copy()
        client = backwards(address.ip)
        replies = yield [client + item.question for item in asked]
        for item, (reply, seconds) in zip(asked, replies, strict=True):
            name = item.zone.name
            outcome, answers[name] = read(reply)
            outcomes.append(item.outcomes[outcome])
            took[name] = seconds
            item.seconds.observe(seconds)
        for cells in outcomes:
            cells[0] += 1
        return Said(answers, standing.at_once, outcomes + standing.buckets)

    async def watch(self) -> None:
        """Probe each list now and whenever it is due, until cancelled. A bug in here is logged and does not end it."""
        while True:
            self._changed.clear()
            try:
                await self.probe_due()
            except Exception:  # noqa: BLE001 - mail goes on without probes, and probes go on without mail
                metrics.ERRORS.inc()
                logger.exception("dnsbl probe failed")
                pause = self._settings.ill_probe_interval
            else:
                pause = self._until_next()
            await self._pause(pause)

    async def probe_due(self) -> None:
        """Probe all lists that are due, at the same time, and set each aside or back by what was found."""
        now = self._clock()
        deadline = asyncio.get_running_loop().time() + self._settings.probe_timeout
        await together(self._probe(item, deadline) for item in list(self._lists.values()) if item.due <= now)

    async def _probe(self, item: _List, deadline: float) -> None:
        finding = await probe(self._resolver, item.zone, deadline)
        self._take(item, finding)
        interval = self._settings.ill_probe_interval if item.ill else self._settings.probe_interval
        item.due = self._clock() + interval * (1 - JITTER * self._jitter())

    def _take(self, item: _List, finding: Finding) -> None:
        """Set the list aside or back; one line of log where that changes something, or where nothing could be told."""
        name, ill = item.zone.name, item.ill
        match finding.health:
            case Health.ILL:
                if not item.ill:
                    logger.warning("dnsbl ill", zone=name, error=finding.why)
                item.ill = finding.why
            case Health.HEALTHY:
                if item.ill:
                    logger.info("dnsbl healthy", zone=name)
                item.ill = ""
            case Health.UNDECIDED:
                logger.info("dnsbl undecided", zone=name, error=finding.why)
        if item.ill != ill:
            self._stand()
        if self._lists.get(name) is item:
            metrics.DNSBL_HEALTHY.labels(zone=name).set(0 if item.ill else 1)

    def _until_next(self) -> float:
        """Seconds until the next list is due; at the most one interval, for there may be no list."""
        due = min((item.due for item in self._lists.values()), default=float("inf"))
        return max(0.0, min(due - self._clock(), self._settings.probe_interval))

    async def _pause(self, seconds: float) -> None:
        """Wait ``seconds``, or until the lists change."""
        try:
            async with asyncio.timeout(seconds):
                await self._changed.wait()
        except TimeoutError:
            return
