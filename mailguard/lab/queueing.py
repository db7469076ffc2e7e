"""What the mail servers share that are *clients* of mailguard: mail enters by sendmail(1), waits in a queue, bounces.

All mail goes to one host but that for :data:`SENDERS`: it is delivered here, so that senders of that domain get their
bounces, and a test can read them.
"""

from __future__ import annotations

import os
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from mailguard.lab.process import LabError

SENDERS = "example.net"
"""The domain whose mail stays here."""

_COMMAND_TIMEOUT = 60.0
_LOG_TAIL = 2000


class Queueing(ABC):
    """One mail server that sends. ``folder`` holds its log, and the Maildir ``bounces``."""

    folder: Path
    main_log_name: ClassVar[str]
    """The path of its log in ``folder``."""

    @abstractmethod
    def submit(self, sender: str, recipients: Sequence[str], message: bytes) -> None:
        """Queue a message, line ends LF, and try to deliver it.

        Raises:
            LabError: it is not taken.
        """

    @abstractmethod
    def flush(self) -> None:
        """Try everything in the queue now."""

    @abstractmethod
    def queued(self) -> int:
        """How many messages wait."""

    @abstractmethod
    def busy(self) -> bool:
        """Whether a message in the queue was not tried yet, or is being tried."""

    def bounced(self) -> dict[str, bytes]:
        """Every bounce so far by its file's name, line ends LF. The names tell nothing of the order within a second."""
        return {path.name: path.read_bytes() for path in self.folder.glob("bounces/new/*")}

    def main_log(self) -> str:
        """Its log so far."""
        path = self.folder / self.main_log_name
        return path.read_text(errors="replace") if path.exists() else ""

    def run(self, command: Sequence[str], text: bytes = b"", environment: Mapping[str, str] | None = None) -> str:
        """Run a command of the server's own with ``text`` as standard input; its output.

        Raises:
            LabError: it failed; with the end of the log.
        """
        done = subprocess.run(  # noqa: S603 - the laboratory's own commands
            command,
            input=text,
            capture_output=True,
            timeout=_COMMAND_TIMEOUT,
            env={**os.environ, **(environment or {})},
        )
        if done.returncode:
            said = done.stderr.decode(errors="replace")
            raise LabError(f"{' '.join(command)}: status {done.returncode}: {said}\n{self.main_log()[-_LOG_TAIL:]}")
        return done.stdout.decode(errors="replace")
