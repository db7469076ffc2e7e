"""Reloads of a service of two workers: all of it or nothing, told in log, metric and exit status; generations."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from tests.support.mail import mail, transaction
from tests.support.sink import Sink
from tests.unit.session.conftest import POLICY
from tests.unit.session.serving import Place
from tests.unit.supervisor.conftest import Running, mark, until

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


async def generations(running: Running) -> set[int]:
    """The numbers of those whose workers live."""
    return {worker["generation"] for worker in await running.processes("worker")}


async def _refused(running: Running, sender: str) -> list[bool]:
    """Whether both workers refuse ``sender``: of a dozen connections each has some."""
    replies = await asyncio.gather(*(running.passes(sender) for _ in range(12)))
    return sorted({reply.startswith(b"5") for reply in replies})


async def test_a_new_policy_is_taken_by_all_workers(running: Running) -> None:
    before = await generations(running)
    running.place.policy(mark(POLICY, "new.example"))
    status, said = await running.ask("reload")
    assert status == os.EX_OK, said
    assert f"policy {running.place.folder}/policy.yaml loaded, digest " in said
    assert await _refused(running, "a@new.example") == [True]
    assert await _refused(running, "a@unwanted.example") == [False]
    workers = await running.processes("worker")
    assert {worker["policy"] for worker in workers} == {(await running.status())["policy"]}
    assert {worker["generation"] for worker in workers} == before


async def test_a_broken_policy_changes_nothing_and_is_loud(running: Running) -> None:
    before = await running.status()
    running.place.policy("rules: [")
    status, said = await running.ask("reload")
    assert status == os.EX_CONFIG
    assert "policy.yaml:2:1: " in said
    assert "nothing is changed" in said
    assert await running.metric("policy_load_success") == 0
    assert await _refused(running, "a@unwanted.example") == [True]
    after = await running.status()
    assert (after["policy"], after["generation"]) == (before["policy"], before["generation"])
    killed = (await running.processes("worker"))[0]["pid"]
    os.kill(killed, signal.SIGKILL)  # its successor gets what its neighbours run
    await until(lambda: running.replaced(killed))
    assert await _refused(running, "a@unwanted.example") == [True]
    running.place.policy(POLICY)
    assert (await running.ask("reload"))[0] == os.EX_OK
    assert await running.metric("policy_load_success") == 1


async def test_what_hangs_while_it_is_read_is_given_up(running: Running) -> None:
    running.change(limits={"policy_timeout": 1.0})
    status, said = await running.ask("reload")
    assert status == os.EX_OK, said
    part = running.place.folder / "policy.d"
    part.mkdir()
    running.place.policy(POLICY + "lists:\n  endless: {file: endless.txt}\n")
    (running.place.folder / "endless.txt").write_text("\n".join(f"user{i}@example.org" for i in range(700_000)))
    status, said = await running.ask("reload")
    assert status in (os.EX_TEMPFAIL, os.EX_CONFIG), said
    assert "nothing is changed" in said
    assert (await running.passes()).startswith(b"250 ")


async def test_changed_settings_make_a_generation_and_open_sessions_go_on(running: Running) -> None:
    new = max(await generations(running)) + 1
    async with await running.greeted() as idle, await running.greeted() as busy:
        await busy.command(b"MAIL FROM:<someone@example.org>")
        running.change(hostname="new.example.com")
        status, said = await running.ask("reload")
        assert status == os.EX_OK, said
        assert f"generation {new} serves clients" in said
        assert (await idle.reply())[0].startswith(b"421 4.3.2 ")
        async with await running.place.client() as late:
            assert (await late.reply())[0].startswith(b"220 new.example.com ")
        workers = await running.processes("worker")
        assert {worker["generation"] for worker in workers} <= {new - 1, new}
        assert len({worker["slot"] for worker in workers}) == len(workers)
        status, said = await running.ask("reload", "--all")
        assert status == os.EX_TEMPFAIL
        assert "the generation before still drains (" in said
        assert (await busy.command(b"RCPT TO:<alice@example.com>"))[-1].startswith(b"250 ")
        await busy.command(b"DATA")
        await busy.send(mail().octets + b".\r\n")
        assert (await busy.reply())[-1].startswith(b"250 ")
        assert (await busy.reply())[-1].startswith(b"421 4.3.2 ")

    async def alone() -> bool:
        return await generations(running) == {new}

    await until(alone)
    assert (await running.page("/readyz"))[0] == 200


async def test_a_generation_that_does_not_start_changes_nothing(running: Running) -> None:
    before = await generations(running)
    running.sink.on("RCPT", b"250 2.1.5 anybody")
    running.change(hostname="new.example.com")
    status, said = await running.ask("reload")
    assert status == os.EX_CONFIG, said
    assert "the new generation does not start: " in said
    assert "is an open relay" in said
    async with await running.place.client() as client:
        assert (await client.reply())[0].startswith(b"220 mx.example.com ")
    assert await generations(running) == before


async def test_settings_that_take_a_restart_are_refused(running: Running) -> None:
    running.change(workers=3, listen=[{"address": "127.0.0.1:0"}])
    status, said = await running.ask("reload")
    assert status == os.EX_CONFIG
    assert "`listen`, `workers` cannot be changed while mailguard runs" in said
    assert (await running.passes()).startswith(b"250 ")


async def test_reloads_under_load_lose_nothing(running: Running) -> None:
    done: list[bytes] = []
    stop = asyncio.Event()

    async def traffic() -> None:
        while not stop.is_set():
            done.append(await running.passes())
            await asyncio.sleep(0.02)

    log = asyncio.create_task(running.served.take_log())  # a log that nobody reads would hold up all processes
    clients = [asyncio.create_task(traffic()) for _ in range(4)]
    for number in range(2):
        running.place.policy(mark(POLICY, f"new{number}.example"))
        assert (await running.ask("reload"))[0] == os.EX_OK

        async def alone() -> bool:
            return len(await generations(running)) == 1

        await until(alone)
        assert (await running.ask("reload", "--all"))[0] == os.EX_OK
        await until(alone)
        enough = len(done) + 3 * len(clients)  # more than were under way while generations changed

        async def others_since(enough: int = enough) -> bool:
            return len(done) >= enough

        await until(others_since)
    stop.set()
    await asyncio.gather(*clients)
    log.cancel()
    await asyncio.gather(log, return_exceptions=True)
    taken = [reply for reply in done if reply.startswith(b"250 ")]
    assert all(reply.startswith(b"421 4.3.2 ") for reply in done if reply not in taken)  # between two commands
    assert len(running.sink.messages) == len(taken) > len(done) / 2


async def test_only_observing_holds_everywhere_and_ends(running: Running) -> None:
    async with await running.greeted() as client:

        async def refused() -> bool:
            done: Any = await transaction(client, mail().octets, sender="a@unwanted.example")
            assert (done.content or done.rcpt[-1])[:1] in b"25"
            return bool(done.rcpt[-1].startswith(b"5"))

        assert await refused()
        status, said = await running.ask("observe", "--for", "2h")
        assert (status, "only observing until" in said) == (os.EX_OK, True)
        assert not await refused()  # a session that was open before
        assert await running.metric("observing_until_timestamp_seconds") > 0
        assert (await running.status())["observing_until"]
        assert (await running.ask("reload", "--all"))[0] == os.EX_OK
        assert (await running.passes("a@unwanted.example")).startswith(b"250 ")  # a worker that was started since
        assert (await running.ask("observe", "--off"))[0] == os.EX_OK
        assert (await running.passes("a@unwanted.example")).startswith(b"5")


async def test_only_observing_ends_by_itself(running: Running) -> None:
    assert (await running.ask("observe", "--for", "1s"))[0] == os.EX_OK
    await running.served.until('event="enforcing again"')
    assert (await running.passes("a@unwanted.example")).startswith(b"5")
    assert (await running.status())["observing_until"] is None


async def test_files_are_watched_where_that_is_asked_for(place: Place, sink: Sink) -> None:
    served = await place.serve(workers=1, processes={"heartbeat_interval": 0.1, "watch_interval": 0.2})
    await served.until('event="policy loaded"')
    running = Running(place, served, sink)
    running.place.policy("rules: [")
    await served.until('event="policy refused"')
    running.place.policy(mark(POLICY, "new.example"))
    await served.until('event="policy loaded"')
    assert (await running.passes("a@new.example")).startswith(b"5")
