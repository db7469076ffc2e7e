"""The control socket: ``mailguard reload``, ``drain``, ``observe`` and ``status`` ask here.

One JSON object a connection, ended by a line feed, and one in answer: ``status`` (sysexits.h), ``lines`` to show, and
for ``status`` a ``report``. Who may connect may do all of it: the socket's owner and mode decide (``run_dir``).
Who does not say a command within ``processes.control_timeout``, or says too much, is cut; so are connections beyond
:data:`MAX_CONNECTIONS`. Where descriptors have run out, who asks waits. Nothing that comes in here ends the supervisor.
"""

from __future__ import annotations

import json
import math
import os
import socket
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final

from mailguard.log import logger
from mailguard.supervisor.reactor import Reactor, Timer
from mailguard.supervisor.reload import Outcome
from mailguard.supervisor.run_dir import RunDir
from mailguard.supervisor.supervisor import Supervisor

MAX_CONNECTIONS: Final = 16
MAX_COMMAND: Final = 4096
"""Octets."""
_DAY: Final = 86400.0
_REST: Final = 1.0
"""Seconds without a look at who waits, where the system has no means for him."""


class Control:
    """Serves the socket in ``folder`` while it is entered.

    Raises:
        CannotRun: on entering: it cannot be made.
    """

    def __init__(self, folder: RunDir, group: int, supervisor: Supervisor, reactor: Reactor) -> None:
        self._folder = folder
        self._group = group
        self.supervisor = supervisor
        self.reactor = reactor
        self.asking: set[_Asking] = set()
        self._resting: Timer | None = None

    def __enter__(self) -> Control:
        """Listen."""
        self._socket = self._folder.listen(self._group)
        self._socket.setblocking(False)
        self.reactor.watch(self._socket, self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Listen no more."""
        if self._resting is not None:
            self._resting.cancel()
        self.reactor.forget(self._socket)
        self._socket.close()
        for each in list(self.asking):
            each.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except BlockingIOError:  # it left again
            return
        except OSError as error:
            self._rest(error)
            return
        if len(self.asking) >= MAX_CONNECTIONS:
            connection.close()
            return
        self.asking.add(_Asking(self, connection))

    def _rest(self, error: OSError) -> None:
        """We have no descriptor or no memory for who waits, and would be told of him again at once: look later."""
        self.reactor.forget(self._socket)
        logger.warning("control socket rests", error=error.strerror, seconds=_REST)
        self._resting = self.reactor.after(_REST, lambda: self.reactor.watch(self._socket, self._accept))


class _Asking:
    """One who asks."""

    def __init__(self, control: Control, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._control = control
        self._connection = connection
        self._read = b""
        self._open = True
        reactor = control.reactor
        reactor.watch(connection, self._readable)
        self._bound = reactor.after(control.supervisor.settings.processes.control_timeout, self.close)

    def close(self) -> None:
        """Hang up."""
        if self._open:
            self._open = False
            self._bound.cancel()
            self._control.reactor.forget(self._connection)
            self._connection.close()
            self._control.asking.discard(self)

    def _readable(self) -> None:
        try:
            octets = self._connection.recv(MAX_COMMAND)
        except BlockingIOError:
            return
        except OSError:
            octets = b""
        self._read += octets
        if b"\n" in self._read and self._bound.action is not None:
            self._bound.cancel()
            self._obey()
        elif not octets or len(self._read) > MAX_COMMAND:
            self.close()

    def _obey(self) -> None:
        try:
            command = json.loads(self._read)
            name = command["command"]
            do = _COMMANDS[name]
        except (ValueError, KeyError, TypeError, RecursionError):  # the last: too many brackets
            self.answer(Outcome(os.EX_USAGE, ["this is no command: is it another version of mailguard?"]))
            return
        do(self._control.supervisor, command, self.answer)

    def answer(self, outcome: Outcome, **more: Any) -> None:
        """Say what became of it. The socket's buffer takes an answer whole, or the asker goes without."""
        if not self._open:
            return
        text = json.dumps({"status": outcome.status, "lines": outcome.lines, **more}).encode() + b"\n"
        try:
            self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(text))
            self._connection.send(text)
        except OSError:  # it has left
            self.close()
            return
        self.close()


Answer = Callable[..., None]


def _reload(supervisor: Supervisor, command: Mapping[str, Any], answer: Answer) -> None:
    supervisor.reload(force=bool(command.get("all")), done=answer)


def _drain(supervisor: Supervisor, _command: Mapping[str, Any], answer: Answer) -> None:
    seconds = supervisor.settings.limits.drain_timeout
    supervisor.drain()
    answer(Outcome(lines=[f"draining: messages in flight have {seconds:g} s; `mailguard drain` again ends at once"]))


def _observe(supervisor: Supervisor, command: Mapping[str, Any], answer: Answer) -> None:
    seconds, most = command.get("seconds"), supervisor.settings.processes.max_observe * _DAY
    if not isinstance(seconds, int | float) or isinstance(seconds, bool) or not 0 <= seconds <= math.inf:
        answer(Outcome(os.EX_USAGE, ["observe: for how long?"]))
    elif seconds > most:
        answer(Outcome(os.EX_USAGE, [f"observe: {most / _DAY:g} days at the most (`processes.max_observe`)"]))
    elif seconds == 0:
        supervisor.observe(0.0)
        answer(Outcome(lines=["the policy is enforced as it is written"]))
    else:
        until = time.time() + seconds
        supervisor.observe(until)
        when = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(until))
        answer(
            Outcome(lines=[f"only observing until {when}: rules with `mode: enforce` go on, no other refuses or files"])
        )


def _status(supervisor: Supervisor, _command: Mapping[str, Any], answer: Answer) -> None:
    answer(Outcome(), report=supervisor.status())


_COMMANDS: Final[Mapping[str, Callable[[Supervisor, Mapping[str, Any], Answer], None]]] = {
    "reload": _reload,
    "drain": _drain,
    "observe": _observe,
    "status": _status,
}
