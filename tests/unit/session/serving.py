"""``mailguard serve`` as a process of its own, in a folder with its configuration, before a recording backend."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.support.client import Client
from tests.support.sink import Sink

BOUND = 40.0
"""Seconds for the process to start, or to end."""


class Served:
    """A running ``mailguard serve`` and its log so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log = ""

    async def until(self, text: str) -> str:
        """Wait for a log line that holds ``text``; that line."""
        return (await self.until_each(text))[0]

    async def until_each(self, *texts: str) -> list[str]:
        """Wait for a line for each of ``texts``, in whatever order their processes write them; the lines."""
        assert self.process.stdout is not None
        found: dict[str, str] = {}
        async with asyncio.timeout(BOUND):
            while line := (await self.process.stdout.readline()).decode():
                self.log += line
                found |= {text: line for text in texts if text in line and text not in found}
                if len(found) == len(texts):
                    return [found[text] for text in texts]
        raise AssertionError(f"it ended without {set(texts) - found.keys()}: {self.log}")

    async def take_log(self) -> None:
        """Take its log until it ends, or this is cancelled."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.log += line.decode()

    async def ended(self) -> tuple[int, str]:
        """Its exit status and the rest of what it said."""
        async with asyncio.timeout(BOUND):
            rest, _ = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, rest.decode()


class Place:
    """A folder with a configuration, and a port that is free.

    It stays ours: who binds port 0 gets none that is bound, while one that names it, and reuses addresses, may listen
    there beside a socket that does not (ip(7)).
    """

    def __init__(self, folder: Path, sink: Sink, policy: str) -> None:
        self.folder = folder
        self._kept = socket.socket()
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._kept.bind(("127.0.0.1", 0))
        self.port = self._kept.getsockname()[1]
        self.running: list[Served] = []
        self.settings: dict[str, Any] = {
            "hostname": "mx.example.com",
            "relay_domains": ["example.com"],
            "listen": [{"address": f"127.0.0.1:{self.port}"}],
            "backends": [{"address": sink.address}],
            "policy": "policy.yaml",
            "admin": {"address": "127.0.0.1:0"},
            "run_dir": str(folder / "run"),
            "workers": 1,
        }
        self.policy(policy)

    def policy(self, text: str) -> None:
        (self.folder / "policy.yaml").write_text(text)

    async def client(self) -> Client:
        """A new connection; the greeting is not read yet."""
        return await Client.connect("127.0.0.1", self.port)

    async def serve(
        self, before: Callable[[], None] | None = None, within: Sequence[str] = (), **changes: Any
    ) -> Served:
        """Start it with ``changes`` to the settings; ``before`` is run in the process before it.

        ``within``: a command that is given the command line of mailguard as its last arguments, and becomes it.
        """
        configuration = self.folder / "mailguard.yaml"
        configuration.write_text(yaml.safe_dump(self.settings | changes))
        process = await asyncio.create_subprocess_exec(
            *(*within, sys.executable, "-m", "mailguard", "serve", "--config", str(configuration)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            preexec_fn=before,
        )
        self.running.append(Served(process))
        return self.running[-1]

    def listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    async def close(self) -> None:
        for served in self.running:
            if served.process.returncode is None:
                served.process.kill()
                await served.process.communicate()
        self._kept.close()
