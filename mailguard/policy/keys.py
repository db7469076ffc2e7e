"""Keys of DNS lists: a list may be asked under a name that holds a customer's key, which nobody else shall learn.

A policy says where the key is (``key: {file: FILE}`` or ``{env: NAME}``) and where it stands in the zone
(``zone: "{key}.zen.dq.spamhaus.net"``). It is a :class:`~mailguard.secret.Secret` from the moment when it is read, and
part of the name that is asked alone: replies, log and journal call the zone what is left of it: zen.dq.spamhaus.net.

A key that is not at hand does not keep a policy from being checked and tested, for cases need none; the service does
not start without it. Pure: keys are handed in by a :data:`KeyReader`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from mailguard.policy.finding import Finding, Kind
from mailguard.policy.schema import KEY_IN_ZONE, MAX_ZONE, DnsblEntry, KeyEntry, KeyFile, PolicyFile
from mailguard.positions import Document, Path, Problem
from mailguard.secret import Secret

_LABEL: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_AS_GIVEN: Final = "it holds the key alone, on one line, as the operator of the list gave it to you"


class MissingKey(Exception):
    """A key that is not at hand; the message says why."""


class BadKey(ValueError):
    """What stands where a key should is none; the message says what is wrong, and shows nothing of it."""


@dataclass(frozen=True, slots=True)
class Key:
    """A key that was read. ``exposed``: who else may read it, for a warning; empty where nobody may."""

    secret: Secret
    exposed: str = ""


KeyReader: TypeAlias = Callable[[KeyEntry], Key]
"""Reads the key that an entry names; raises :class:`MissingKey` or :class:`BadKey`."""


@dataclass(slots=True)
class Keys:
    """The keys of a policy, by the name of the list.

    Attributes:
        found: those that are at hand.
        missing: what to say of each that is not.
        warnings: about them all.
    """

    found: dict[str, Secret] = field(default_factory=dict)
    missing: dict[str, Problem] = field(default_factory=dict)
    warnings: list[Finding] = field(default_factory=list)


def not_read(entry: KeyEntry) -> Key:
    """A reader of no key at all.

    Raises:
        MissingKey: always.
    """
    raise MissingKey(f"{told(entry)} is not read here")


def told(entry: KeyEntry) -> str:
    """Where a key is, for a sentence."""
    return entry.file if isinstance(entry, KeyFile) else f"the environment variable {entry.env}"


def parse(text: str) -> Secret:
    """The key that ``text`` holds, blanks and line ends around it left out.

    Raises:
        BadKey: none, or something that cannot be a label of a DNS name (RFC 1035 2.3.1).
    """
    key = text.strip()
    if not key:
        raise BadKey("holds nothing")
    if not _LABEL.fullmatch(key):
        raise BadKey("holds no key: one is up to 63 letters and digits")
    return Secret(key.lower())


def read_keys(document: Document, schema: PolicyFile, read: KeyReader, problems: list[Problem]) -> Keys:
    """The keys that the lists of a policy have; what is wrong with one is added to ``problems``."""
    keys = Keys()
    for name, entry in schema.dnsbl.items():
        if entry.key is not None:
            _read(document, name, entry, entry.key, read, keys, problems)
    return keys


def _read(
    document: Document,
    name: str,
    entry: DnsblEntry,
    where: KeyEntry,
    read: KeyReader,
    keys: Keys,
    problems: list[Problem],
) -> None:
    path: Path = ("dnsbl", name, "key")
    try:
        key = read(where)
    except MissingKey as error:
        message = f"the key of the list `{name}` is not at hand: {error}"
        keys.missing[name] = document.key_problem(path, message, "the service does not start without it")
        keys.warnings.append(Finding(Kind.NO_KEY, keys.missing[name], name))
        return
    except BadKey as error:
        message = f"the key of the list `{name}` cannot be used: {told(where)} {error}"
        problems.append(document.key_problem(path, message, _AS_GIVEN))
        return
    if len(key.secret.revealed()) + len(entry.zone) - len(KEY_IN_ZONE) > MAX_ZONE:
        message = f"with its key the zone of the list `{name}` is longer than {MAX_ZONE} octets"
        problems.append(document.key_problem(path, message, _AS_GIVEN))
    if key.exposed:
        message = f"the key of the list `{name}` is open to {key.exposed}"
        hint = f"chmod o= {told(where)}, and think of a new key: this one may be known"
        keys.warnings.append(Finding(Kind.KEY, document.key_problem(path, message, hint), name))
    keys.found[name] = key.secret
