"""Strict client of spamd: how many points has this message, and how many of them may refuse it?

HEADERS, with ``deploy/spamassassin/mailguard.cf`` in force, gives exact points by rule, the relay that SpamAssassin
took for the client, and its versions. Without that file REPORT is asked instead, whose points are rounded; HEADERS is
tried again after a while.

``content_score`` leaves out the positive points of tainted rules (:mod:`mailguard.spamrules`). What a rule may look at
besides the content is granted message by message: the envelope sender where mailguard.cf makes SpamAssassin take it
from our Return-Path; the connecting client where SpamAssassin's last external relay is that client, and is public, for
``-lastexternal`` lists skip private addresses; the whole message where its body was not cut.

Of a long message spamd sees the header section and the beginning of the body (:mod:`mailguard.scanners.excerpt`). Where
it stopped before it had tried every rule, what acquits may be missing: every rule is tainted (docs/decisions/0074).

Failure: Unknown, never a score of 0. DOWN where spamd is dead, overloaded or talks nonsense; UNSCANNABLE where it is up
but too slow for this message. SpoolLost goes up to the caller. Units: seconds, octets, points.
"""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from ipaddress import ip_network
from typing import Final

from mailguard import config, metrics
from mailguard.facts import NOT_ASKED, Answer, Cause, ClientAddress, Known, SpamResult, Unknown
from mailguard.log import logger
from mailguard.scanners.bounded import Bounded
from mailguard.scanners.excerpt import Excerpt, excerpt
from mailguard.scanners.exchange import ScannerDown, connected, receive, send
from mailguard.scanners.spam_output import Output, from_headers, from_report
from mailguard.scanners.spamd_protocol import PING, BadReply, Scored, is_pong, parse_reply, request
from mailguard.scanners.taint_source import TaintSource
from mailguard.spamrules.evidence import Evidence
from mailguard.spamrules.points import Hit, content_score, explained
from mailguard.spamrules.taint import TaintList
from mailguard.spool import Content

MAX_ADDED: Final = 262_144
"""Octets that a reply may have more than the message: SpamAssassin's own fields, or its report."""

HEADERS_RETRY: Final = 300.0
"""Seconds until HEADERS is tried again where mailguard.cf was not in force."""

ENDED_EARLY: Final = frozenset({"TIME_LIMIT_EXCEEDED", "SHORTCIRCUIT"})
"""What SpamAssassin reports when it stopped before the last rule: out of time, which Received lines can use up
(Plugin/Check.pm), or at the word of one rule, which may be about Received lines (Plugin/Shortcircuit.pm)."""

_MAX_NAMES: Final = 1000
"""Names of unknown rules kept, so that each is logged once."""

_SKIPPED: Final = tuple(
    ip_network(text)
    for text in (
        "10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10",
        "::1/128", "fe80::/10", "fc00::/7",
    )
)  # fmt: skip
"""Addresses that ``-lastexternal`` lists skip to ask about the next relay instead (Constants::IP_PRIVATE)."""


def granted(output: Output, client: ClientAddress, body_cut: bool) -> Evidence:
    """What rules may have looked at in this scan without being tainted by it."""
    kinds = Evidence.CONTENT if body_cut else Evidence.WHOLE
    if output.settings:
        kinds |= Evidence.ENVELOPE
        if output.relay == client and not any(client.ip in network for network in _SKIPPED):
            kinds |= Evidence.CLIENT
    return kinds


async def ask(address: str, command: str, message: bytes, user: str = "") -> Scored:
    """spamd's reply to one ``command`` (HEADERS, REPORT) about ``message``; the caller bounds the wait.

    Raises:
        ScannerDown: it is not there.
        BadReply: what it says is no answer.
    """
    async with connected(address) as connection:
        # An error while sending is not the end: spamd may have said why before it closed.
        await send(connection, request(command, message, user))
        reply, _ = await receive(connection, len(message) + MAX_ADDED)
    return parse_reply(reply)


