"""What all servers of the laboratory share: a folder, an address, start, stop, kill, start again on the same port."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from mailguard.lab.folders import make_folder, user_name
from mailguard.lab.process import LabError, Process, find_program


class Server(ABC):
    """One real server with its configuration in ``folder``, which is made.

    A subclass writes its configuration in its constructor, so that a server keeps its ports over :meth:`start`.

    Raises:
        LabError: from the constructor where it is not installed, from :meth:`start` where it is not ready in time.
    """

    program: ClassVar[str]
    """The binary's name."""
    package: ClassVar[str]
    """The Debian package that holds it."""
    user: ClassVar[str]
    """The user that the server becomes when it is started as root."""
    environment: Mapping[str, str] = {}

    def __init__(self, folder: Path) -> None:
        self.binary = find_program(self.program, self.package)
        self.folder = make_folder(folder)
        self.run_as = user_name(self.user)
        self.log = folder / "output.log"
        self._process: Process | None = None

    @property
    @abstractmethod
    def address(self) -> str:
        """Where the server listens: ``host:port`` or ``unix:/path``, as mailguard's settings take it."""

    @abstractmethod
    def command(self) -> list[str]:
        """Program and arguments that keep the server in the foreground."""

    @abstractmethod
    def answers(self) -> bool:
        """Whether the server does its work now: asked until it does, so False also where nobody listens yet."""

    @property
    def running(self) -> bool:
        """Whether the server runs."""
        return self._process is not None and self._process.running

    @property
    def process(self) -> Process:
        """The running server's process.

        Raises:
            LabError: it was never started.
        """
        if self._process is None:
            raise LabError(f"{self.program} was not started")
        return self._process

    def start(self) -> Self:
        """Start the server, unless it runs, and wait until it answers."""
        if not self.running:
            self._process = Process(self.command(), self.log, self.environment)
            self._process.wait_ready(self.answers)
        return self

    def stop(self) -> None:
        """End the server as an administrator would; harmless where it does not run."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """End the server and its children as a crash would; harmless where it does not run."""
        if self._process is not None:
            self._process.kill()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
