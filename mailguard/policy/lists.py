"""Address lists of a policy: networks, domains and mailboxes, one a line or inline, looked up at the speed of a set.

``example.com`` is that domain alone, ``.example.com`` its subdomains alone (as Postfix writes them),
``user@example.com`` one mailbox, ``198.18.0.0/15`` a network. Case does not matter
(``mailguard.caseless``). A ``#`` begins a comment.

A file may hold a million entries, and is read while mail is served: what people write in one way is read the quick
way, and everything else by :mod:`ipaddress`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from typing import Final

from mailguard.caseless import lowered
from mailguard.positions import NoNetwork, Problem, Text, parse_network

_DOMAIN: Final = re.compile(r"\.?([^\s@.*/:#]{1,63}\.)*[^\s@.*/:#]{1,63}")
_NUMERIC: Final = re.compile(r"[0-9.:/a-fA-F]*[:/][0-9.:/a-fA-F]*|[0-9.]+")
_COMMENT: Final = re.compile(r"(^|\s)#.*")
_OCTETS: Final = {str(number): number for number in range(256)}
_LENGTHS: Final = {str(number): number for number in range(129)}

MAX_PROBLEMS: Final = 100
"""Lines of one file that are told of: a file that is no list at all would be a problem a line."""
MAX_ENTRY: Final = 512
"""Characters of an entry; the longest mailbox has 320 (RFC 5321, 4.5.3.1)."""


class Kind(StrEnum):
    """What is looked up in a list."""

    ADDRESS = "IP address"
    DOMAIN = "domain"
    MAILBOX = "mailbox"


_WANTED: Final = {
    Kind.ADDRESS: ("IP address or network", "write 198.18.1.10 or 198.18.0.0/15"),
    Kind.DOMAIN: ("domain", "write 'example.com' for that one, '.example.com' for those below it"),
}
"""What an entry must be that stands for one kind, and how it is written."""


class BadEntry(ValueError):
    """An entry that is neither network nor domain nor mailbox; ``hint`` says what it may have meant."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class AddressList:
    """Networks by version and prefix length, domains, parents of subdomains, mailboxes; texts in lower case."""

    networks: dict[tuple[int, int], set[int]] = field(default_factory=dict)
    domains: set[str] = field(default_factory=set)
    parents: set[str] = field(default_factory=set)
    mailboxes: set[str] = field(default_factory=set)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is in it."""
        return not (self.networks or self.domains or self.parents or self.mailboxes)

    def has_address(self, address: IPv4Address | IPv6Address) -> bool:
        """Whether ``address`` is in one of the networks."""
        mine, bits, number = (4, 32, int(address)) if isinstance(address, IPv4Address) else (6, 128, int(address))
        for (version, length), prefixes in self.networks.items():
            if version == mine and (number >> (bits - length)) in prefixes:
                return True
        return False

    def has_domain(self, domain: str) -> bool:
        """Whether ``domain`` is listed, or a domain above it with its subdomains."""
        name = lowered(domain).rstrip(".")
        if name in self.domains:
            return True
        while "." in name:
            name = name.partition(".")[2]
            if name in self.parents:
                return True
        return False

    def has_mailbox(self, mailbox: str) -> bool:
        """Whether the mailbox is listed, or its domain."""
        return lowered(mailbox) in self.mailboxes or self.has_domain(mailbox.rpartition("@")[2])

    def add(self, entry: str) -> None:
        """Add one entry.

        Raises:
            BadEntry: it is none.
        """
        if len(entry) > MAX_ENTRY:
            raise BadEntry(f"an entry of {len(entry)} characters is no network, domain or mailbox", "one entry a line")
        if (entry[:1].isdigit() or ":" in entry) and (plain := _plain(entry)):
            version, length, prefix = plain
            self.networks.setdefault((version, length), set()).add(prefix)
        elif "@" in entry:
            self._add_mailbox(entry)
        elif _NUMERIC.fullmatch(entry):
            self._add_network(_network(entry))
        elif entry.startswith("*."):
            raise BadEntry(f"`{entry}` is no domain", f"subdomains are written `{entry[1:]}`")
        elif _DOMAIN.fullmatch(entry):
            name = lowered(entry)
            (self.parents if name.startswith(".") else self.domains).add(name.lstrip("."))
        else:
            raise BadEntry(f"`{entry}` is no network, domain or mailbox", "one entry a line, without spaces")

    def add_of(self, kind: Kind, entry: str) -> None:
        """Add one entry that must be an IP address or network, or a domain, by ``kind``.

        Raises:
            BadEntry: it is none, or something else.
        """
        one = AddressList()
        one.add(entry)
        if not (one.networks if kind is Kind.ADDRESS else one.domains | one.parents) or "@" in entry:
            what, hint = _WANTED[kind]
            raise BadEntry(f"`{entry}` is no {what}", hint)
        self.add(entry)

    def _add_mailbox(self, entry: str) -> None:
        local, _, domain = entry.rpartition("@")
        if not _DOMAIN.fullmatch(domain) or domain.startswith("."):
            raise BadEntry(f"`{entry}` is no mailbox", "a mailbox is `user@example.com`")
        if local:
            self.mailboxes.add(lowered(entry))
        else:
            self.domains.add(lowered(domain))

    def _add_network(self, network: IPv4Network | IPv6Network) -> None:
        length = network.prefixlen
        prefix = int(network.network_address) >> (network.max_prefixlen - length)
        self.networks.setdefault((network.version, length), set()).add(prefix)


def _plain(entry: str) -> tuple[int, int, int] | None:
    """Version, length and prefix of an address or network as nearly all are written; None for all else."""
    address, slash, bits = entry.partition("/")
    try:
        version, size, number = _number(address)
        length = _LENGTHS[bits] if slash else size
    except (KeyError, ValueError):
        return None
    if length > size:
        return None
    prefix = number >> (size - length)
    return (version, length, prefix) if prefix << (size - length) == number else None


def _number(address: str) -> tuple[int, int, int]:
    """Version, bits and number of an IP address.

    Raises:
        KeyError, ValueError: it is none, or not plainly written.
    """
    if ":" in address:
        if "%" in address:
            raise ValueError("a scope is no part of a network")
        return 6, 128, int(IPv6Address(address))
    first, second, third, fourth = address.split(".")
    return 4, 32, _OCTETS[first] << 24 | _OCTETS[second] << 16 | _OCTETS[third] << 8 | _OCTETS[fourth]


def _network(entry: str) -> IPv4Network | IPv6Network:
    try:
        return parse_network(entry)
    except NoNetwork as error:
        raise BadEntry(str(error), error.hint) from None


def from_text(text: Text) -> tuple[AddressList, list[Problem]]:
    """The list in a file, one entry a line, and the lines that are none; after :data:`MAX_PROBLEMS` it stops."""
    result = AddressList()
    problems: list[Problem] = []
    for number, line in enumerate(text.lines, 1):
        entry = (_COMMENT.sub("", line) if "#" in line else line).strip()
        if not entry:
            continue
        try:
            result.add(entry)
        except BadEntry as error:
            if len(problems) == MAX_PROBLEMS:
                problems.append(Problem(text.file, number, 1, "the rest of this list has not been read"))
                break
            column = line.index(entry) + 1
            problems.append(Problem(text.file, number, column, str(error), error.hint, line.rstrip(), len(entry)))
    return result, problems
