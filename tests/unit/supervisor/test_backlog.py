"""Clients that wait in the kernel to be accepted: none is reset when the service ends, or a generation takes over."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest

from mailguard.net.backlog import stop_new, waiting
from tests.support.client import Client, proxy_v1
from tests.support.mail import mail, transaction
from tests.unit.session.serving import BOUND, Place
from tests.unit.supervisor.conftest import Running, until

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


async def test_nobody_new_begins_and_who_waits_is_still_accepted() -> None:
    with socket.socket() as listening, contextlib.ExitStack() as stack:
        listening.bind(("127.0.0.1", 0))
        listening.listen(8)
        listening.settimeout(1.0)
        assert not waiting(listening)
        before = stack.enter_context(socket.create_connection(listening.getsockname(), 1.0))
        assert stop_new(listening)
        with pytest.raises(TimeoutError):
            stack.enter_context(socket.create_connection(listening.getsockname(), 0.2))
        assert waiting(listening)
        taken, address = listening.accept()
        with taken:
            assert address == before.getsockname()
            taken.sendall(b"421 later\r\n")
            assert before.recv(20) == b"421 later\r\n"
        assert not waiting(listening)


LET_DOWN_GENTLY = {(b"421 4.3.2 ",), (b"220 mx.exa", b"421 4.3.2 ")}
"""All that a client may hear; the greeting where a worker took it before it heard that it is to end.

How many it takes so is the kernel's choice: all of them, where the connections are ready before the word to end is.
"""


async def _all(client: Client) -> tuple[bytes, ...]:
    """The beginning of each reply that a client hears who says nothing; how its connection ended if not orderly."""
    heard: list[bytes] = []
    try:
        while lines := await client.reply():
            heard.append(lines[0][:10])
    except ConnectionResetError:
        heard.append(b"reset")
    return tuple(heard)


async def _heard(running: Running, end: Callable[[], Awaitable[None]]) -> Counter[tuple[bytes, ...]]:
    """What 50 clients hear that queue in the kernel, for both workers are held, until ``end`` has been done."""
    pids = [worker["pid"] for worker in await running.processes("worker")]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(await running.place.client()) for _ in range(50)]
            await end()
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
            return Counter(await asyncio.gather(*map(_all, clients)))
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


async def test_who_waits_when_the_service_ends_hears_421(running: Running) -> None:
    async def end() -> None:
        running.served.process.terminate()
        await running.served.until("event=draining")

    heard = await _heard(running, end)
    assert heard.keys() <= LET_DOWN_GENTLY, heard
    status, said = await running.served.ended()
    assert status == os.EX_OK, said
    assert not running.place.listens()


async def test_who_waits_when_the_supervisor_is_killed_hears_421(running: Running) -> None:
    async def end() -> None:
        running.served.process.kill()

    heard = await _heard(running, end)
    await running.served.ended()
    assert heard.keys() <= LET_DOWN_GENTLY, heard


async def test_a_worker_alone_that_gets_sigterm_leaves_the_socket_to_its_neighbour(running: Running) -> None:
    pid = (await running.processes("worker"))[0]["pid"]
    os.kill(pid, signal.SIGTERM)
    await until(lambda: running.replaced(pid))
    for _ in range(10):
        assert (await running.passes()).startswith(b"250 ")


async def test_behind_proxies_nobody_is_refused_or_reset_by_a_generation(place: Place) -> None:
    """Headers come late, so that many are under way at each change; a 421 comes only as an answer, never a reset."""
    listen = [{"address": f"127.0.0.1:{place.port}", "proxy_protocol_from": ["127.0.0.1"]}]
    served = await place.serve(workers=2, listen=listen, processes={"heartbeat_interval": 0.1})
    await served.until("event=listening")
    log = asyncio.create_task(served.take_log())
    heard, stop = Counter[str](), asyncio.Event()

    async def client(number: int) -> None:
        while not stop.is_set():
            try:
                async with await place.client() as client:
                    await asyncio.sleep(0.2)
                    await client.send(proxy_v1(f"198.18.{number}.{len(heard) + 1}"))
                    heard[await _passes(client)] += 1
            except OSError as error:
                heard[type(error).__name__] += 1

    clients = [asyncio.create_task(client(number)) for number in range(6)]
    try:
        running = Running.__new__(Running)
        running.place, running.served = place, served
        while heard["passed"] < 12:  # noqa: ASYNC110  others count
            await asyncio.sleep(0.05)
        answer = await running.say("reload", all=True)
        assert answer["status"] == os.EX_OK, answer

        async def alone() -> bool:
            return {each["generation"] for each in await running.processes("worker")} == {2}

        await until(alone)
        before = heard["passed"]
        while heard["passed"] < before + 12:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    finally:
        stop.set()
        async with asyncio.timeout(3 * BOUND):
            await asyncio.gather(*clients)
    assert set(heard) <= {"passed", "421"}, heard
    served.process.terminate()
    async with asyncio.timeout(BOUND):
        await served.process.wait()
        await log


async def _passes(client: Client) -> str:
    """How a message fared: passed, told to come again, or how its connection ended."""
    for reply in (await client.reply(), await client.command(b"EHLO mail.example.org")):
        if not reply:
            return "closed without a word"
        if reply[-1].startswith(b"421 4.3.2"):
            return "421"
    done = await transaction(client, mail().octets)
    last = done.content or (done.rcpt[-1] if done.rcpt else b"") or done.mail
    return {b"250": "passed", b"421": "421"}.get(last[:3], last.decode() or "closed without a word")
