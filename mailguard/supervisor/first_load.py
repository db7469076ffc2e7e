"""The first load of the policy, while the first workers start: by a loader, as each later one (:mod:`.reload`).

So the supervisor hears signals and commands meanwhile, and a file that hangs what reads it, or ends it, does no more
than keep the service from starting. The loader reads the settings once more, by which it finds the policy and tells
mistakes with their lines; settings that somebody has changed since the sockets were bound by them are not served.
Launched before (:mod:`.early`), it is told here which user to be.

Failure: told once, by exit status and text. Units: seconds.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from mailguard.channel import PROTOCOL, Kind, Message
from mailguard.config import Settings
from mailguard.supervisor.child import Child, Launched, Role
from mailguard.supervisor.crew import Policy
from mailguard.supervisor.reactor import Reactor
from mailguard.supervisor.reload import changes


class FirstLoad:
    """Load the policy of ``settings``, which were read from ``configuration``, within ``seconds``.

    ``launch`` gives the loader.

    Either ``loaded`` or ``failed`` is called, once; neither after :meth:`abandon`.
    """

    def __init__(
        self,
        reactor: Reactor,
        configuration: Path,
        settings: Settings,
        launch: Callable[[], Launched],
        seconds: float,
        loaded: Callable[[Policy], None],
        failed: Callable[[int, str], None],
    ) -> None:
        self._configuration = configuration
        self._settings = settings
        self._loaded = loaded
        self._failed = failed
        self._bound = reactor.after(seconds, self._too_slow)
        self._loader: Child | None = Child(reactor, Role.LOADER, launch, self._heard, self._ended)
        self._loader.send(Kind.START, protocol=PROTOCOL, user=settings.user)

    def abandon(self) -> None:
        """Load it no more."""
        loader, self._loader = self._loader, None
        self._bound.cancel()
        if loader is not None:
            loader.kill("the service ends")

    def _heard(self, _loader: Child, message: Message) -> None:
        if self._loader is None:
            return
        self._loader = None
        self._bound.cancel()
        if message.kind is not Kind.LOADED:
            self._failed(os.EX_CONFIG, message.fields["text"])
        elif changed := changes(self._settings, Settings.model_validate(message.fields["settings"])):
            why = f"{self._configuration}: {', '.join(changed)} changed while mailguard started: start it again"
            self._failed(os.EX_TEMPFAIL, f"mailguard: {why}")
        else:
            self._loaded(Policy.loaded_by(message, 1, time.time()))

    def _ended(self, loader: Child) -> None:
        """It died, of something in what it reads."""
        if self._loader is not None:
            why = f"mailguard: {self._settings.policy}: what loads the policy ended: {loader.how_it_ended()}"
            status, why = loader.failure or (os.EX_SOFTWARE, why)
            self.abandon()
            self._failed(status, why)

    def _too_slow(self) -> None:
        self.abandon()
        seconds = self._settings.processes.start_timeout
        why = f"{self._settings.policy}: it was not loaded within `processes.start_timeout`, {seconds:g} s"
        self._failed(os.EX_TEMPFAIL, f"mailguard: {why}")
