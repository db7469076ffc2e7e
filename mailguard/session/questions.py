"""The questions about one client and its envelope: each asked once, early, and awaited only where a decision needs it.

They start as soon as there is something to ask about (flow.md, 1 and 2). Each
has its own bound, ``envelope_deadline`` from when it could first be asked: a client that dawdles before EHLO does
not starve the questions about its EHLO (docs/decisions/0003). What has not answered by then is unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias, TypeVar

from mailguard.checks.dnsbl import Said
from mailguard.checks.helo import helo_is_address, helo_resolves
from mailguard.checks.reverse_dns import reverse_dns
from mailguard.checks.sender import sender_resolves
from mailguard.clients import Clients
from mailguard.commands import Path
from mailguard.dns.inquiry import Inquiry
from mailguard.facts import NOT_ASKED, NOT_LISTED, Answer, Client, ClientAddress, Codes, Helo, Known, ReverseDns, Source
from mailguard.session.services import Services
from mailguard.smtp.admission import is_trusted

T = TypeVar("T")
_Answers: TypeAlias = Mapping[str, Answer[Codes]]
_NO_LISTS: Final[_Answers] = {}
_clients: Final = Clients()
_YES: Final = Known(True)
_ABOUT_HELO, _ABOUT_SENDER = Source.HELO, Source.SENDER  # CPython 3.11 calls a function for each look into an enum


class Questions:
    """The questions of one connection. ``close`` ends those still under way; nothing outlives the session.

    Every method that returns an answer raises what a check raised that it should not have: a bug defers.

    Attributes:
        own_relay: whether the client is a relay of ours, about which nothing is asked: its facts are given, not found.
        dnsbl_seconds: how long each list that was asked took to answer, by its name, as far as they have.
    """

    def __init__(self, services: Services, address: ClientAddress, told: Answer[ReverseDns] | None = None) -> None:
        """``told``: the client's name by the word of a peer that is trusted with it (XCLIENT); nobody is asked then."""
        self._services = services
        self._address = address
        self._told = told
        self.own_relay = is_trusted(address, services.settings.own_relays)
        self.dnsbl_seconds: dict[str, float] = {}
        self._early_talker: Answer[bool] = NOT_ASKED
        self._hello = ""
        self._lists: Inquiry[Said] | None = None
        self._reverse: Inquiry[Answer[ReverseDns]] | None = None
        self._helo: Inquiry[Answer[bool]] | None = None
        self._sender: Inquiry[Answer[bool]] | None = None
        self._client: Client | None = None
        """What is known of the client, once all is."""
        self._known_helo: Helo | None = None
        """The same of the EHLO name."""

    def about_client(self) -> None:
        """Ask the lists and the reverse DNS about the connecting address, and nothing else about it ever."""
        if self.own_relay:
            return
        services, address, deadline = self._services, self._address, self._deadline()
        if services.loaded.lists:
            self._lists = services.dnsbl.ask(address, deadline, self.dnsbl_seconds)
        if self._told is None:
            self._reverse = reverse_dns(services.resolver, address, deadline)

    def early_talker(self, answer: Answer[bool]) -> None:
        """Take note whether the client spoke before the greeting."""
        self._early_talker, self._client = answer, None

    def about_helo(self, name: str) -> None:
        """Ask whether the EHLO name resolves; a new EHLO forgets the old one (RFC 5321 4.1.4)."""
        self.forget_helo()
        self._hello = name
        services = self._services
        if _ABOUT_HELO in services.loaded.sources and not self.own_relay:
            self._helo = helo_resolves(services.resolver, name, self._deadline())

    def forget_helo(self) -> None:
        """What was asked about the EHLO name is void."""
        _drop(self._helo)
        self._hello, self._helo, self._known_helo = "", None, None

    def about_sender(self, path: Path) -> None:
        """Ask whether the sender's domain takes mail; the null path has none to ask about (RFC 5321 4.5.5)."""
        _drop(self._sender)
        self._sender = None
        services = self._services
        if path.domain and _ABOUT_SENDER in services.loaded.sources and not self.own_relay:
            self._sender = sender_resolves(services.resolver, path.mailbox.domain, self._deadline())

    async def answered(self) -> None:
        """Wait until everything asked is known or, by its deadline, unknown."""
        for inquiry in self._all():
            if inquiry is not None and not inquiry.done:
                await inquiry.settled()

    def client(self) -> Client:
        """What is known of the client by now, the same object once all is; what is under way counts as not asked."""
        if self._client is not None:
            return self._client
        if self.own_relay:
            self._client = self._exempt()
            return self._client
        if not (_ended(self._lists) and _ended(self._reverse)):
            return self._found(Client)
        self._client = self._found(_clients.known)
        return self._client

    def helo(self) -> Helo:
        """What is known of the EHLO name by now, the same object once all is."""
        if self._known_helo is not None:
            return self._known_helo
        if self.own_relay:
            helo = Helo(self._hello, is_address=False, resolves=_YES)
        else:
            helo = Helo(self._hello, helo_is_address(self._hello), _known(self._helo) or NOT_ASKED)
        if _ended(self._helo):
            self._known_helo = helo
        return helo

    def sender_resolves(self) -> Answer[bool]:
        """Whether the sender's domain takes mail; true where there was nothing to ask about."""
        return _YES if self._sender is None else self.sender_answer()

    def sender_answer(self) -> Answer[bool]:
        """What was answered about the sender's domain, for who wants to know that nothing was asked."""
        return _YES if self.own_relay else _known(self._sender) or NOT_ASKED

    def close(self) -> None:
        """End what is still under way."""
        for inquiry in self._all():
            if inquiry is not None and not inquiry.done:
                inquiry.call_off()

    def _all(self) -> tuple[Inquiry[Any] | None, ...]:
        return self._lists, self._reverse, self._helo, self._sender

    def _found(self, known: Callable[[ClientAddress, Answer[bool], Answer[ReverseDns], _Answers], Client]) -> Client:
        said, name = _known(self._lists), self._told or _known(self._reverse) or NOT_ASKED
        return known(self._address, self._early_talker, name, _NO_LISTS if said is None else said.answers)

    def _exempt(self) -> Client:
        unlisted: dict[str, Answer[Codes]] = {each.name: NOT_LISTED for each in self._services.loaded.lists}
        name = ReverseDns(self._address.literal, confirmed=True)
        return Client(self._address, Known(False), Known(name), unlisted)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._services.settings.limits.envelope_deadline


def _drop(inquiry: Inquiry[Any] | None) -> None:
    if inquiry is not None:
        inquiry.call_off()


def _known(inquiry: Inquiry[T] | None) -> T | None:
    return inquiry.result() if inquiry is not None and inquiry.done else None


def _ended(inquiry: Inquiry[Any] | None) -> bool:
    return inquiry is None or inquiry.done
