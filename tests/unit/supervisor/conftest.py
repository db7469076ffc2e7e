"""``mailguard serve`` with two workers, asked over its control socket as an administrator would."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from tests.support.client import Client
from tests.support.mail import mail, transaction
from tests.support.sink import Sink
from tests.unit.session.conftest import POLICY
from tests.unit.session.serving import BOUND, Place, Served


def mark(policy: str, name: str) -> str:
    """``policy`` that refuses senders at ``name`` in place of unwanted.example."""
    return policy.replace("unwanted.example", name)


async def until(condition: Callable[[], Awaitable[Any]]) -> None:
    async with asyncio.timeout(BOUND):
        while not await condition():  # noqa: ASYNC110  another process makes it true
            await asyncio.sleep(0.05)


class Running:
    """A service that serves, and its place."""

    def __init__(self, place: Place, served: Served, sink: Sink) -> None:
        self.place, self.served, self.sink = place, served, sink
        self.admin = served.log.partition('event="admin listening" address=')[2].split()[0]

    @property
    def configuration(self) -> Path:
        return self.place.folder / "mailguard.yaml"

    def change(self, **settings: Any) -> None:
        """Write other settings into the configuration."""
        found = yaml.safe_load(self.configuration.read_text())
        self.configuration.write_text(yaml.safe_dump(found | settings))

    async def ask(self, *arguments: str) -> tuple[int, str]:
        """Run a command of mailguard; its exit status and all that it says."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mailguard", *arguments, "--config", str(self.configuration)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(3 * BOUND):
            said, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, said.decode()

    async def status(self) -> dict[str, Any]:
        status, said = await self.ask("status", "--json")
        assert status == os.EX_OK, said
        found: dict[str, Any] = json.loads(said)
        return found

    async def processes(self, role: str) -> list[dict[str, Any]]:
        return [each for each in (await self.status())["processes"] if each["role"] == role]

    async def page(self, path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as http, http.get(f"http://{self.admin}{path}") as answer:
            return answer.status, await answer.text()

    async def metric(self, name: str) -> float:
        """A metric as it is served; it may be a heartbeat old."""
        _, text = await self.page("/metrics")
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"mailguard_{name} "))

    async def greeted(self) -> Client:
        """A client that has said EHLO."""
        client = await self.place.client()
        await client.reply()
        await client.command(b"EHLO mail.example.org")
        return client

    async def passes(self, sender: str = "someone@example.org") -> bytes:
        """The last reply to a message of ``sender`` on a connection of its own."""
        async with await self.greeted() as client:
            done = await transaction(client, mail().octets, sender=sender)
            return done.content or done.rcpt[-1]


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    """The backend."""
    async with Sink() as sink:
        yield sink


@pytest.fixture
async def place(tmp_path: Path, sink: Sink) -> AsyncIterator[Place]:
    made = Place(tmp_path, sink, POLICY)
    yield made
    await made.close()


@pytest.fixture
async def running(place: Place, sink: Sink) -> Running:
    """Two workers that serve; they tell how they are ten times a second."""
    served = await place.serve(workers=2, processes={"heartbeat_interval": 0.1})
    await served.until("event=listening")
    return Running(place, served, sink)
