"""One server process: started in a session of its own, waited for, stopped, killed, and never left behind.

Every wait has a bound in seconds. Output goes to a log file, whose end is part of every :class:`LabError`. When this
process dies, in whatever way, :mod:`mailguard.lab.guardian` kills what it had started.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from mailguard.lab import guardian

READY_TIMEOUT = 60.0
"""Seconds in which a server must be ready: spamd on a busy machine is the slow one."""

STOP_TIMEOUT = 60.0
"""Seconds that a server has to end after SIGTERM, before SIGKILL: mailguard lets messages end first."""

_POLL = 0.02
_LOG_TAIL = 2000

# The shell tells the guardian its process id, which exec keeps, before the server can start anything: no gap.
_ANNOUNCE = 'echo "+$$" >&0 && exec "$@" </dev/null'


class LabError(Exception):
    """A server is missing, did not get ready, or did not end; the text says what to do, or shows the end of its log."""


def find_program(name: str, package: str) -> str:
    """The path of ``name``, also where only root's PATH would have it.

    Raises:
        LabError: it is not installed.
    """
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin")
    if path is None:
        raise LabError(
            f"{name} is not installed: `make run` and `make test` install what they need (Debian package {package})"
        )
    return path


def wait_until(ready: Callable[[], bool], what: str, timeout: float = READY_TIMEOUT) -> None:
    """Return as soon as ``ready()``, asked every few milliseconds, is true.

    Raises:
        LabError: not within ``timeout`` seconds; the text names ``what``.
    """
    deadline = time.monotonic() + timeout
    while not ready():
        if time.monotonic() > deadline:
            raise LabError(f"{what}: not within {timeout:g} s")
        time.sleep(_POLL)


@functools.cache
def _guardian() -> int:
    """The pipe to this process's guardian, started at the first call (its end is told by end of file, see there)."""
    reader, writer = os.pipe()
    process = subprocess.Popen(  # noqa: S603 - our own interpreter and script
        [sys.executable, "-I", "-S", guardian.__file__], stdin=reader, start_new_session=True
    )
    os.close(reader)

    def dismiss() -> None:
        os.close(writer)
        process.wait(STOP_TIMEOUT)

    atexit.register(dismiss)
    return writer


def remove_at_the_end(folder: Path) -> None:
    """Have ``folder`` removed when this process has ended, in whatever way."""
    os.write(_guardian(), f"{folder}\n".encode())


class Process:
    """A running server.

    Args:
        command: program and arguments; it must stay in the foreground.
        log: the file that takes its standard output and error, appended to.
        environment: variables besides those of this process.
    """

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        self.log = log
        self._name = Path(command[0]).name
        with log.open("ab") as output:
            self._popen = subprocess.Popen(  # noqa: S603 - the laboratory's own commands
                ["/bin/sh", "-c", _ANNOUNCE, "sh", *command],
                stdin=_guardian(),
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )

    @property
    def pid(self) -> int:
        """The server's process id; also its process group and session."""
        return self._popen.pid

    @property
    def running(self) -> bool:
        """Whether the server itself still runs."""
        return self._popen.poll() is None

    def wait_ready(self, ready: Callable[[], bool], timeout: float = READY_TIMEOUT) -> None:
        """Wait until ``ready()``; a server that ended or is too slow is killed.

        Raises:
            LabError: it is not ready; with the end of its log.
        """

        def ready_or_gone() -> bool:
            return not self.running or ready()

        try:
            wait_until(ready_or_gone, f"{self._name} is ready", timeout)
            if not self.running:
                raise LabError(f"{self._name} ended at once with status {self._popen.returncode}")
        except LabError as error:
            self.kill()
            raise LabError(f"{error}\n{self.log_tail()}") from None

    def signal(self, number: signal.Signals) -> None:
        """Send one signal to the server itself."""
        self._popen.send_signal(number)

    def wait(self, timeout: float = STOP_TIMEOUT) -> int:
        """The exit status of the server itself, once it has ended; a signal's number is negated.

        Raises:
            LabError: it still runs after ``timeout`` seconds.
        """
        try:
            return self._popen.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{self._name} has not ended within {timeout:g} s") from error

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """SIGTERM to the server, which ends its children; SIGKILL to all that is left after ``timeout`` seconds."""
        if self.running:
            self._popen.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):  # kill() below does what SIGTERM did not
                self._popen.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to the server and all its descendants; when this returns none of them runs.

        Raises:
            LabError: a process cannot be killed (it hangs in the kernel).
        """
        if self.running:
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait(STOP_TIMEOUT)
        wait_until(lambda: guardian.kill_session(self.pid), f"every process of {self._name} is dead", STOP_TIMEOUT)
        os.write(_guardian(), b"-%d\n" % self.pid)

    def log_tail(self) -> str:
        """The last lines of the log."""
        text = self.log.read_text(errors="replace")[-_LOG_TAIL:]
        return f"--- end of {self.log}\n{text}"
