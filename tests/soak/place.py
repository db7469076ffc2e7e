"""The servers of a soak: DNS lists and a resolver, Exim with its Maildirs, and ``mailguard serve`` before it.

Two workers, a journal, the shipped policy without its rules about content: no scanner runs, for SpamAssassin would take
all of the machine and there would be no load. Everything else is at its default but for bounds that a part names.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from ipaddress import IPv4Network
from types import TracebackType
from typing import Any, Final, Self

import yaml

from mailguard.lab import Lab, world
from mailguard.lab.guardian import session_members
from mailguard.lab.mailguard import Serving
from mailguard.supervisor.run_dir import NotRunning
from tests.bench.subjects import small_policy
from tests.soak.account import Account, Kill, Maildirs, account, account_records, recorded
from tests.soak.failure import require
from tests.soak.traffic import Traffic, addresses
from tests.support.control import asked
from tests.support.processes import exists

WORKERS: Final = 2
CLIENTS = addresses(IPv4Network("198.19.0.0/16"))
"""Of the load: listed nowhere, each connection of another one."""
BOUND = 60.0
"""Seconds for anything that should be so soon."""
_EXIM_CONNECTIONS = 1000
_TURNS = 4
"""Of the event loop, until senders have read what lies in their sockets: read, wake who waits, and one to spare."""
_METRIC = re.compile(r"^(mailguard_\w+)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)


class Place:
    """The servers, while this is entered.

    Attributes:
        kills: of workers.
    """

    def __init__(self) -> None:
        self._lab = Lab()
        self.kills: list[Kill] = []

    def __enter__(self) -> Self:
        """Start all but mailguard."""
        lab = self._lab
        self._dns = lab.dns()
        self.exim = lab.exim(macros=[f"MAILGUARD_CONNECTIONS = {_EXIM_CONNECTIONS}"], queue_only=True)
        self.maildirs = Maildirs(self.exim)
        self.serving = Serving(lab.scratch / "mailguard")
        self.policy = self.serving.folder / "policy.yaml"
        self.journal = self.serving.folder / "journal"
        self.write_policy(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End everything, and remove it."""
        self.serving.stop()
        self._lab.close()

    # --- configuration ---------------------------------------------------------------------------------------------

    def write_policy(self, number: int) -> None:
        """Write a policy that differs from any of another ``number``, in nothing that matters to this load."""
        policy = small_policy(names=True)
        policy["description"] = f"Policy {number} of a soak."
        self.policy.write_text(yaml.safe_dump(policy, sort_keys=False))

    def configure(self, **changes: Mapping[str, Any]) -> None:
        """Write the settings; ``changes``: groups such as ``limits``."""
        serving = self.serving
        settings: dict[str, Any] = {
            "hostname": world.MAILGUARD_NAME,
            "relay_domains": list(world.DOMAINS),
            "listen": [
                {"address": serving.address},
                {"address": serving.proxied_address, "proxy_protocol_from": ["127.0.0.0/8"]},
            ],
            "backends": [{"address": self.exim.address}],
            "policy": str(self.policy),
            "dns": {"servers": [self._dns.address]},
            "journal": {"directory": str(self.journal)},
            "workers": WORKERS,
        }
        serving.configure({**settings, **changes})

    async def start(self, **changes: Mapping[str, Any]) -> None:
        """Start mailguard with these settings."""
        self.configure(**changes)
        await asyncio.to_thread(self.serving.start)

    async def stop(self) -> None:
        """End mailguard, if it runs."""
        await asyncio.to_thread(self.serving.stop)

    def traffic(self, a_connection: int = 5) -> Traffic:
        """A load on it."""
        return Traffic(self.serving.proxy_port, CLIENTS, a_connection)

    # --- the running service ---------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The supervisor."""
        return self.serving.process.pid

    async def gone(self, session: int, bound: float) -> float:
        """Wait until no process lives of the service whose supervisor was ``session``; the seconds that it took.

        Raises:
            SoakFailed: not within ``bound`` seconds.
        """

        async def none_left() -> bool:
            return not session_members(session)

        return await until(none_left, "no process is left", bound)

    def _ask(self, within: float, **command: Any) -> dict[str, Any]:
        return asked(self.serving.folder / "run", within, **command)

    async def status(self) -> dict[str, Any]:
        """What ``mailguard status`` shows."""
        report: dict[str, Any] = (await asyncio.to_thread(self._ask, BOUND, command="status"))["report"]
        return report

    async def processes(self, role: str) -> list[dict[str, Any]]:
        """Those of one role."""
        return [each for each in (await self.status())["processes"] if each["role"] == role]

    async def reload(self) -> dict[str, Any]:
        """What ``mailguard reload`` does, without an interpreter for each: status and lines."""
        return await asyncio.to_thread(self._ask, 3 * BOUND, command="reload")

    async def command(self, *words: str) -> tuple[int, str]:
        """Run ``mailguard WORDS``: its exit status and what it says."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mailguard", *words, "--config", str(self.serving.configuration)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(3 * BOUND):
            said, _ = await process.communicate()
        return process.returncode or 0, said.decode()

    async def page(self, path: str) -> tuple[int, str]:
        """An admin page; (0, "") where nobody answers."""
        try:
            return await asyncio.to_thread(self.serving.page, path)
        except OSError:
            return 0, ""

    async def metric(self, name: str) -> float:
        """The sum of all series of a metric, as it is served.

        Raises:
            SoakFailed: nobody serves it.
        """
        text = ""

        async def served() -> bool:
            nonlocal text
            status, text = await self.page("/metrics")
            return status == HTTPStatus.OK

        await until(served, "the metrics are served")
        return sum(float(value) for found, value in _METRIC.findall(text) if found == f"mailguard_{name}")

    async def kill_worker(self, pid: int) -> None:
        """End a worker as a crash would, and let senders read what it said before.

        Raises:
            SoakFailed: it lives on.
        """
        sent = time.monotonic()
        os.kill(pid, signal.SIGKILL)

        async def reaped() -> bool:
            return not exists(pid)

        await until(reaped, "a killed worker is gone")
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        self.kills.append(Kill(sent, time.monotonic()))

    async def settled(self, traffic: Traffic) -> Account:
        """End mailguard and account for all of ``traffic``: in the Maildirs, and in the journal.

        Raises:
            SoakFailed: something is missing, or there twice.
        """
        await self.stop()
        found = await self.maildirs.settled()
        records = await asyncio.to_thread(recorded, self.journal)
        unrecorded = account_records(traffic.attempts, records, self.kills)
        return account(traffic.attempts, found, self.named_doubtful(), unrecorded)

    def named_doubtful(self) -> set[str]:
        """Message-IDs that the log names with a digest: those may be delivered although the sender heard otherwise."""
        lines = self.serving.events()
        return {line["message_id"] for line in lines if line["event"] == "message" and line.get("digest")}


async def until(holds: Callable[[], Awaitable[bool]], what: str, bound: float = BOUND) -> float:
    """Wait until the coroutine function ``holds`` says so; the seconds that it took.

    Raises:
        SoakFailed: not within ``bound`` seconds.
    """
    began = time.monotonic()
    while not await _holds(holds):
        require(time.monotonic() - began < bound, f"{what}: not within {bound:g} s")
        await asyncio.sleep(0.05)
    return time.monotonic() - began


async def _holds(holds: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await holds()
    except (NotRunning, ConnectionError):  # not yet, or no longer
        return False
