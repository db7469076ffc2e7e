"""Who is examined: settings and policy, as far as they can be read, and what the examination may ask of this machine.

Settings that are well written are examined even where this machine says something against them (a certificate that is
not there, a port twice): that is one finding among others, and hides none. Blocking: files are read.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mailguard.config import Settings
from mailguard.dns.servers import Server, system_servers
from mailguard.doctor.kernel_clock import ClockState, clock_state
from mailguard.files import absolute, read_settings
from mailguard.policy.engine import CompiledPolicy
from mailguard.policy_files import draft_for
from mailguard.positions import Problem, Problems
from mailguard.settings_checks import problems_here


@dataclass(frozen=True, slots=True)
class Patient:
    """What is examined.

    Attributes:
        path: the settings' file; ``settings``: what it says, paths made absolute.
        problems: what this machine has against the settings.
        policy: None where it cannot be loaded; ``policy_problems`` say why.
        read: what the policy was read from, besides its own file: what it is (part, list, key, cases), and its place.
        fits: connections for which so many file descriptors are enough.
        now: seconds since the epoch; ``monotonic``: seconds of any origin.
        clock: how the machine's clock stands.
    """

    path: Path
    settings: Settings
    fits: Callable[[Settings, int], int]
    problems: tuple[Problem, ...] = ()
    policy: CompiledPolicy | None = None
    policy_problems: tuple[Problem, ...] = ()
    read: tuple[tuple[str, str], ...] = ()
    now: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic
    clock: Callable[[], ClockState] = clock_state

    @property
    def resolvers(self) -> list[Server]:
        """The resolvers that are asked.

        Raises:
            ValueError: there is none.
        """
        return [Server.parse(text) for text in self.settings.dns.servers] or system_servers()

    def within(self, seconds: float) -> Patient:
        """The same, with so many seconds for each part."""
        bounds = self.settings.doctor.model_copy(update={"timeout": seconds})
        return replace(self, settings=self.settings.model_copy(update={"doctor": bounds}))


def admit(
    path: Path, fits: Callable[[Settings, int], int], *, clock: Callable[[], ClockState] = clock_state
) -> Patient:
    """The patient of the settings in the file at ``path``; ``fits`` and ``clock`` as in :class:`Patient`.

    Raises:
        Problems: how the settings are written; then there is nothing to examine.
    """
    document, written = read_settings(path)
    here = tuple(problems_here(document, written))
    settings = absolute(written, path.parent.absolute())
    try:
        found = draft_for(settings)
    except Problems as error:
        return Patient(path, settings, fits, here, None, tuple(error.problems), clock=clock)
    return Patient(path, settings, fits, here, found.policy, read=found.read, clock=clock)
