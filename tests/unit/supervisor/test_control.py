"""The control socket and its commands: what they say where they cannot work; sockets that systemd hands over."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from pathlib import Path

import pytest

from mailguard.supervisor.control import MAX_COMMAND, MAX_CONNECTIONS
from mailguard.supervisor.run_dir import connect
from tests.support.sink import Sink
from tests.unit.session.serving import BOUND, Place
from tests.unit.supervisor.conftest import Running

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

LAUNCHER = str(Path(__file__).with_name("launcher.py"))


@pytest.mark.parametrize("command", [("reload",), ("drain",), ("observe", "--for", "2h"), ("status",)])
async def test_where_nothing_runs_commands_end_with_69(place: Place, sink: Sink, command: tuple[str, ...]) -> None:
    served = await place.serve(relay_domains=[])
    await served.ended()
    place.settings["relay_domains"] = ["example.com"]
    running = Running.__new__(Running)
    running.place = place
    running.configuration.write_text(
        running.configuration.read_text().replace("relay_domains: []", "relay_domains: [a.example]")
    )
    status, said = await running.ask(*command)
    assert status == os.EX_UNAVAILABLE
    assert "mailguard is not running: nobody listens at " in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "say for how long, as in `mailguard observe --for 2h`, or `--off`"),
        (("--for", "2h", "--off"), "say for how long"),
        (("--for", "long"), "`long` is no time: write 30m, 2h or 1d"),
        (("--for", "0h"), "`0h` is no time"),
        (("--for", "8d"), "7 days at the most (`processes.max_observe`)"),
    ],
)
async def test_observe_wants_a_time(running: Running, arguments: tuple[str, ...], said: str) -> None:
    status, told = await running.ask("observe", *arguments)
    assert status == os.EX_USAGE
    assert said in told
    assert (await running.status())["observing_until"] is None


async def test_status_is_a_table(running: Running) -> None:
    status, said = await running.ask("status")
    assert status == os.EX_OK
    assert "running for" in said
    assert said.count("worker ") >= 2
    assert "accepting" in said
    assert max(map(len, said.splitlines())) <= 80
    status, said = await running.ask("status", "--json")
    assert (status, json.loads(said)["processes"][0]["role"]) == (os.EX_OK, "worker")


async def test_nothing_that_is_said_there_ends_the_service(running: Running) -> None:
    folder = running.place.folder / "run"
    for octets in (
        b"nonsense\n",
        b"[]\n",
        b'{"command": "x"}\n',
        b'{"command": []}\n',
        b'{"command": "observe"}\n',
        b"[" * 4000 + b"\n",
        b'{"command": "observe", "seconds": 1' + b"0" * 400 + b"}\n",
    ):
        with connect(folder, BOUND) as asking:
            asking.sendall(octets)
            assert b'"status": 64' in await asyncio.to_thread(asking.recv, 4096)
    for octets in (b"", b"x" * (MAX_COMMAND + 1)):
        with connect(folder, BOUND) as asking:
            asking.sendall(octets)
            asking.shutdown(socket.SHUT_WR)
            assert not await asyncio.to_thread(asking.recv, 4096)
    idle = [connect(folder, BOUND) for _ in range(MAX_CONNECTIONS)]
    with connect(folder, BOUND) as late:
        assert not await asyncio.to_thread(late.recv, 1)
    for each in idle:
        each.close()
    assert (await running.passes()).startswith(b"250 ")


async def test_sockets_come_from_systemd(place: Place, sink: Sink) -> None:
    within = (sys.executable, LAUNCHER, f"127.0.0.1:{place.port}")
    served = await place.serve(within=within)
    await served.until(f"event=listening address=127.0.0.1:{place.port}")
    assert (await Running(place, served, sink).passes()).startswith(b"250 ")


@pytest.mark.parametrize(
    ("handed", "said"),
    [
        ("127.0.0.1:0", "systemd hands over no socket for 127.0.0.1:"),
        ("{own},127.0.0.1:0", "which no entry of `listen` names: add one"),
        ("udp", "is no TCP socket"),
    ],
)
async def test_sockets_that_do_not_fit_end_with_78(place: Place, handed: str, said: str) -> None:
    own = f"127.0.0.1:{place.port}"
    served = await place.serve(within=(sys.executable, LAUNCHER, handed.format(own=own)))
    status, told = await served.ended()
    assert status == os.EX_CONFIG
    assert said in told
