"""The recipients of a policy and their profiles, as a file that a mail server looks them up in.

The form is Exim's ``lsearch*@`` (Exim specification 9.3, 9.6): a key in quotes, a colon, a value; asked for an address,
Exim takes the line of that address, else that of ``*@`` and its domain, else that of ``*``, whatever their order. A
policy takes the first entry that matches, whatever its form. So each line says what the *policy* gives to the addresses
that Exim will come to that line with. Keys are in small letters, and Exim compares them without regard to case. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from mailguard.facts import Mailbox
from mailguard.policy.rules import Profiles, RecipientMatch

EVERYBODY: Final = "*"


def lookups(profiles: Profiles) -> Iterator[tuple[str, str]]:
    """Each key and its profile: addresses, then domains as ``*@example.com``, ``*`` last."""
    patterns = dict.fromkeys(pattern for match in profiles.recipients for pattern in sorted(match.patterns))
    addresses = [pattern for pattern in patterns if pattern.rpartition("@")[0]]
    domains = [pattern for pattern in patterns if pattern.startswith("@") and pattern not in addresses]
    for address in addresses:
        local, _, domain = address.rpartition("@")
        yield address, profiles.name(Mailbox(local, domain))
    whole = replace(profiles, recipients=tuple(_without_addresses(match) for match in profiles.recipients))
    for domain in domains:
        yield f"{EVERYBODY}{domain}", whole.name(Mailbox("", domain.removeprefix("@")))
    yield EVERYBODY, profiles.recipients[-1].profile


def _without_addresses(match: RecipientMatch) -> RecipientMatch:
    """What ``match`` says of those whom no entry names by their address."""
    return replace(match, patterns=frozenset(p for p in match.patterns if not p.rpartition("@")[0]))


def lsearch_text(profiles: Profiles, digest: str) -> str:
    """The file; ``digest``: of the policy, for a comment."""
    lines = [f'"{_escaped(key)}": {profile}' for key, profile in lookups(profiles)]
    return "\n".join([f"# Profiles of recipients, by mailguard, for Exim (lsearch*@); policy {digest}", *lines, ""])


def _escaped(key: str) -> str:
    return key.replace("\\", "\\\\").replace('"', '\\"')
