"""Addresses under pseudonyms, so that a journal that is read, lent or lost does not tell who wrote to whom.

A pseudonym is HMAC-SHA256 (RFC 2104) of an address under a key of the administrator's, cut to 80 bits: the same address
always has the same one, so that it can be searched for by whoever has the key, and nobody else can tell or try out
which address it is. A mailbox has one for its whole address and one for its domain, so that a domain can be searched
for too. Case of ASCII letters does not matter.

What is covered (``journal.pseudonymise``): ``client``, its address, its name and what it called itself; ``sender`` and
``recipient``, their mailboxes. Wherever else in the record such a text stands (our reply, a fact, a Message-ID), it is
replaced too. The log is not covered. Losing the key means that nothing can be searched for; a new one begins anew.
"""

from __future__ import annotations

import hmac
import re
from base64 import b32encode
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Final, TypeAlias

from mailguard.caseless import lowered
from mailguard.journal.form import Record

MARK: Final = "~"
"""What every pseudonym begins with: no address does."""
MIN_KEY: Final = 32
"""Octets of a key, at the least (RFC 2104 3: not shorter than the hash's output)."""
_OCTETS: Final = 10

NULL: Final = "<>"
Covered: TypeAlias = dict[str, str]
"""Pseudonyms by what they stand for, in small letters."""

_CLIENT_FACTS: Final = ("client.ip", "helo.name", "reverse_dns.name")


class Pseudonyms:
    """The pseudonyms under one key; ``whose`` of ``client``, ``sender`` and ``recipient`` are covered."""

    def __init__(self, key: bytes, whose: Collection[str]) -> None:
        self._key = key
        self._whose = frozenset(whose)

    def of(self, text: str) -> str:
        """The pseudonym of an address or a name that is no mailbox."""
        digest = hmac.digest(self._key, lowered(text).encode("utf-8", "replace"), "sha256")
        return MARK + b32encode(digest[:_OCTETS]).decode("ascii").lower()

    def of_mailbox(self, mailbox: str) -> str:
        """The pseudonym of a mailbox, ``LOCAL@DOMAIN`` or ``@DOMAIN``; the null path stays what it is."""
        if mailbox in ("", NULL):
            return mailbox
        local, at, domain = mailbox.rpartition("@")
        if not at:
            return self.of(mailbox)
        return f"{self.of(mailbox) if local else ''}@{self.of(domain)}"

    def cover(self, record: Record) -> Record:
        """``record`` with pseudonyms for all that is to be covered."""
        covered = dict(record)
        known: Covered = {}
        if "client" in self._whose:
            self._cover_client(covered, known)
        for role, name in (("sender", "sender"), ("recipient", "recipient"), ("recipient", "recipients")):
            if role in self._whose and name in covered:
                covered[name] = self._cover_mailboxes(covered[name], known)
        if "recipient" in self._whose and covered.get("others"):
            covered["others"] = [
                party | {"recipients": self._cover_mailboxes(party["recipients"], known)} for party in covered["others"]
            ]
        for role in self._whose & {"sender", "recipient"}:
            _each_decision(covered, self._facts_of_mailbox(role))
        return _replaced(covered, known) if known else covered

    def _cover_client(self, record: Record, known: Covered) -> None:
        client, helo = dict(record.get("client", {})), dict(record.get("helo", {}))
        reverse = client.get("reverse")
        if isinstance(reverse, dict) and reverse.get("name"):
            client["reverse"] = reverse | {"name": self._known(reverse["name"], known)}
        if "ip" in client:
            client["ip"] = self._known(client["ip"], known)
        if helo.get("name"):
            helo["name"] = self._known(helo["name"], known)
        record.update({name: value for name, value in (("client", client), ("helo", helo)) if value})
        _each_decision(record, lambda facts: {n: self.of(facts[n]) for n in _CLIENT_FACTS if facts.get(n)})

    def _cover_mailboxes(self, value: Any, known: Covered) -> Any:
        if isinstance(value, list):
            return [self._cover_mailboxes(each, known) for each in value]
        covered = self.of_mailbox(value)
        if value != NULL:
            known[lowered(value)] = covered
            domain = value.rpartition("@")[2]
            known.setdefault(lowered(domain), self.of(domain))  # of <postmaster> the mailbox itself, as above
        return covered

    def _facts_of_mailbox(self, role: str) -> Callable[[Mapping[str, str]], dict[str, str]]:
        hashed = {f"{role}.address": self.of_mailbox, f"{role}.local": self.of, f"{role}.domain": self.of}
        return lambda facts: {name: of(facts[name]) for name, of in hashed.items() if facts.get(name)}

    def _known(self, text: str, known: Covered) -> str:
        known[lowered(text)] = self.of(text)
        return known[lowered(text)]


def _each_decision(record: Record, change: Callable[[Mapping[str, str]], dict[str, str]]) -> None:
    """Make a copy of each decision in ``record``, with what ``change`` makes of its facts."""
    for stage in ("envelope", "content"):
        if isinstance(record.get(stage), dict):
            record[stage] = _decision(record[stage], change)
    if record.get("others"):
        record["others"] = [dict(party) for party in record["others"]]
        for party in record["others"]:
            _each_decision(party, change)


def _decision(decision: Mapping[str, Any], change: Callable[[Mapping[str, str]], dict[str, str]]) -> dict[str, Any]:
    facts = decision.get("facts") or {}
    changed = dict(decision) | {"facts": facts | change(facts)}
    if observed := changed.get("observed"):
        changed["observed"] = _decision(observed, change)
    return changed


_FREE_TEXTS: Final = frozenset(["text", "cause", "message_id", "exception", "unknown"])
"""Fields anywhere in a record that hold what somebody wrote, besides ``facts``."""


def _replaced(record: Record, known: Covered) -> Record:
    """``record`` with what is ``known`` replaced wherever it stands as a word of its own in free text.

    A word without a dot or a colon is left alone: it is no address, and a client that calls itself ``spam`` must not
    take that word out of our reply.
    """
    words = sorted((re.escape(word) for word in known if set(word) & set(".:@")), key=len, reverse=True)
    if not words:
        return record
    pattern = re.compile(rf"(?<![A-Za-z0-9])(?:{'|'.join(words)})(?![A-Za-z0-9])", re.IGNORECASE)

    def cover(text: str) -> str:
        return pattern.sub(lambda found: known.get(lowered(found[0]), MARK), text)

    return dict(_walked(record, cover, free=False))


def _walked(value: Mapping[str, Any], cover: Callable[[str], str], *, free: bool) -> Iterator[tuple[str, Any]]:
    for name, each in value.items():
        if isinstance(each, dict):
            yield name, dict(_walked(each, cover, free=name == "facts"))
        elif name == "others":
            yield name, [dict(_walked(party, cover, free=False)) for party in each]
        else:
            yield name, cover(each) if isinstance(each, str) and (free or name in _FREE_TEXTS) else each
