"""The folder of the running service: its lock, its control socket, its metrics. One service to a folder.

The lock is the supervisor's alone and goes with it, however it dies; so another can start while workers of one that was
killed still drain. The socket's path may be longer than a socket's address can be (107 octets, unix(7)): it is reached
through the folder's descriptor.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Final

SOCKET: Final = "control"
_LOCK: Final = "lock"


class CannotRun(Exception):
    """The folder cannot be used; the text says what to do."""


class RunDir:
    """The folder at ``path``, locked while this is entered.

    Attributes:
        left_behind: whether the service before left its control socket there: its supervisor was killed.

    Raises:
        CannotRun: on entering: it cannot be made or used, or another mailguard has it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1
        self._listened = False
        self.left_behind = False

    def __enter__(self) -> RunDir:
        """Make the folder, and lock it."""
        try:
            self.path.mkdir(mode=0o755, parents=True, exist_ok=True)
            self._lock = os.open(self.path / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.left_behind = (self.path / SOCKET).exists()
        except BlockingIOError as error:
            raise CannotRun(f"another mailguard runs with {self.path} (`run_dir`): name another folder") from error
        except OSError as error:
            raise CannotRun(
                f"{self.path} (`run_dir`) cannot be used: {error.strerror}; it must be a folder, or be made in one, in "
                "which the user that starts mailguard may make files (systemd: RuntimeDirectory=mailguard)"
            ) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the folder to others. What another left behind stays: who starts next is to see it."""
        if self._listened:
            (self.path / SOCKET).unlink(missing_ok=True)
        os.close(self._lock)

    def listen(self, group: int) -> socket.socket:
        """The control socket, open to this user, root, and ``group`` (-1: none).

        Raises:
            CannotRun: it cannot be made.
        """
        path = self.path / SOCKET
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        before = os.umask(0o177)
        try:
            path.unlink(missing_ok=True)  # of a supervisor that was killed: the lock is ours
            with _Folder(self.path) as folder:
                made.bind(f"{folder}/{SOCKET}")
            if group >= 0:
                os.chown(path, -1, group)
                path.chmod(0o660)
            made.listen(16)
            self._listened = True
        except OSError as error:
            made.close()
            raise CannotRun(f"{path} cannot be made (`run_dir`): {error.strerror}") from error
        finally:
            os.umask(before)
        return made


class NotRunning(Exception):
    """The service cannot be asked; the text says why, and what to do."""


def connect(folder: Path, seconds: float) -> socket.socket:
    """A connection to the control socket of the service in ``folder``; each call on it takes ``seconds`` at the most.

    Raises:
        NotRunning: nobody is there, or we may not.
    """
    path = folder / SOCKET
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.settimeout(seconds)
    try:
        with _Folder(folder) as short:
            made.connect(f"{short}/{SOCKET}")
    except OSError as error:
        made.close()
        raise NotRunning(_why(path, error)) from error
    return made


def _why(path: Path, error: OSError) -> str:
    if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
        return f"mailguard is not running: nobody listens at {path} (`run_dir` names the folder)"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"{path} is closed to this user: be root, mailguard's user, or in `processes.control_group`"
    return f"{path} cannot be used: {error.strerror or error}"


class _Folder:
    """A short name of a folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> str:
        self._descriptor = os.open(self._path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return f"/proc/self/fd/{self._descriptor}"

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)
