"""A child process: a fresh interpreter, the channel to it, and what it last said.

One that cannot be started, for want of processes or memory, or while an upgrade replaces the interpreter, has ended at
once: whoever wanted it hears that as of any other, and tries again later.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from mailguard import channel
from mailguard.channel import Channel, ChannelClosed, Kind, Message
from mailguard.supervisor.reactor import Reactor


class Role(StrEnum):
    """What a child is for; its module is of this name."""

    WORKER = "worker"
    ADMIN = "admin"
    LOADER = "loader"


class State(StrEnum):
    """How far a child is."""

    STARTING = "starting"
    READY = "ready"
    ACCEPTING = "accepting"
    DRAINING = "draining"
    ENDED = "ended"


@dataclass
class Launched:
    """A process that begins, and our end of the channel to it."""

    channel: Channel
    process: subprocess.Popen[bytes]

    def end(self) -> None:
        """End it: nobody wants it."""
        self.process.kill()
        self.process.wait()
        self.channel.close()


class Child:
    """One process, which ``launch`` gives. ``heard`` is called with each of its messages, ``ended`` once, at its end.

    Attributes:
        slot: of a worker; no other living process has the same.
        generation: of a worker, which one it belongs to.
        started: when, by the reactor's clock.
        said: what it last said of itself.
        failure: exit status and reason, where it said why it could not start.
    """

    def __init__(
        self,
        reactor: Reactor,
        role: Role,
        launch: Callable[[], Launched],
        heard: Callable[[Child, Message], None],
        ended: Callable[[Child], None],
        slot: int = -1,
        generation: int = 0,
    ) -> None:
        self._reactor = reactor
        self._heard = heard
        self._ended = ended
        self.role, self.slot, self.generation = role, slot, generation
        self.state = State.STARTING
        self.started = self.last_heard = reactor.clock()
        self.said: dict[str, Any] = {}
        self.failure: tuple[int, str] | None = None
        self.killed = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel  # as long as there is a process
        try:
            launched = launch()
        except OSError as error:
            self.failure = (os.EX_OSERR, f"it cannot be started: {error.strerror}")
            reactor.after(0.0, self._end)
        else:
            self._channel, self._process = launched.channel, launched.process
            reactor.watch(self._channel, self._readable)

    @property
    def pid(self) -> int:
        """The number of the process; 0 where it could not be started."""
        return self._process.pid if self._process is not None else 0

    @property
    def alive(self) -> bool:
        """Whether its end has not been noticed yet."""
        return self.state is not State.ENDED

    @property
    def status(self) -> int:
        """How it ended: an exit status, or a signal's number negated."""
        return (self._process.returncode or 0) if self._process is not None else os.EX_OSERR

    def send(self, kind: Kind, descriptors: Sequence[int] = (), **fields: Any) -> None:
        """Tell it something; one that does not listen is killed."""
        if not self.alive or self._process is None:
            return
        try:
            self._channel.send(kind, descriptors, **fields)
        except ChannelClosed:
            self._lost()
        else:
            self._reactor.watch(self._channel, self._ready, write=self._channel.wants_to_write)

    def _ready(self) -> None:
        """The channel can be read or written."""
        try:
            self._channel.flush()
        except ChannelClosed:
            self._lost()
            return
        self._reactor.watch(self._channel, self._ready, write=self._channel.wants_to_write)
        self._readable()

    def _readable(self) -> None:
        try:
            messages = self._channel.receive()
        except ChannelClosed:
            self._lost()
            return
        for message in messages:
            self.last_heard = self._reactor.clock()
            if message.kind is Kind.FAILED:
                self.failure = (message.fields["status"], message.fields["text"])
            else:
                self.said.update(message.fields)
                self._heard(self, message)

    def _lost(self) -> None:
        """Its channel is closed: it ends by itself, or is made to."""
        self._reactor.forget(self._channel)
        self._reactor.after(1.0, lambda: self.kill("its channel is closed"))
        self.reap()

    def kill(self, why: str) -> None:
        """End it now."""
        if self._process is not None and self._lives():
            self.killed = self.killed or why
            self._process.kill()
        self.reap()

    def terminate(self, number: int) -> None:
        """Send it the signal ``number``."""
        if self._process is not None and self._lives():
            self._process.send_signal(number)

    def wait(self) -> None:
        """Wait for its end, behind :meth:`kill`."""
        if self._process is not None:
            self._process.wait()
        self.reap()

    def reap(self) -> None:
        """Notice its end, if it has ended."""
        if self.alive and not self._lives():
            self._end()

    def _lives(self) -> bool:
        return self.alive and self._process is not None and self._process.poll() is None

    def _end(self) -> None:
        if not self.alive:
            return
        if self._process is not None:
            self._drain_channel()
            self._reactor.forget(self._channel)
            self._channel.close()
        self.state = State.ENDED
        self._ended(self)

    def _drain_channel(self) -> None:
        """Hear what it said last."""
        try:
            while messages := self._channel.receive():
                for message in messages:
                    if message.kind is Kind.FAILED:
                        self.failure = (message.fields["status"], message.fields["text"])
                    else:
                        self._heard(self, message)
        except ChannelClosed:
            return

    def how_it_ended(self) -> str:
        """In words, for the log."""
        if self.killed:
            return f"killed: {self.killed}"
        if self.failure is not None:
            return self.failure[1]
        return f"signal {-self.status}" if self.status < 0 else f"exit status {self.status}"


def launch(role: Role, arguments: Sequence[str]) -> Launched:
    """Start a process.

    Raises:
        OSError: it cannot be started, or there is no descriptor left for the channel.
    """
    ours, theirs = channel.pair()
    try:
        with theirs:
            return Launched(ours, _started(role, theirs, arguments))
    except OSError:
        ours.close()
        raise


def _started(role: Role, theirs: socket.socket, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    """The process, which inherits its end of the channel.

    Raises:
        OSError: it cannot be started.
    """
    return subprocess.Popen(  # noqa: S603  our own modules, by this interpreter
        [sys.executable, *_safe_path(), "-m", "mailguard.children", role, str(theirs.fileno()), *arguments],
        stdin=subprocess.DEVNULL,
        pass_fds=[theirs.fileno()],
        process_group=0,  # Ctrl-C on the terminal is for the supervisor alone, which drains
    )


def _safe_path() -> list[str]:
    """``-P``, where this interpreter does not look for modules in the working folder either (decision 0104)."""
    return [] if sys.path and sys.path[0] in ("", str(Path.cwd())) else ["-P"]
