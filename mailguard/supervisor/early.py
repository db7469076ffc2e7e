"""The first loader, launched before the supervisor itself has imported what it needs (decision 0198).

What both import takes most of a start, and neither waits for the other so. The loader reads nothing before it is told
to, and by then knows which user to be.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from mailguard.supervisor.child import Launched, Role, launch


class EarlyLoader:
    """A loader of ``configuration``, which is ended on leaving unless somebody took it."""

    def __init__(self, configuration: Path) -> None:
        self.configuration = configuration
        self._launched: Launched | OSError | None = None

    def __enter__(self) -> EarlyLoader:
        """Launch it."""
        try:
            self._launched = launch(Role.LOADER, [str(self.configuration)])
        except OSError as error:  # told when it is wanted: what is wrong with the settings comes first
            self._launched = error
        return self

    def take(self) -> Launched:
        """The loader, which is the caller's to end from now on.

        Raises:
            OSError: it could not be started.
        """
        launched, self._launched = self._launched, None
        if not isinstance(launched, Launched):
            raise launched or RuntimeError("there is one loader")
        return launched

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it, if nobody took it."""
        if isinstance(self._launched, Launched):
            self._launched.end()
