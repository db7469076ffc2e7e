"""The admin pages as a process: ``python -m mailguard.children admin CHANNEL METRICS``.

Serves /metrics from the files of all workers and from /proc, /healthz and /readyz from what the supervisor passes on
of them. It touches no mail: where it dies, the supervisor starts it again, and mail goes on. It ends with the
supervisor.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from mailguard import log
from mailguard.admin.health import Health
from mailguard.admin.processes import Processes
from mailguard.admin.server import Admin
from mailguard.admin.tree import health_of
from mailguard.channel import Channel, ChannelClosed, Kind, Message
from mailguard.children import start
from mailguard.config import Settings


class Pages:
    """The pages, and what the supervisor last said."""

    def __init__(self, channel: Channel, begin: Message, metrics: Path) -> None:
        self._channel = channel
        self._settings: Settings = start.settings_of(begin.fields)
        self._bound = socket.socket(fileno=begin.descriptors[0])
        self._status: dict[str, Any] = {}
        self._pages = Admin("", 0, self.health, metrics, Processes(lambda: self._status))
        self._heard_at = 0.0
        self._ended = asyncio.Event()

    async def run(self) -> None:
        """Serve the pages until the supervisor is gone."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._channel.fileno(), self._heard)
        self._heard_at = loop.time()
        await self._pages.start(self._bound)
        self._tell(Kind.READY)
        while not self._ended.is_set():
            log.flush()
            self._tell(Kind.STATE)
            try:
                await asyncio.wait_for(self._ended.wait(), self._settings.processes.heartbeat_interval)
            except TimeoutError:
                continue
        loop.remove_reader(self._channel.fileno())
        await self._pages.stop()

    def health(self) -> Health:
        """From what the supervisor last said, and how long ago that was."""
        silent = asyncio.get_running_loop().time() - self._heard_at
        return health_of(self._status, silent if silent > self._settings.processes.heartbeat_timeout else 0.0)

    def _tell(self, kind: Kind) -> None:
        try:
            self._channel.send(kind)
        except ChannelClosed:
            self._ended.set()

    def _heard(self) -> None:
        try:
            for message in self._channel.receive():
                if message.kind is Kind.HEALTH:
                    self._status = dict(message.fields)
                    self._heard_at = asyncio.get_running_loop().time()
                elif message.kind in (Kind.STOP, Kind.DRAIN):
                    self._ended.set()
        except ChannelClosed:
            self._ended.set()


def main() -> None:
    """Serve the pages until the supervisor is gone, or says so."""
    channel = start.inherited()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # systemd sends it to all: pages are served until the drain's end
    try:
        begin = start.first(channel)
    except ChannelClosed:
        sys.exit(start.ORPHANED)
    settings = start.settings_of(begin.fields)
    log.configure(settings.log.format, settings.log.level, settings.log.syslog)

    async def serve() -> None:
        await Pages(channel, begin, Path(sys.argv[2])).run()

    asyncio.run(serve())
    sys.exit(os.EX_OK)
