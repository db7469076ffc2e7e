"""What the supervisor and its children tell one another: a JSON object a line, over a pair of unix sockets.

A message may carry file descriptors (SCM_RIGHTS, unix(7)): listening sockets, a snapshot of the policy. Neither end
ever waits for the other: what does not fit into the socket now waits in memory and goes with the next message or
:meth:`Channel.flush`. An end that reads nothing for long would let that grow without end, so past :data:`MAX_WAITING`
the channel counts as closed; so it does at the other's end, however that died. Whoever holds a closed channel acts as
though the other process were gone: a worker drains and ends, the supervisor replaces its child.

Nothing here knows an event loop: the supervisor asks it with ``selectors``, a worker with its loop's ``add_reader``.
"""

from __future__ import annotations

import json
import os
import select
import socket
from array import array
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

PROTOCOL: Final = 3
"""Changes with what the messages mean: after an upgrade a supervisor may start children of another version."""
MAX_LINE: Final = 4 * 1024 * 1024
"""Octets of one message: settings with very long lists of networks, problems of a policy."""
MAX_WAITING: Final = 2 * MAX_LINE
"""Octets that may wait for a process that does not read."""
MAX_DESCRIPTORS: Final = 250
"""Descriptors of one message; Linux takes 253 (SCM_MAX_FD)."""
_READ: Final = 65536
_ROOM: Final = socket.CMSG_SPACE(MAX_DESCRIPTORS * array("i").itemsize)


class Kind(StrEnum):
    """What a message is about. To a child:"""

    START = "start"
    ACCEPT = "accept"
    DRAIN = "drain"
    STOP = "stop"
    PREPARE = "prepare"
    COMMIT = "commit"
    CERTIFICATE = "certificate"
    OBSERVE = "observe"
    HEALTH = "health"
    # ... and from one
    READY = "ready"
    FAILED = "failed"
    STATE = "state"
    PREPARED = "prepared"
    LOADED = "loaded"
    REFUSED = "refused"


class ChannelClosed(Exception):
    """The other end is gone, or no use: it does not read, or sends what is no message."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message: what it is about, its fields, and descriptors, which are the receiver's to close."""

    kind: Kind
    fields: Mapping[str, Any] = field(default_factory=dict)
    descriptors: tuple[int, ...] = ()


class Channel:
    """One end, over the connected stream socket ``end``, which it owns."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end
        self._waiting: deque[tuple[bytearray, tuple[int, ...]]] = deque()
        self._octets = 0
        self._read = bytearray()
        self._descriptors: deque[int] = deque()

    def fileno(self) -> int:
        """For ``select``."""
        return self._end.fileno()

    @property
    def wants_to_write(self) -> bool:
        """Whether something waits for the other end to read."""
        return bool(self._waiting)

    def send(self, kind: Kind, descriptors: Sequence[int] = (), **fields: Any) -> None:
        """Send a message, as far as the other end takes it now. ``descriptors`` stay open here, and may be closed.

        Raises:
            ChannelClosed: nobody reads any more, or no descriptor is left to send ``descriptors``.
            ValueError: it is longer than a message may be.
        """
        line = json.dumps({"kind": kind, "descriptors": len(descriptors), **fields}).encode() + b"\n"
        if len(line) > MAX_LINE or len(descriptors) > MAX_DESCRIPTORS:
            raise ValueError(f"a message of {len(line)} octets and {len(descriptors)} descriptors is too long")
        self._octets += len(line)
        if self._octets > MAX_WAITING:
            raise ChannelClosed("the other end does not read")
        self._waiting.append((bytearray(line), _duplicates(descriptors)))
        self.flush()

    def flush(self) -> None:
        """Send what waits, as far as the other end takes it now.

        Raises:
            ChannelClosed: nobody reads any more.
        """
        while self._waiting:
            line, descriptors = self._waiting[0]
            try:
                sent = socket.send_fds(self._end, [line], descriptors) if descriptors else self._end.send(line)
            except BlockingIOError:
                return
            except OSError as error:
                raise ChannelClosed(error.strerror or str(error)) from error
            _close(descriptors)  # they went with the first octet
            self._octets -= sent
            del line[:sent]
            self._waiting[0] = (line, ())
            if not line:
                self._waiting.popleft()

    def wait_to_write(self) -> None:
        """Wait until the other end takes more, and send it; for a process that has nothing else to do.

        Raises:
            ChannelClosed: nobody reads any more.
        """
        select.select([], [self._end], [])
        self.flush()

    def receive(self) -> list[Message]:
        """The messages that have come whole.

        Raises:
            ChannelClosed: there are none, and there will be none.
        """
        self._take()
        *lines, rest = self._read.split(b"\n")
        self._read = rest
        if len(rest) > MAX_LINE:
            raise ChannelClosed("a message without an end")
        return [self._message(bytes(line)) for line in lines]

    def _take(self) -> None:
        """Read what is there.

        Raises:
            ChannelClosed: nothing is there, nor will be.
        """
        taken = False
        while True:
            try:
                octets, ancillary, _, _ = self._end.recvmsg(_READ, _ROOM, socket.MSG_CMSG_CLOEXEC)
            except BlockingIOError:
                return
            except OSError as error:
                raise ChannelClosed(error.strerror or str(error)) from error
            descriptors = _descriptors(ancillary)
            self._descriptors.extend(descriptors)
            if not octets:
                if taken:
                    return  # the end is told next time, behind what came before it
                raise ChannelClosed("the other end is gone")
            taken = True
            self._read += octets
            if len(octets) < _READ and not descriptors:
                return

    def _message(self, line: bytes) -> Message:
        try:
            fields = json.loads(line)
            kind, count = Kind(fields.pop("kind")), int(fields.pop("descriptors"))
            return Message(kind, fields, tuple(self._descriptors.popleft() for _ in range(count)))
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise ChannelClosed(f"no message: {line[:100]!r}") from error

    def close(self) -> None:
        """Close this end, and descriptors that nobody fetched."""
        for _, descriptors in self._waiting:
            _close(descriptors)
        self._waiting.clear()
        _close(self._descriptors)
        self._descriptors.clear()
        self._end.close()


def _duplicates(descriptors: Sequence[int]) -> tuple[int, ...]:
    """Others for the same, all or none.

    Raises:
        ChannelClosed: there are none left, so that the other end would wait for what never comes.
    """
    made: list[int] = []
    try:
        made.extend(map(os.dup, descriptors))
    except OSError as error:
        _close(made)
        raise ChannelClosed(error.strerror or str(error)) from error
    return tuple(made)


def _descriptors(ancillary: Sequence[tuple[int, int, bytes]]) -> array[int]:
    """Those that came with some octets. ``socket.recv_fds`` drops its flags: what it takes would be inherited."""
    found = array("i")
    for level, kind, octets in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            found.frombytes(octets[: len(octets) - len(octets) % found.itemsize])
    return found


def _close(descriptors: Iterable[int]) -> None:
    for number in descriptors:
        os.close(number)


def pair() -> tuple[Channel, socket.socket]:
    """This process's end, and the socket that the child inherits."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    return Channel(ours), theirs
