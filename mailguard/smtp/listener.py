"""A listening socket and its connections: accept, drain, close.

Connections in all and by client are bounded by :class:`~mailguard.smtp.admission.Slots`, which listeners may share.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final

from mailguard import metrics
from mailguard.config import Listener, Settings, bare
from mailguard.journal.recorder import Recorder
from mailguard.net import backlog
from mailguard.net.deadlines import Deadlines
from mailguard.net.local import BACKLOG, bind
from mailguard.replies import Reply
from mailguard.smtp.admission import Endpoint, Held, Slots, TurnedAway
from mailguard.smtp.door import Door
from mailguard.smtp.events import End
from mailguard.smtp.identity import Identity
from mailguard.smtp.server import Connection, equipped
from mailguard.smtp.story import StoryFactory

_STEP: Final = 0.02
"""Seconds between two looks at who waits to be accepted."""
_HANDSHAKE: Final = 0.3
"""Seconds for connections that have begun to get ready to be accepted: the time of a long way there and back."""


class SmtpListener:
    """One listening socket and its connections; made by :func:`listen`.

    Attributes:
        port: the port that is bound.
        address: host and port, as in the configuration, port 0 replaced.
        identity: our certificate; None where there is none, and no STARTTLS.
        recorder: told of what is refused before or beside a story.
        limits, config: bounds, and what is configured for this socket.
        deadlines: of all its connections.
    """

    def __init__(
        self,
        settings: Settings,
        config: Listener,
        story_factory: StoryFactory,
        slots: Slots,
        identity: Identity | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self.limits = bare(settings.limits)
        self.hostname = settings.hostname
        self.config = bare(config)
        self.story_factory = story_factory
        self.slots = slots
        self.identity = identity
        self.recorder = recorder or Recorder()
        self.deadlines = Deadlines()
        self._equipped = equipped(self.hostname)
        self.port = 0
        self.address = config.address
        self._server: asyncio.Server | None = None
        self._bound: socket.socket | None = None
        self._connections: dict[asyncio.Task[Any], Connection] = {}
        self._draining = False

    async def start(self, bound: socket.socket | None = None) -> None:
        """Listen, on the socket ``bound`` if it is given.

        Raises:
            OSError: the address cannot be listened on.
        """
        bound = bound or bind(self.config.address)
        door = Door(self)
        try:
            self._server = await asyncio.get_running_loop().create_server(lambda: door, sock=bound, backlog=BACKLOG)
        except BaseException:
            bound.close()
            raise
        self._bound = bound
        host, self.port = bound.getsockname()[:2]
        self.address = f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    @property
    def connections(self) -> int:
        """How many there are now."""
        return len(self._connections)

    def connection(self, peer: Endpoint | None = None, held: Held | None = None) -> Connection:
        """A new one, with ``peer`` unless that is gone, whose slot is ``held`` unless its PROXY header is to come."""
        return self._equipped(self, peer, held)

    def turned_away(self, refusal: TurnedAway, reference: str, client: str) -> Reply:
        """Count and record that a client was turned away; what to tell it."""
        metrics.CONNECTIONS_REFUSED.labels(refusal.why.value).inc()
        recorded = self.recorder.refused("connection", reference, client, refusal.reply, end=End.REFUSED.value)
        return refusal.reply.with_reference(reference) if recorded else refusal.reply

    def entered(self, connection: Connection, task: asyncio.Task[Any]) -> None:
        """A connection begins; it is over when ``task`` is."""
        self._connections[task] = connection
        metrics.SESSIONS.inc()
        task.add_done_callback(self._over)
        if self._draining:
            connection.drain()

    def _over(self, task: asyncio.Task[Any]) -> None:
        connection = self._connections.pop(task, None)
        if connection is not None:
            connection.over()

    async def drain(self, seconds: float, *, last: bool = False) -> None:
        """Listen no more; idle sessions get 421 at once, those in a transaction have ``seconds`` to end it.

        ``last``: nobody goes on with the socket, so who waits there hears 421, too; it takes ``limits.close_timeout``
        at the most.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        self._draining = True
        for connection in list(self._connections.values()):
            connection.drain()
        if last:
            await self._take_who_waits()
        if self._server is not None:
            self._bound = None
            self._server.close()
        if self._connections:
            await asyncio.wait(list(self._connections), timeout=max(0.0, until - loop.time()))
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _take_who_waits(self) -> None:
        """Accept whoever waits in the kernel, who hears 421 as all do now; of what comes later nothing begins."""
        if self._bound is None:
            return
        backlog.stop_new(self._bound)
        loop = asyncio.get_running_loop()
        quiet, end = loop.time() + _HANDSHAKE, loop.time() + self.limits.close_timeout
        while loop.time() < end:
            if self._bound is None:  # another drain was faster
                return
            if not backlog.waiting(self._bound) and loop.time() >= quiet:
                return
            await asyncio.sleep(_STEP)

    async def close(self) -> None:
        """Listen no more, and end every connection now."""
        await self.drain(0.0)


async def listen(
    settings: Settings,
    listener: Listener,
    story_factory: StoryFactory,
    slots: Slots | None = None,
    identity: Identity | None = None,
    recorder: Recorder | None = None,
    bound: socket.socket | None = None,
) -> SmtpListener:
    """Listen at ``listener.address``; each connection gets a story of ``story_factory``.

    ``slots``: the bounds on connections, shared with other listeners; without it they hold for this one. ``identity``:
    our certificate, shared too. ``recorder``: told of what is refused before or beside a story; none: one that logs.
    ``bound``: the socket, where somebody has bound it already.

    Raises:
        OSError: the address cannot be listened on.
        ValueError: the address is no host and port.
    """
    made = SmtpListener(
        settings, listener, story_factory, slots or Slots(settings.limits, settings.own_relays), identity, recorder
    )
    await made.start(bound)
    return made
