"""``mailguard serve`` as a process: what ends it, with which status, and that nothing listens where it must not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.client import Client
from tests.support.mail import mail, submit, transaction
from tests.support.sink import Sink
from tests.unit.session.conftest import POLICY

BOUND = 20.0
"""Seconds for the process to start, or to end."""


class Served:
    """A running ``mailguard serve`` and its log so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log = ""

    async def until(self, text: str) -> str:
        """Wait for a log line that holds ``text``; that line."""
        assert self.process.stdout is not None
        async with asyncio.timeout(BOUND):
            while line := (await self.process.stdout.readline()).decode():
                self.log += line
                if text in line:
                    return line
        raise AssertionError(f"it ended without {text!r}: {self.log}")

    async def ended(self) -> tuple[int, str]:
        """Its exit status and the rest of what it said."""
        async with asyncio.timeout(BOUND):
            rest, _ = await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode, rest.decode()


class Place:
    """A folder with a configuration, and a port that is free."""

    def __init__(self, folder: Path, sink: Sink) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.running: list[Served] = []
        self.settings: dict[str, Any] = {
            "hostname": "mx.example.com",
            "relay_domains": ["example.com"],
            "listen": [{"address": f"127.0.0.1:{self.port}"}],
            "backends": [{"address": sink.address}],
            "policy": "policy.yaml",
            "admin": {"address": "127.0.0.1:0"},
        }
        self.policy(POLICY)

    def policy(self, text: str) -> None:
        (self.folder / "policy.yaml").write_text(text)

    async def serve(self, before: Callable[[], None] | None = None, **changes: Any) -> Served:
        """Start it with ``changes`` to the settings; ``before`` is run in the process before it."""
        configuration = self.folder / "mailguard.yaml"
        configuration.write_text(yaml.safe_dump(self.settings | changes))
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "mailguard", "serve", "--config", str(configuration)),
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


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    async with Sink() as sink:
        yield sink


@pytest.fixture
async def place(tmp_path: Path, sink: Sink) -> AsyncIterator[Place]:
    made = Place(tmp_path, sink)
    yield made
    await made.close()


async def test_sigterm_drains_and_ends_with_0(place: Place) -> None:
    served = await place.serve()
    assert "address=127.0.0.1:" in await served.until('event="admin listening"')
    await served.until("event=listening")
    async with (
        await Client.connect("127.0.0.1", place.port) as idle,
        await Client.connect("127.0.0.1", place.port) as client,
    ):
        await idle.reply()
        assert (await submit(client, mail().octets)).content.startswith(b"250 ")
        served.process.send_signal(signal.SIGTERM)
        assert (await idle.reply())[0].startswith(b"421 4.3.2 ")
    status, rest = await served.ended()
    assert status == os.EX_OK
    assert "event=stopped" in rest
    assert not place.listens()


async def test_sighup_loads_the_policy_again(place: Place) -> None:
    served = await place.serve()
    await served.until('event="policy loaded"')
    place.policy("rules: [")
    served.process.send_signal(signal.SIGHUP)
    refused = await served.until('event="policy refused"')
    assert "policy.yaml:2:1: " in refused
    assert "\\n" not in refused
    assert "^" not in refused
    place.policy(POLICY.replace("unwanted.example", "example.org"))
    served.process.send_signal(signal.SIGHUP)
    await served.until('event="policy refused"')
    place.policy(POLICY.replace("unwanted.example", "new.example"))
    served.process.send_signal(signal.SIGHUP)
    await served.until('event="policy loaded"')
    assert served.process.returncode is None


def _listing(name: str) -> str:
    return POLICY + f"lists: {{welcome: {{file: {name}}}}}\n"


HOSTILE = {
    "NUL": (_listing('"a\\0b"'), "this cannot be the name of a file"),
    "pipe": (_listing("pipe"), "this file cannot be read: it is no regular file"),
    "sequences": ("mailguard_policy: " + "[" * 200_000, "nested deeper than 24 levels"),
    "mappings": ("mailguard_policy: " + "{a: " * 50_000, "nested deeper than 24 levels"),
    "tags": ("".join(f"%TAG !a{n}! x:\n" for n in range(60_000)) + "---\na: 1\n", "`%TAG` is a directive"),
    "problems": (POLICY + "no: no\n" * 20_000, "more: `mailguard check` tells all"),
}


@pytest.mark.parametrize(("text", "said"), HOSTILE.values(), ids=HOSTILE)
async def test_no_policy_ends_or_freezes_the_service(place: Place, text: str, said: str) -> None:
    os.mkfifo(place.folder / "pipe")
    served = await place.serve()
    await served.until('event="policy loaded"')
    async with asyncio.timeout(2 * BOUND), await Client.connect("127.0.0.1", place.port) as client:
        await client.reply()
        place.policy(text)
        served.process.send_signal(signal.SIGHUP)
        assert (await client.command(b"EHLO mail.example.org"))[0].startswith(b"250")
        while said not in await served.until('event="policy refused"'):
            pass
        assert (await transaction(client, mail().octets)).content.startswith(b"250 ")
    place.policy(POLICY.replace("unwanted.example", "new.example"))
    served.process.send_signal(signal.SIGHUP)
    await served.until('event="policy loaded"')
    assert served.process.returncode is None


