"""The questions about one client and its envelope: each asked once, early, and awaited only where a decision needs it.

They start as soon as there is something to ask about (flow.md, 1 and 2). Each
has its own bound, ``envelope_deadline`` from when it could first be asked: a client that dawdles before EHLO does
not starve the questions about its EHLO (docs/decisions/0003). What has not answered by then is unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from enum import StrEnum
from typing import Any, TypeVar, cast

from mailguard.checks.helo import helo_is_address, helo_resolves
from mailguard.checks.reverse_dns import reverse_dns
from mailguard.checks.sender import sender_resolves
from mailguard.commands import Path
from mailguard.config import Network
from mailguard.facts import NOT_ASKED, Answer, Client, ClientAddress, Codes, Helo, Known, ReverseDns, Source
from mailguard.session.services import Services

T = TypeVar("T")


class _Topic(StrEnum):
    """What is asked about, each by one task."""

    LISTS = "lists"
    REVERSE_DNS = "reverse DNS"
    HELO = "helo"
    SENDER = "sender"


def is_own_relay(address: ClientAddress, networks: Sequence[Network]) -> bool:
    """Whether the client is one of our own backup MX or forwarders: no question is asked about it."""
    return any(address.ip in network for network in networks)


class Questions:
    """The questions of one connection. ``close`` ends those still under way; nothing outlives the session.

    Every method that returns an answer raises what a check raised that it should not have: a bug defers.

    Attributes:
        dnsbl_seconds: how long each list that was asked took to answer, by its name, as far as they have.
    """

    def __init__(
        self, services: Services, address: ClientAddress, port: int, told: Answer[ReverseDns] | None = None
    ) -> None:
        """``told``: the client's name by the word of a peer that is trusted with it (XCLIENT); nobody is asked then."""
        self._services = services
        self._address = address
        self._port = port
        self._told = told
        self._own_relay = is_own_relay(address, services.settings.own_relays)
        self.dnsbl_seconds: dict[str, float] = {}
        self._early_talker: Answer[bool] = NOT_ASKED
        self._helo = ""
        self._tasks: dict[_Topic, asyncio.Task[Any]] = {}
        self._dropped: list[asyncio.Task[Any]] = []

    @property
    def own_relay(self) -> bool:
        """Whether the client is a relay of ours, about which nothing is asked: its facts are given, not found."""
        return self._own_relay

    def about_client(self) -> None:
        """Ask the lists and the reverse DNS about the connecting address, and nothing else about it ever."""
        if self._services.policy.lists:
            asked = self._services.dnsbl.ask(self._address, self._deadline(), self.dnsbl_seconds.__setitem__)
            self._ask(_Topic.LISTS, asked)
        if self._told is None:
            self._ask(_Topic.REVERSE_DNS, reverse_dns(self._services.resolver, self._address, self._deadline()))

    def early_talker(self, answer: Answer[bool]) -> None:
        """Take note whether the client spoke before the greeting."""
        self._early_talker = answer

    def about_helo(self, name: str) -> None:
        """Ask whether the EHLO name resolves; a new EHLO forgets the old one (RFC 5321 4.1.4)."""
        self.forget_helo()
        self._helo = name
        if Source.HELO in self._services.policy.sources:
            self._ask(_Topic.HELO, helo_resolves(self._services.resolver, name, self._deadline()))

    def forget_helo(self) -> None:
        """What was asked about the EHLO name is void."""
        self._helo = ""
        self._drop(_Topic.HELO)

    def about_sender(self, path: Path) -> None:
        """Ask whether the sender's domain takes mail; the null path has none to ask about (RFC 5321 4.5.5)."""
        self._drop(_Topic.SENDER)
        if path.domain and Source.SENDER in self._services.policy.sources:
            self._ask(_Topic.SENDER, sender_resolves(self._services.resolver, path.mailbox.domain, self._deadline()))

    async def answered(self) -> None:
        """Wait until everything asked is known or, by its deadline, unknown."""
        if self._tasks:
            await asyncio.wait(self._tasks.values())

    def client(self) -> Client:
        """What is known of the client by now; what is still under way counts as not asked."""
        if self._own_relay:
            return self._exempt()
        lists: dict[str, Answer[Codes]] = self._answer(_Topic.LISTS, {})
        name: Answer[ReverseDns] = self._told or self._answer(_Topic.REVERSE_DNS, NOT_ASKED)
        return Client(self._address, self._port, self._early_talker, name, lists)

    def helo(self) -> Helo:
        """What is known of the EHLO name by now."""
        if self._own_relay:
            return Helo(self._helo, is_address=False, resolves=Known(True))
        return Helo(self._helo, helo_is_address(self._helo), self._answer(_Topic.HELO, NOT_ASKED))

    def sender_resolves(self) -> Answer[bool]:
        """Whether the sender's domain takes mail; true where there was nothing to ask about."""
        return self.sender_answer() if _Topic.SENDER in self._tasks else Known(True)

    def sender_answer(self) -> Answer[bool]:
        """What was answered about the sender's domain, for who wants to know that nothing was asked."""
        return Known(True) if self._own_relay else self._answer(_Topic.SENDER, NOT_ASKED)

    async def close(self) -> None:
        """End what is still under way."""
        for topic in list(self._tasks):
            self._drop(topic)
        await asyncio.gather(*self._dropped, return_exceptions=True)

    def _exempt(self) -> Client:
        unlisted: dict[str, Answer[Codes]] = {each.name: Known(frozenset()) for each in self._services.policy.lists}
        name = ReverseDns(self._address.literal, confirmed=True)
        return Client(self._address, self._port, Known(False), Known(name), unlisted)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._services.settings.limits.envelope_deadline

    def _ask(self, topic: _Topic, question: Coroutine[Any, Any, object]) -> None:
        if self._own_relay:
            question.close()
            return
        self._tasks[topic] = asyncio.create_task(question, name=f"{topic} {self._address}")

    def _drop(self, topic: _Topic) -> None:
        task = self._tasks.pop(topic, None)
        if task is not None:
            task.cancel()
            self._dropped.append(task)

    def _answer(self, topic: _Topic, missing: T) -> T:
        task = self._tasks.get(topic)
        return cast(T, task.result()) if task is not None and task.done() else missing
