"""What a session needs of the outside, assembled once by the worker and never changed under a session.

A reload of the policy makes a new :class:`Services`; a session keeps the one that it began with (architecture.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from mailguard.checks.dnsbl import Dnsbl
from mailguard.config import Settings
from mailguard.dns.resolver import Resolver
from mailguard.journal.recorder import Recorder
from mailguard.policy.engine import CompiledPolicy
from mailguard.relay import Relay
from mailguard.scanners.clamav import Clamav
from mailguard.scanners.spamassassin import Spamassassin
from mailguard.session.observing import Switch
from mailguard.session.spooling import Spooling


@dataclass(frozen=True, slots=True)
class Services:
    """One immutable set of everything that a session asks.

    Attributes:
        loaded: the policy as it is written.
        switch: whether it is only observed for now.
        now: the wall clock, aware of its zone, for the date in Received (RFC 5321 4.4), which holds whole seconds.
    """

    settings: Settings
    loaded: CompiledPolicy
    switch: Switch
    resolver: Resolver
    dnsbl: Dnsbl
    relay: Relay
    clamav: Clamav
    spamassassin: Spamassassin
    spooling: Spooling
    recorder: Recorder
    now: Callable[[], datetime]

    @property
    def policy(self) -> CompiledPolicy:
        """The policy as it holds at this moment."""
        return self.loaded.only_observed if self.switch.on else self.loaded
