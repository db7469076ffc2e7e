"""The facts that a record of the journal holds, as the policy's engine takes them. Pure.

Answers of lists are matched by DNS zone, so that a policy that calls a list by another name gets its answers, and one
that calls another list by that name does not. What nobody asked then is unknown ("not asked"); what stands under a
pseudonym is hidden: a fact whose value is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address
from typing import Any, Final, TypeVar

from mailguard.clients import Clients
from mailguard.facts import (
    NOT_ASKED,
    NOT_LISTED,
    Answer,
    Cause,
    Client,
    ClientAddress,
    Codes,
    DnsblZone,
    Envelope,
    Helo,
    Known,
    Mailbox,
    Message,
    ReverseDns,
    SpamResult,
    Unknown,
    VirusResult,
)
from mailguard.hindsight.shape import Unreadable, check
from mailguard.journal.form import Record
from mailguard.journal.line import is_unknown

T = TypeVar("T")

_PSEUDONYM: Final = re.compile(r"~[a-z2-7]{16}")
"""As ``journal.pseudonyms`` makes them."""
_MARK: Final = "~"
_NOTHING: Final[frozenset[str]] = frozenset()
_NOBODY: Final = ClientAddress(IPv4Address(0))
"""In the place of an address that is hidden."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known for one recipient of one record; ``message`` is None where no content came."""

    client: Client
    envelope: Envelope
    message: Message | None


def facts_of(record: Record, lists: Sequence[DnsblZone]) -> Iterator[Facts]:
    """The facts for each recipient in ``record``, whose client the policy's ``lists`` are asked about.

    The record is checked at the call, and so before anything of it is used.

    Raises:
        Unreadable: it lacks what its version has, or something there is not of its type.
    """
    check(record)
    return _read(record, lists)


def _read(record: Record, lists: Sequence[DnsblZone]) -> Iterator[Facts]:
    try:
        yield from _facts_of(record, lists)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Unreadable(f"{record['ref']}: {error!r}") from error


def _facts_of(record: Record, lists: Sequence[DnsblZone]) -> Iterator[Facts]:
    client, message = _client(record["client"], lists), _message(record)
    helo, sender = _helo(record["helo"]), _mailbox(record["sender"])
    resolves = _truth(record["sender_resolves"]) if sender.domain else _TRUE
    hidden = _hidden_of_client(record)
    for written in record["recipients"] if "recipients" in record else (record["recipient"],):
        recipient = _mailbox(written)
        covered = hidden | _hidden("sender", sender) | _hidden("recipient", recipient)
        yield Facts(client, Envelope(helo, sender, recipient, resolves, covered), message)


def _answer(recorded: Any, form: Callable[[Any], T]) -> Answer[T]:
    if is_unknown(recorded):
        return _unknown(recorded["unknown"], recorded["cause"])
    return Known(form(recorded))


def _truth(recorded: Any) -> Answer[bool]:
    if recorded is True or recorded is False:
        return _TRUE if recorded else _FALSE
    return _unknown(recorded["unknown"], recorded["cause"])


_TRUE: Final = Known(True)
_FALSE: Final = Known(False)
_clients: Final = Clients()


# The same few come in most records. What is kept is bounded, and immutable.
@lru_cache(maxsize=1024)
def _unknown(why: str, cause: str) -> Unknown:
    return Unknown(why, Cause(cause))


@lru_cache(maxsize=65_536)
def _mailbox(written: str) -> Mailbox:
    return Mailbox.parse(written)


@lru_cache(maxsize=65_536)
def _address(written: str) -> ClientAddress:
    return _NOBODY if _is_pseudonym(written) else ClientAddress.parse(written)


# --- client and envelope ----------------------------------------------------------------------------------------------


def _client(recorded: Mapping[str, Any], lists: Sequence[DnsblZone]) -> Client:
    address = _address(recorded["ip"])
    return _clients.known(
        address,
        _truth(recorded["early_talker"]),
        _answer(recorded["reverse"], lambda name: ReverseDns(name["name"], name["confirmed"])),
        {each.name: _list_answer(recorded, each, address) for each in lists},
    )


def _list_answer(recorded: Mapping[str, Any], wanted: DnsblZone, address: ClientAddress) -> Answer[Codes]:
    """What ``wanted`` answered: nobody asks about a relay of ours, nor a list without IPv6 about an IPv6 client."""
    name, answers = _name_of(recorded, wanted), recorded["dnsbl"]
    if name is None or name not in answers:
        exempt = recorded["own_relay"] or (address.ip.version == 6 and not wanted.ipv6)
        return NOT_LISTED if exempt else NOT_ASKED
    unlisted_by_default = address.ip.version == 6 and not answers[name] and not recorded["own_relay"]
    if wanted.ipv6 and unlisted_by_default and name not in recorded.get("dnsbl_seconds", answers):
        return NOT_ASKED  # it was without IPv6 then
    return _answer(answers[name], _codes)


def _name_of(recorded: Mapping[str, Any], wanted: DnsblZone) -> str | None:
    """What the list was called then; records without zones are older than those, and names are all they have."""
    zones = recorded.get("zones")
    if zones is None or zones.get(wanted.name) == wanted.zone:
        return wanted.name
    return next((name for name, zone in zones.items() if zone == wanted.zone), None)


def _codes(recorded: Sequence[str]) -> Codes:
    return _same_codes(tuple(recorded)) if recorded else NOT_LISTED.value


@lru_cache(maxsize=1024)
def _same_codes(codes: tuple[str, ...]) -> Codes:
    return frozenset(map(IPv4Address, codes))


def _helo(recorded: Mapping[str, Any]) -> Helo:
    return Helo(recorded["name"], recorded["is_address"], _truth(recorded["resolves"]))


# --- content ----------------------------------------------------------------------------------------------------------


def _message(record: Record) -> Message | None:
    if "content" not in record:
        return None
    return Message(
        record["message_size"],
        _answer(record["virus"], lambda virus: VirusResult(virus["name"])),
        _answer(record["spam"], _spam),
    )


def _spam(recorded: Mapping[str, Any]) -> SpamResult:
    return SpamResult(
        recorded["score"],
        recorded["content_score"],
        recorded["required"],
        recorded["rules"],
        frozenset(recorded["tainted"]),
        recorded["truncated"],
    )


# --- pseudonyms -------------------------------------------------------------------------------------------------------


def _is_pseudonym(text: str) -> bool:
    return text.startswith(_MARK) and _PSEUDONYM.fullmatch(text) is not None


def _hidden_of_client(record: Record) -> frozenset[str]:
    reverse = record["client"]["reverse"]
    ip, helo, name = record["client"]["ip"], record["helo"]["name"], reverse.get("name", "")
    if not (ip.startswith(_MARK) or helo.startswith(_MARK) or name.startswith(_MARK)):
        return _NOTHING
    covered = {"client.ip": ip, "helo.name": helo, "reverse_dns.name": name}
    return frozenset(name for name, text in covered.items() if _is_pseudonym(text))


def _hidden(role: str, mailbox: Mailbox) -> frozenset[str]:
    if not _is_pseudonym(mailbox.domain or mailbox.local):
        return _NOTHING
    return frozenset({f"{role}.address", f"{role}.local", f"{role}.domain"})