class Spamassassin:
    """spamd behind one socket.

    Args:
        settings: address, bounds, user, and where its rules lie.
        taint: the taint list to begin with (``taint_source.load_taint``).
        clock: seconds, for durations and for HEADERS_RETRY.
    """

    def __init__(self, settings: config.Spamassassin, taint: TaintList, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._bounded = Bounded("spamassassin", settings.connections, settings.timeout, self.alive, clock)
        self._source = TaintSource(settings, taint)
        self._report_until = clock()
        self._named: set[str] = set()

    @property
    def configured(self) -> bool:
        """Whether there is one to ask."""
        return self._settings.address is not None

    async def score(self, content: Content, deadline: float, client: ClientAddress) -> Answer[SpamResult]:
        """spamd's word on ``content`` before ``deadline`` (absolute loop time).

        ``content`` carries Return-Path and our Received line, which names ``client``, on top. Not asked where no spamd
        is configured.

        Raises:
            SpoolLost: the content cannot be read back.
        """
        if self._settings.address is None:
            return NOT_ASKED
        address = self._settings.address
        return await self._bounded.run(lambda: self._judge(address, content, client), deadline)

    async def alive(self) -> bool:
        """Whether spamd answers PING, for which it needs a free child; the caller bounds the wait."""
        if self._settings.address is None:
            return False
        try:
            async with connected(self._settings.address) as connection:
                await send(connection, [PING])
                reply, _ = await receive(connection, len(PING) + 64)
        except ScannerDown:
            return False
        return is_pong(reply)

    async def watch(self) -> None:
        """Keep the taint list as spamd's live rules are, until cancelled; returns at once without ``rule_dirs``."""
        await self._source.watch()

    async def _judge(self, address: str, content: Content, client: ClientAddress) -> Answer[SpamResult]:
        shown = excerpt(content, self._settings.max_size)
        try:
            scored, output = await self._points(address, shown.octets)
        except BadReply as error:
            cause = Cause.UNSCANNABLE if error.gave_up else Cause.DOWN
            return Unknown(f"spamassassin: {error}", cause)
        return Known(self._result(scored, output, client, shown))

    async def _points(self, address: str, message: bytes) -> tuple[Scored, Output]:
        if self._clock() >= self._report_until:
            scored = await ask(address, "HEADERS", message, self._settings.user)
            output = from_headers(scored.body)
            if output is not None:
                return scored, output
            self._report_until = self._clock() + HEADERS_RETRY
            logger.warning("spamd without mailguard.cf", error="points are rounded, fewer rules are trusted")
        scored = await ask(address, "REPORT", message, self._settings.user)
        return scored, from_report(scored.body)

    def _result(self, scored: Scored, output: Output, client: ClientAddress, shown: Excerpt) -> SpamResult:
        names = {hit.rule for hit in output.hits}
        tainted = self._tainted(names, output, granted(output, client, shown.cut))
        if names & ENDED_EARLY:
            tainted = frozenset(names)
        if not explained(scored.score, output.hits):
            tainted = frozenset(names)
            logger.warning("spam points do not add up", spam=scored.score, count=len(output.hits))
        content = content_score(scored.score, output.hits, tainted)
        return SpamResult(scored.score, content, scored.required, _sums(output.hits), tainted, shown.cut)

    def _tainted(self, names: AbstractSet[str], output: Output, kinds: Evidence) -> frozenset[str]:
        source = self._source
        holds = source.fits(output.version, output.rules_version) if output.settings else source.holds_blindly()
        if not holds:
            return frozenset(names)
        self._note_unknown(names - source.current.rules.keys())
        return source.current.tainted(names, kinds)

    def _note_unknown(self, names: AbstractSet[str]) -> None:
        metrics.SPAM_RULES_UNKNOWN.inc(len(names))
        for name in sorted(names - self._named):
            if len(self._named) < _MAX_NAMES:
                self._named.add(name)
                logger.warning("spam rule unknown", spam_rule=name)


def _sums(hits: tuple[Hit, ...]) -> dict[str, float]:
    sums: dict[str, float] = {}
    for hit in hits:
        sums[hit.rule] = round(sums.get(hit.rule, 0.0) + hit.points, 3)
    return sums
