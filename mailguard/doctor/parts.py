"""The parts, in the order in which they are told of: one line each, and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mailguard.doctor import (
    backends,
    clamav,
    clock,
    descriptors,
    disk,
    lists,
    own_files,
    permissions,
    ports,
    resolver,
    spamassassin,
    tls,
)
from mailguard.doctor.examination import Examine, beside
from mailguard.doctor.notes import Notes


@dataclass(frozen=True, slots=True)
class Part:
    """A part that can be examined.

    Attributes:
        name: as in ``--only``.
        help: what is looked at.
        configuration: whether what fails in it is the configuration's fault, and no waiting helps.
    """

    name: str
    help: str
    examine: Examine
    configuration: bool = False

    def notes(self) -> Notes:
        """Empty notes for it."""
        return Notes(self.name, self.configuration)


PARTS: Final = (
    Part("configuration", "what this machine has against the settings", own_files.configuration, True),
    Part("policy", "whether it loads, and its cases pass", own_files.policy, True),
    Part("resolver", "answers, tells the truth about names that do not exist, is no public one", resolver.examine),
    Part("lists", "each DNS list's test points, and that it does not list everything", lists.examine),
    Part("clamav", "PING, signatures' age, EICAR, AlertExceedsMax, the longest message", clamav.examine),
    Part("spamassassin", "PING, GTUBE, mailguard.cf, trusted_networks, the taint list", spamassassin.examine),
    Part("backends", "EHLO, TLS, postmaster, PROXY or XCLIENT, open relay", backends.examine),
    Part("tls", "our certificate: key, dates, name, chain", beside(tls.examine), True),
    Part("clock", "synchronised, by the kernel's word", beside(clock.examine)),
    Part("disk", "room and inodes for spool and journal", beside(disk.examine)),
    Part("permissions", "who may write configuration and read secrets", beside(permissions.examine), True),
    Part("ports", "free, or taken by mailguard itself", beside(ports.examine)),
    Part("descriptors", "enough open files for all connections", descriptors.examine, True),
)
BY_NAME: Final = {part.name: part for part in PARTS}