async def test_a_long_list_is_loaded_beside_the_sessions(place: Place) -> None:
    entries = (f"{n >> 16}.{n >> 8 & 255}.{n & 255}.1\n" for n in range(900_000))
    (place.folder / "long.txt").write_text("".join(entries))
    served = await place.serve()
    await served.until('event="policy loaded"')
    place.policy(_listing("long.txt"))
    served.process.send_signal(signal.SIGHUP)
    async with asyncio.timeout(BOUND), await Client.connect("127.0.0.1", place.port) as client:
        assert (await submit(client, mail().octets)).content.startswith(b"250 ")
    await served.until('event="policy loaded"')


def _limited(hard: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (min(64, hard), hard))


async def test_with_few_file_descriptors_it_takes_fewer_connections(place: Place) -> None:
    dns = {"max_questions": 10, "servers": ["127.0.0.1:9"]}
    served = await place.serve(_limited(121), dns=dns, limits={"max_connections": 30})
    line = await served.until('event="too few file descriptors"')
    assert "level=warning" in line
    assert "`limits.max_connections` is 30, and the 121 file descriptors" in line
    assert "count=7" in line  # (121 - 64 - 10 - 2 * (8 + 5)) // 3
    await served.until("event=listening")
    async with asyncio.timeout(BOUND), contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await Client.connect("127.0.0.1", place.port)) for _ in range(7)]
        assert [(await client.reply())[0][:4] for client in clients] == [b"220 "] * 7
        late = await stack.enter_async_context(await Client.connect("127.0.0.1", place.port))
        assert (await late.reply())[0].startswith(b"421 ")


async def test_the_soft_limit_on_file_descriptors_is_raised(place: Place) -> None:
    dns = {"max_questions": 10, "servers": ["127.0.0.1:9"]}
    served = await place.serve(_limited(190), dns=dns, limits={"max_connections": 30})  # exactly enough
    await served.until('event="policy loaded"')
    assert "too few file descriptors" not in served.log
    assert resource.prlimit(served.process.pid, resource.RLIMIT_NOFILE) == (190, 190)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"relay_domains": []}, "relay_domains"),
        ({"relay_domain": ["example.com"]}, "did you mean `relay_domains`?"),
        ({"policy": "missing.yaml"}, "missing.yaml cannot be read: "),
        ({"spool_dir": "/nowhere/at/all"}, "no message can be kept in this folder: /nowhere/at/all: No such file"),
    ],
)
async def test_a_broken_configuration_ends_with_78_and_never_listens(
    place: Place, changes: dict[str, Any], said: str
) -> None:
    status, output = await (await place.serve(**changes)).ended()
    assert status == os.EX_CONFIG
    assert said in output
    assert "listening" not in output
    assert not place.listens()


async def test_a_policy_whose_case_fails_ends_with_78(place: Place) -> None:
    place.policy(POLICY.replace("expect: {accept: true}", "expect: {reject: 554}"))
    status, output = await (await place.serve()).ended()
    assert status == os.EX_CONFIG
    assert "case 'a clean message'" in output
    assert "listening" not in output


async def test_an_open_relay_behind_us_ends_with_78(place: Place, sink: Sink) -> None:
    sink.on("RCPT", b"250 2.1.5 anybody")
    status, output = await (await place.serve()).ended()
    assert status == os.EX_CONFIG
    assert "is an open relay" in output
    assert "listening" not in output


async def test_a_port_that_is_taken_ends_with_69(place: Place) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", place.port))
        taken.listen()
        status, output = await (await place.serve()).ended()
    assert status == os.EX_UNAVAILABLE
    assert output.splitlines()[-1] == (
        f"mailguard: cannot listen on 127.0.0.1:{place.port} (entry 1 of `listen`): Address already in use; "
        "something listens there already: `ss -ltnp` tells what"
    )
    assert "Traceback" not in output


async def test_the_admin_port_that_is_taken_ends_with_69_too(place: Place) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        status, output = await (await place.serve(admin={"address": address})).ended()
    assert status == os.EX_UNAVAILABLE
    assert f"mailguard: cannot listen on {address} (`admin.address`): Address already in use" in output
    assert "Traceback" not in output
    assert not place.listens()


async def test_a_policy_that_would_defer_everything_for_want_of_a_scanner_ends_with_78(place: Place) -> None:
    place.policy(
        POLICY.replace("clamav: {down: deliver,", "clamav: {down: defer,").replace(
            "  content:\n",
            "  content:\n    - name: malware\n      if: virus.status == 'infected' and virus.kind == 'malware'\n"
            '      then: reject\n      text: "Message refused: {virus.name}"\n',
        )
    )
    status, output = await (await place.serve()).ended()
    assert status == os.EX_CONFIG
    assert "the settings name no `clamav.address`" in output
    assert "listening" not in output
