"""``mailguard serve`` as a process: what ends it, with which status, and that nothing listens where it must not."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.client import Client
from tests.support.mail import mail, submit, transaction
from tests.support.sink import Sink
from tests.unit.session.conftest import POLICY
from tests.unit.session.serving import BOUND, Place

pytestmark = pytest.mark.slow


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


def _limited(hard: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (min(64, hard), hard))


def _backends(place: Place, connections: int) -> list[dict[str, Any]]:
    return [{**backend, "connections": connections} for backend in place.settings["backends"]]


async def test_with_few_file_descriptors_it_takes_fewer_connections(place: Place) -> None:
    dns = {"max_questions": 10, "servers": ["127.0.0.1:9"]}
    limits = {"max_connections": 30}
    served = await place.serve(_limited(121), dns=dns, limits=limits, backends=_backends(place, 7))
    line = await served.until('event="too few file descriptors"')
    assert "level=warning" in line
    assert "`limits.max_connections` is 30, and the 121 file descriptors" in line
    assert "count=7" in line  # (121 - 64 - 10 - 2 * (8 + 5) - 7) // 2
    await served.until("event=listening")
    async with asyncio.timeout(BOUND), contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await Client.connect("127.0.0.1", place.port)) for _ in range(7)]
        assert [(await client.reply())[0][:4] for client in clients] == [b"220 "] * 7
        late = await stack.enter_async_context(await Client.connect("127.0.0.1", place.port))
        assert (await late.reply())[0].startswith(b"421 ")


async def test_a_flood_beyond_all_descriptors_is_turned_away(place: Place) -> None:
    """Three times as many connections as there are descriptors, none of which says a word."""
    dns = {"max_questions": 10, "servers": ["127.0.0.1:9"]}
    limits = {"max_connections": 30}
    served = await place.serve(_limited(121), dns=dns, limits=limits, backends=_backends(place, 7))
    await served.until("event=listening")
    async with asyncio.timeout(BOUND), contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await place.client()) for _ in range(360)]
        greetings = [await _greeting(client) for client in clients]
    assert greetings.count(b"220") == 7
    assert set(greetings) <= {b"220", b"421", b""}
    assert await _taken(place)
    assert served.process.returncode is None


async def test_as_many_as_descriptors_are_enough_for_send_at_the_same_time(place: Place) -> None:
    """All in the middle of a message that lies in a file, each with a backend connection of its own."""
    most = 150
    served = await place.serve(
        _limited(64 + 1 + 2 * (1 + 1) + most + 2 * most),
        dns={"max_questions": 1, "servers": ["127.0.0.1:9"]},
        limits={
            "max_connections": most + 1,
            "max_connections_per_client": most,
            "max_backend_connections_per_client": most,
            "max_message_memory": 0,
        },
        clamav={"connections": 1},
        spamassassin={"connections": 1},
        backends=_backends(place, most),
    )
    assert f"count={most}" in await served.until('event="too few file descriptors"')
    await served.until("event=listening")
    async with asyncio.timeout(BOUND), contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(await place.client()) for _ in range(most)]
        codes = await asyncio.gather(*map(_half_a_message, clients))
        assert codes == [[b"220", b"250", b"250", b"250", b"354"]] * most
        while max(map(_descriptors, _children(served.process.pid))) <= 3 * most:  # noqa: ASYNC110  a worker opens them
            await asyncio.sleep(0.05)
        assert await asyncio.gather(*map(_the_rest, clients)) == [b"250"] * most


async def _half_a_message(client: Client) -> list[bytes]:
    """The codes of all replies until there."""
    codes = [await _greeting(client)]
    commands = b"EHLO mail.example.org", b"MAIL FROM:<a@example.org>", b"RCPT TO:<b@example.com>", b"DATA"
    codes += [(await client.command(line))[-1][:3] for line in commands]
    await client.send(mail().octets)
    return codes


async def _the_rest(client: Client) -> bytes:
    await client.send(b"the last line\r\n.\r\n")
    return (await client.reply())[-1][:3]


def _children(process: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def _descriptors(process: int) -> int:
    return len(os.listdir(f"/proc/{process}/fd"))


async def _greeting(client: Client) -> bytes:
    """The code of the greeting; empty where there is none."""
    try:
        return (await client.reply() or [b""])[0][:3]
    except ConnectionError:
        return b""


async def _taken(place: Place) -> bool:
    """Whether a message passes, once the service has seen that others have gone."""
    async with asyncio.timeout(BOUND):
        while True:
            async with await place.client() as client:
                if await _greeting(client) == b"220":
                    await client.command(b"EHLO mail.example.org")
                    return (await transaction(client, mail().octets)).content.startswith(b"250 ")


async def test_the_soft_limit_on_file_descriptors_is_raised(place: Place) -> None:
    dns = {"max_questions": 10, "servers": ["127.0.0.1:9"]}
    limits = {"max_connections": 30}
    served = await place.serve(_limited(190), dns=dns, limits=limits, backends=_backends(place, 30))  # exactly enough
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
