"""``mailguard serve`` with two workers, asked over its control socket as an administrator would.

To start it takes seconds of processor time, so tests of one module share one, :func:`running`: it is put back behind
each, and a new one is started where a test has ended or harmed it. So they share one event loop, too.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest_asyncio
import yaml

from tests.support.client import Client
from tests.support.control import asked
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


def _stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@asynccontextmanager
async def held(*pids: int) -> AsyncIterator[None]:
    """Processes that do nothing meanwhile."""

    async def stopped() -> bool:
        return all(map(_stopped, pids))

    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        await until(stopped)
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


class Running:
    """A service that serves, and its place."""

    def __init__(self, place: Place, served: Served, sink: Sink) -> None:
        self.place, self.served, self.sink = place, served, sink
        self._settings = self.configuration.read_text()
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

    async def say(self, command: str, **more: Any) -> dict[str, Any]:
        """Send a command to the control socket; the answer. No interpreter is started for it."""
        return await asyncio.to_thread(asked, self.place.folder / "run", 3 * BOUND, command=command, **more)

    async def status(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.say("status"))["report"]
        return found

    async def whole(self) -> bool:
        """Whether one generation serves, with both its workers."""
        return [worker["state"] for worker in await self.processes("worker")] == ["accepting"] * 2

    async def replaced(self, pid: int) -> bool:
        """Whether another worker serves in the place of ``pid``, whose death the supervisor has noticed by then."""
        return await self.whole() and pid not in [worker["pid"] for worker in await self.processes("worker")]

    async def put_back(self) -> bool:
        """Make it as it was at the beginning; whether that can be done."""
        if self.served.process.returncode is not None or not self.place.listens():
            return False
        self.sink.forget()
        shutil.rmtree(self.place.folder / "policy.d", ignore_errors=True)
        self.place.policy(POLICY)
        self.configuration.write_text(self._settings)
        try:
            await self.say("observe", seconds=0)
            await until(self.whole)
            answer = await self.say("reload")
            await until(self.whole)
            await self._read_log()
        except (OSError, ValueError, TimeoutError, AssertionError):
            return False
        return bool(answer["status"] == os.EX_OK)

    async def _read_log(self) -> None:
        """Read what the supervisor has logged by now, so that no line of one test is taken for one of the next."""
        await self.say("observe", seconds=86400)
        last = time.strftime("expires=%Y-%m-%dT%H:%M:%SZ", time.gmtime((await self.status())["observing_until"]))
        await self.say("observe", seconds=0)
        await self.served.until(last)
        await self.served.until('event="enforcing again"')

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

    async def greeted_by_each(self, stack: AsyncExitStack, number: int) -> dict[int, list[Client]]:
        """``number`` clients of each worker, by its pid. Who gets whom is the kernel's choice: the others are held."""
        pids = [worker["pid"] for worker in await self.processes("worker")]
        clients: dict[int, list[Client]] = {}
        for pid in pids:
            async with held(*(other for other in pids if other != pid)):
                clients[pid] = [await stack.enter_async_context(await self.greeted()) for _ in range(number)]
        return clients

    async def passes(self, sender: str = "someone@example.org") -> bytes:
        """The last reply to a message of ``sender`` on a connection of its own; that which ended it, where one did."""
        async with await self.place.client() as client:
            for reply in (await client.reply(), await client.command(b"EHLO mail.example.org")):
                if reply and reply[-1].startswith(b"421"):
                    return reply[-1]
            done = await transaction(client, mail().octets, sender=sender)
            return done.content or done.rcpt[-1] or done.mail


@pytest_asyncio.fixture(loop_scope="module")
async def sink() -> AsyncIterator[Sink]:
    """The backend."""
    async with Sink() as sink:
        yield sink


@pytest_asyncio.fixture(loop_scope="module")
async def place(tmp_path: Path, sink: Sink) -> AsyncIterator[Place]:
    made = Place(tmp_path, sink, POLICY)
    yield made
    await made.close()


async def start(folder: Path, stack: AsyncExitStack) -> Running:
    """Two workers that serve; they tell how they are ten times a second."""
    sink = await stack.enter_async_context(Sink())
    place = Place(folder, sink, POLICY)
    stack.push_async_callback(place.close)
    served = await place.serve(workers=2, processes={"heartbeat_interval": 0.1})
    await served.until("event=listening")
    await served.until('event="policy loaded"')
    running = Running(place, served, sink)
    await running.page("/healthz")  # the pages start behind the workers, and who asks waits for them
    return running


@dataclass
class Shared:
    """The service that the tests of a module share, while it is whole."""

    stack: AsyncExitStack
    running: Running | None = None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared() -> AsyncIterator[Shared]:
    async with AsyncExitStack() as stack:
        yield Shared(stack)


@pytest_asyncio.fixture(loop_scope="module")
async def running(shared: Shared, tmp_path: Path) -> AsyncIterator[Running]:
    """A service as it begins, behind two workers."""
    if shared.running is None:
        shared.running = await start(tmp_path, shared.stack)
    yield shared.running
    if not await shared.running.put_back():
        shared.running = None
        await shared.stack.aclose()
