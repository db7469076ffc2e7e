"""Clients for tests that count seconds: no wait of theirs has a bound, and each reply is told with its time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.support.client import Client


class Clock:
    """Seconds since it was made, or since :meth:`restart`, of the running loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.restart()

    def restart(self) -> None:
        self._began = self._loop.time()

    @property
    def seconds(self) -> float:
        return round(self._loop.time() - self._began, 3)


class Patient:
    """A client that waits for ever."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.clock = Clock()

    async def reply(self) -> tuple[str, float]:
        """Code and enhanced code of the next reply, and when it came; empty at the end of the connection."""
        line = await self.client.reader.readline()
        while line[3:4] == b"-":
            line = await self.client.reader.readline()
        return line[:9].decode().strip(), self.clock.seconds

    async def say(self, *commands: str) -> tuple[str, float]:
        """Send ``commands``, one after the other; the reply to the last."""
        for command in commands:
            self.client.writer.write(command.encode() + b"\r\n")
            said = await self.reply()
        return said

    async def begin(self, *commands: str) -> tuple[str, float]:
        """Read the greeting, introduce itself, then ``commands``; the reply to the last, its clock begun anew."""
        await self.reply()
        said = await self.say("EHLO mail.example.org", *commands)
        self.clock.restart()
        return said

    async def octets(self, octets: bytes) -> None:
        """Send ``octets`` as they are."""
        self.client.writer.write(octets)
        await self.client.writer.drain()

    async def over(self) -> float:
        """When the server has closed."""
        await self.client.reader.read()
        return self.clock.seconds


ENVELOPE = ("MAIL FROM:<a@b.example>", "RCPT TO:<alice@example.com>")
Connect = Callable[..., Awaitable[Patient]]
"""``await connect(service, proxied=True)``: a connection whose greeting is not read yet, closed with the test."""
MESSAGE = b"Subject: x\r\n\r\nx\r\n.\r\n"
