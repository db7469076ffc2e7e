"""Addresses that the service before still holds: its supervisor was killed, and its workers end on their own.

They stop listening as soon as they see that they are alone, which one that starts, or whose loop is busy, sees late.
Whether there was such a service is seen by the control socket that it left behind (``run_dir``): where there was none
somebody else has the address, and no waiting helps. Units: seconds.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from typing import Final

from mailguard.log import logger
from mailguard.net.local import bind

_STEP: Final = 0.1
"""Between two tries."""


class PatientBind:
    """:func:`~mailguard.net.local.bind`, tried for ``seconds`` in all while an address is in use.

    Args:
        seconds: ``processes.bind_timeout``.
        clock: never goes back.
        sleep: waits.
    """

    def __init__(self, seconds: float, clock: Callable[[], float], sleep: Callable[[float], None]) -> None:
        self._seconds = seconds
        self._clock = clock
        self._sleep = sleep
        self._until = clock() + seconds
        self._told = False

    def __call__(self, address: str) -> socket.socket:
        """A socket bound to ``address``.

        Raises:
            OSError: it cannot be had, or not in time.
        """
        while True:
            try:
                return bind(address)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or self._clock() >= self._until:
                    raise
            self._tell(address)
            self._sleep(_STEP)

    def _tell(self, address: str) -> None:
        if not self._told:
            self._told = True
            why = "the supervisor before was killed, and a process of it still listens there: waiting for its end"
            logger.warning("address in use", address=address, error=why, seconds=self._seconds)
