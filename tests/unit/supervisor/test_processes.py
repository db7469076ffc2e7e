"""The processes of the service: they share the work, are replaced when they die, and end together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import signal
import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.support.mail import mail, transaction
from tests.support.processes import exists
from tests.support.sink import Sink, Stall
from tests.unit.session.conftest import POLICY
from tests.unit.session.serving import Place
from tests.unit.supervisor.conftest import Running, until

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


async def test_workers_share_the_clients(running: Running) -> None:
    async with contextlib.AsyncExitStack() as stack:
        await running.greeted_by_each(stack, 20)

        async def shared() -> bool:
            return [worker["connections"] for worker in await running.processes("worker")] == [20, 20]

        await until(shared)
        assert {worker["slot"] for worker in await running.processes("worker")} == {0, 1}


async def test_a_worker_that_dies_is_replaced_and_the_other_goes_on(running: Running) -> None:
    first, second = await running.processes("worker")
    before = (await running.status())["restarts"]
    async with contextlib.AsyncExitStack() as stack:
        clients = await running.greeted_by_each(stack, 10)
        os.kill(first["pid"], signal.SIGKILL)
        assert "signal 9" in await running.served.until('event="worker lost"')
        for client in clients[second["pid"]]:
            assert (await client.command(b"NOOP"))[0].startswith(b"250 ")
    assert (await running.passes()).startswith(b"250 ")

    async def replaced() -> bool:
        workers = await running.processes("worker")
        return len(workers) == 2 and all(worker["state"] == "accepting" for worker in workers)

    await until(replaced)
    workers = await running.processes("worker")
    assert second["pid"] in {worker["pid"] for worker in workers}
    assert first["pid"] not in {worker["pid"] for worker in workers}
    assert {worker["slot"] for worker in workers} == {0, 1}
    assert (await running.status())["restarts"] == before + 1


async def test_a_worker_that_hangs_is_killed_and_replaced(place: Any, sink: Any) -> None:
    served = await place.serve(workers=2, processes={"heartbeat_interval": 0.1, "heartbeat_timeout": 5.0})
    await served.until("event=listening")
    running = Running(place, served, sink)
    hanging = (await running.processes("worker"))[0]
    os.kill(hanging["pid"], signal.SIGSTOP)
    assert "no sign of life" in await served.until(f'event="worker lost" slot={hanging["slot"]} pid={hanging["pid"]} ')
    assert not exists(hanging["pid"])
    assert (await running.passes()).startswith(b"250 ")


async def test_a_dead_admin_process_is_replaced_and_mail_goes_on(running: Running) -> None:
    async with await running.greeted() as client:
        (admin,) = await running.processes("admin")
        os.kill(admin["pid"], signal.SIGKILL)
        await running.served.until('event="admin process lost"')
        assert (await transaction(client, mail().octets)).content.startswith(b"250 ")

    async def answers() -> bool:
        return (await running.page("/readyz"))[0] == 200

    await until(answers)
    assert (await running.page("/healthz"))[0] == 200


async def test_where_the_supervisor_is_killed_messages_end_and_then_all_processes(running: Running) -> None:
    processes = (await running.status())["processes"]
    stall = Stall()
    running.sink.once("content", stall, b"250 2.0.0 taken")
    async with await running.greeted() as idle, await running.greeted() as busy:
        sending = asyncio.create_task(transaction(busy, mail().octets))
        await running.sink.seen("content")
        running.served.process.kill()
        assert (await idle.reply())[0].startswith(b"421 4.3.2 ")
        stall.release()
        assert (await sending).content.startswith(b"250 ")

    async def gone() -> bool:
        return not any(exists(each["pid"]) for each in processes)

    await until(gone)
    assert not running.place.listens()
    assert len(running.sink.messages) == 1


async def test_sigterm_lets_a_message_end_and_a_second_one_does_not(running: Running) -> None:
    processes = (await running.status())["processes"]
    running.sink.on("content", Stall(), b"250 2.0.0 taken")
    async with await running.greeted() as busy:
        sending = asyncio.create_task(transaction(busy, mail().octets))
        await running.sink.seen("content")
        running.served.process.terminate()
        await running.served.until("event=draining")
        await asyncio.sleep(0.3)
        assert not sending.done()
        running.served.process.terminate()
        answered = await asyncio.gather(sending, return_exceptions=True)
        assert not (hasattr(answered[0], "content") and answered[0].content.startswith(b"2"))
    status, said = await running.served.ended()
    assert status == os.EX_OK, said
    assert not any(exists(each["pid"]) for each in processes)


async def test_drain_lets_a_message_end(running: Running) -> None:
    stall = Stall()
    running.sink.once("content", stall, b"250 2.0.0 taken")
    async with await running.greeted() as idle, await running.greeted() as busy:
        sending = asyncio.create_task(transaction(busy, mail().octets))
        await running.sink.seen("content")
        status, said = await running.ask("drain")
        assert (status, "messages in flight have 60 s" in said) == (os.EX_OK, True)
        assert (await idle.reply())[0].startswith(b"421 4.3.2 ")
        assert (await running.page("/readyz"))[0] == 503
        stall.release()
        assert (await sending).content.startswith(b"250 ")
    status, said = await running.served.ended()
    assert status == os.EX_OK, said


async def test_a_second_service_in_the_same_folder_does_not_start(running: Running) -> None:
    second = await running.place.serve(workers=1, listen=[{"address": "127.0.0.1:0"}])
    status, said = await second.ended()
    assert status == os.EX_UNAVAILABLE
    assert "another mailguard runs with" in said
    assert (await running.passes()).startswith(b"250 ")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_root_becomes_the_user_and_so_does_the_loader_that_began_before(sink: Sink) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to other users
        os.chmod(name, 0o755)  # noqa: PTH101
        place = Place(Path(name), sink, POLICY)
        served = await place.serve(workers=1, user="nobody")
        await served.until("event=listening")
        running = Running(place, served, sink)
        report = await running.status()
        nobody = pwd.getpwnam("nobody").pw_uid
        for pid in (report["pid"], *(each["pid"] for each in report["processes"])):
            assert os.stat(f"/proc/{pid}").st_uid == nobody  # noqa: PTH116
        assert (await running.passes()).startswith(b"250 ")
        await place.close()
        os.chmod(f"{name}/policy.yaml", 0o600)  # noqa: PTH101
        status, said = await (await place.serve(workers=1, user="nobody")).ended()
        assert (status, "policy.yaml:1:1: this file cannot be read: permission denied" in said) == (os.EX_CONFIG, True)
