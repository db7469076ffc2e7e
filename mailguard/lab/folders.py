"""Folders, users and ports for the laboratory's servers.

Started as root, Debian's servers give up root for a user of their own, who must be able to reach and write its folders;
started by anybody else, they keep that user, and nothing is chowned.
"""

from __future__ import annotations

import grp
import os
import pwd
import secrets
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import mailguard
from mailguard.lab.process import LabError

_FIRST_PORT, _LAST_PORT = 20_000, 32_000
"""Below Linux's ephemeral ports: no outgoing connection takes the port of a server that is down for a moment."""

_given: set[int] = set()


def is_root() -> bool:
    """Whether servers must be told to give up root."""
    return os.geteuid() == 0


def user_name(server_user: str) -> str:
    """Whom a server runs as: ``server_user`` where we are root, else ourselves."""
    return server_user if is_root() else pwd.getpwuid(os.geteuid()).pw_name


def group_name(server_group: str) -> str:
    """The group that goes with :func:`user_name`."""
    return server_group if is_root() else grp.getgrgid(os.getegid()).gr_name


def make_folder(path: Path, owner: str | None = None) -> Path:
    """Make ``path``, open to look into for everybody, and belonging to ``owner`` where we are root."""
    path.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.chmod(0o755)
    give(path, owner)
    return path


def give(path: Path, owner: str | None, group: str | None = None) -> None:
    """Make ``path`` belong to ``owner``, and to ``group`` where one is named, where we are root."""
    if owner and is_root():
        shutil.chown(path, owner, group)


def require_reachable(path: Path) -> None:
    """Check that users other than root can reach ``path``.

    Raises:
        LabError: a folder above it is closed to them.
    """
    for folder in (path, *path.parents) if is_root() else ():
        if not folder.stat().st_mode & stat.S_IXOTH:
            raise LabError(f"{path}: the servers' users cannot pass through {folder}; choose another scratch folder")


def free_port() -> int:
    """A loopback port on which nobody listens, for TCP and UDP alike, and which this process did not give before.

    Raises:
        LabError: there is none.
    """
    for port in _candidates():
        if port not in _given and _bindable(port):
            _given.add(port)
            return port
    raise LabError(f"no free port between {_FIRST_PORT} and {_LAST_PORT}")


def withhold(port: int) -> None:
    """Never give ``port``: somebody else takes it later."""
    _given.add(port)


def _candidates() -> Iterator[int]:
    """All ports, from a random one on, so that two laboratories seldom meet."""
    count = _LAST_PORT - _FIRST_PORT
    start = secrets.randbelow(count)
    return (_FIRST_PORT + (start + i) % count for i in range(count))


def _bindable(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def answers_datagram(port: int, question: bytes) -> bool:
    """Whether anything comes back from the loopback UDP port ``port`` for ``question``, within half a second."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(0.5)
        try:
            client.connect(("127.0.0.1", port))
            client.send(question)
            return bool(client.recv(512))
        except OSError:
            return False


def greets(address: tuple[str, int] | Path, greeting: bytes, farewell: bytes) -> bool:
    """Whether a server at a TCP address or a socket file begins with ``greeting``; it is then told ``farewell``."""
    family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(5)
        try:
            client.connect(str(address) if isinstance(address, Path) else address)
            said = client.recv(512)
            client.sendall(farewell)
            return said.startswith(greeting)
        except OSError:
            return False


def shipped(relative: str) -> Path:
    """A file or folder that comes with mailguard, like ``deploy/exim``, from the source tree or the installed package.

    Raises:
        LabError: there is none.
    """
    package = Path(mailguard.__file__).parent
    for root in (package.parent, package / "share"):
        if (root / relative).exists():
            return root / relative
    raise LabError(f"{relative} is neither in {package.parent} nor in {package / 'share'}")
