"""What systemd is told (sd_notify(3)), and the sockets that it hands over (sd_listen_fds(3)).

Without systemd there is no ``NOTIFY_SOCKET`` and no ``LISTEN_FDS``: nothing is told, nothing is handed over. What
systemd does not take is dropped: it must never hold up mail. The variables are taken out of the environment, so that no
child believes them to be its own.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import MutableMapping
from typing import Final

FIRST: Final = 3
"""The first descriptor that is handed over (SD_LISTEN_FDS_START)."""


class Notifier:
    """Tells the service manager of ``environment``, if there is one.

    Attributes:
        watchdog: seconds between two signs of life, half of what systemd allows; 0: it wants none.
    """

    def __init__(self, environment: MutableMapping[str, str], pid: int) -> None:
        address = environment.pop("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog = _watchdog(environment, pid) if address else 0.0
        # Made once: where descriptors have run out, this must still be said.
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) if address else None

    def tell(self, **state: object) -> None:
        """Send assignments, such as ``READY=1``."""
        if self._socket is None:
            return
        text = "\n".join(f"{name}={value}" for name, value in state.items())
        with contextlib.suppress(OSError):  # nobody reads, or it is full: systemd's watchdog says so if it matters
            self._socket.sendto(text.encode(), self._address)

    def close(self) -> None:
        """Tell nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _watchdog(environment: MutableMapping[str, str], pid: int) -> float:
    microseconds = environment.pop("WATCHDOG_USEC", "")
    whose = environment.pop("WATCHDOG_PID", "")
    meant = not whose or whose == str(pid)
    return int(microseconds) / 2e6 if meant and microseconds.isdigit() else 0.0


class BadHandover(Exception):
    """What was handed over is not what is configured; the text says what to do."""


def handed_over(environment: MutableMapping[str, str], pid: int) -> list[tuple[str, socket.socket]]:
    """The sockets that were handed to the process ``pid``, each with its name, in their order.

    Raises:
        BadHandover: they are no listening TCP sockets.
    """
    whose, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    if whose != str(pid) or not count.isdigit():
        return []
    names += [""] * int(count)
    return [(names[i], _checked(FIRST + i)) for i in range(int(count))]


def _checked(descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        taken = socket.socket(fileno=descriptor)
    except OSError as error:
        raise BadHandover(f"descriptor {descriptor} of LISTEN_FDS is no socket: {error.strerror}") from error
    if taken.family not in (socket.AF_INET, socket.AF_INET6) or taken.type != socket.SOCK_STREAM:
        raise BadHandover(
            f"descriptor {descriptor} of LISTEN_FDS is no TCP socket: use ListenStream= with an address and a port"
        )
    if not taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise BadHandover(f"descriptor {descriptor} of LISTEN_FDS does not listen: use Accept=no in the socket unit")
    return taken
