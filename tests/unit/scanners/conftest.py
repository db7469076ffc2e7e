"""A scripted server for faults that a real scanner cannot be made to have, and messages to ask about."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from mailguard.spool import Content, Spool

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class FakeServer:
    """One script for each connection in turn; the last one for all that follow."""

    address: str
    scripts: list[Script]
    connections: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        script = self.scripts[min(self.connections, len(self.scripts) - 1)]
        self.connections += 1
        self.tasks.add(asyncio.create_task(self._serve(script, reader, writer)))

    async def _serve(self, script: Script, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await script(reader, writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


Fake = Callable[..., Awaitable[FakeServer]]


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[Fake]:
    """``await fake(script, ...)``: a server on a unix socket that follows the scripts."""
    listening: list[asyncio.Server] = []
    servers: list[FakeServer] = []

    async def start(*scripts: Script) -> FakeServer:
        path = tmp_path / f"fake{len(servers)}.sock"
        servers.append(FakeServer(f"unix:{path}", list(scripts)))
        listening.append(await asyncio.start_unix_server(servers[-1].accept, path))
        return servers[-1]

    yield start
    for server in listening:
        server.close()
    async with asyncio.timeout(10):
        for task in [task for server in servers for task in server.tasks]:
            await task


def says(*segments: bytes, after: bytes) -> Script:
    """Read until ``after`` was seen, then send each segment on its own, then close."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(after)
        for segment in segments:
            writer.write(segment)
            await writer.drain()
            await asyncio.sleep(0.01)

    return script


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Read everything, say nothing, until the client goes."""
    while await reader.read(65536):
        pass


async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Close at once."""


def deadline(seconds: float = 10.0) -> float:
    return asyncio.get_running_loop().time() + seconds


@pytest.fixture
def content() -> Callable[..., Content]:
    """``content(octets, in_file=False)``: a finished message."""

    def make(octets: bytes, in_file: bool = False) -> Content:
        spool = Spool(0 if in_file else 1 << 30)
        spool.write(octets)
        return spool.finish()

    return make
