"""While it starts the service hears signals; what fails is told once; what a killed one left is waited for."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from mailguard.net import local
from mailguard.supervisor import succession
from mailguard.supervisor.run_dir import RunDir
from mailguard.supervisor.succession import PatientBind
from tests.support.mail import mail, transaction
from tests.support.processes import exists
from tests.support.sink import Stall
from tests.unit.session.serving import Place, Served
from tests.unit.supervisor.conftest import Running, until

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


_AT_THE_GATE = """
import sys
if {{"mailguard.children", "loader"}} <= set(sys.orig_argv):
    with open({pipe!r}) as gate:
        gate.read()
"""
"""Run by an interpreter before its module, as ``sitecustomize`` (site): a loader waits before it loads anything."""


class Gate:
    """A start that goes on only when this is opened: the loader, whom all others wait for, has read nothing before."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._folder = place.folder / "gate"
        self._folder.mkdir()
        self._pipe = self._folder / "pipe"
        os.mkfifo(self._pipe)
        (self._folder / "sitecustomize.py").write_text(_AT_THE_GATE.format(pipe=str(self._pipe)))
        self._held = -1

    async def begun(self, **changes: Any) -> Served:
        """A service whose loader waits; it hears signals and commands."""
        paths = [str(self._folder), *filter(None, [os.environ.get("PYTHONPATH")])]
        served = await self._place.serve(within=("env", f"PYTHONPATH={os.pathsep.join(paths)}"), **changes)

        async def there() -> bool:
            return self._reached() and (self._place.folder / "run" / "control").exists()

        await until(there)
        return served

    def _reached(self) -> bool:
        """Whether somebody waits (fifo(7)): from now on until we close it, too."""
        if self._held < 0:
            with contextlib.suppress(OSError):
                self._held = os.open(self._pipe, os.O_WRONLY | os.O_NONBLOCK)
        return self._held >= 0

    def open(self) -> None:
        """Let the loader go on, and each later one pass."""
        (self._folder / "open").touch()
        (self._folder / "open").rename(self._pipe)
        os.close(self._held)
        self._held = -1

    def close(self) -> None:
        if self._held >= 0:
            os.close(self._held)


@pytest_asyncio.fixture(loop_scope="module")
async def gate(place: Place) -> AsyncIterator[Gate]:
    made = Gate(place)
    yield made
    made.close()


async def test_sigterm_while_the_policy_is_loaded_ends_the_start(place: Place, gate: Gate) -> None:
    served = await gate.begun(workers=2)
    served.process.terminate()
    status, said = await served.ended()
    assert status == os.EX_OK, said
    assert "event=draining" in said
    assert "event=listening" not in said
    assert "generation ended" not in said
    assert not place.listens()


async def test_sighup_while_the_policy_is_loaded_is_carried_out_behind_the_start(gate: Gate) -> None:
    served = await gate.begun()
    served.process.send_signal(signal.SIGHUP)
    await served.until('event="reload waits for the start"')
    gate.open()
    await served.until('event="policy loaded"')
    await served.until('event="policy loaded"')
    assert served.process.returncode is None


async def test_a_start_that_fails_says_so_and_not_that_anything_ended(place: Place) -> None:
    place.policy("rules: [")
    status, said = await (await place.serve()).ended()
    assert status == os.EX_CONFIG
    assert said.count('event="start failed"') == 1
    assert "policy.yaml:2:1: " in said
    assert "    hint: write a value" in said  # and not only its first line
    for never in ("event=stopped", "generation ended", "event=listening"):
        assert never not in said


async def test_settings_that_change_during_the_start_are_not_served(place: Place, gate: Gate) -> None:
    served = await gate.begun()
    configuration = place.folder / "mailguard.yaml"
    configuration.write_text(configuration.read_text() + "log: {level: warning}\n")
    gate.open()
    status, said = await served.ended()
    assert (status, "log changed while mailguard started: start it again" in said) == (os.EX_TEMPFAIL, True), said


async def test_behind_a_supervisor_that_was_killed_the_service_starts_while_old_workers_listen(
    running: Running,
) -> None:
    """One of the old workers is held, so that it goes on listening; it is let go when the new service waits for it."""
    held, other = (worker["pid"] for worker in await running.processes("worker"))
    stall = Stall()
    running.sink.once("content", stall, b"250 2.0.0 taken")
    try:
        async with await running.greeted() as busy:
            sending = asyncio.create_task(transaction(busy, mail().octets))
            await running.sink.seen("content")
            os.kill(held, signal.SIGSTOP)
            running.served.process.kill()
            for pid in (held, other):
                os.kill(pid, signal.SIGTERM)  # as systemd does to what is left of a control group
            again = await running.place.serve(workers=2)
            line = await again.until('event="address in use"')
            assert f"address=127.0.0.1:{running.place.port}" in line
            assert "the supervisor before was killed" in line
            os.kill(held, signal.SIGCONT)
            stall.release()
            assert (await sending).content.startswith(b"250 ")  # the orphans let their messages end
            await again.until("event=listening")
            assert again.log.count("address in use") == 1
        assert (await running.passes()).startswith(b"250 ")

        async def gone() -> bool:
            return not exists(held) and not exists(other)

        await until(gone)
        await running.served.ended()  # its pipe is closed with its last process
        again.process.terminate()
        status, said = await again.ended()
        assert status == os.EX_OK, said
    finally:
        for pid in (held, other):
            if exists(pid):
                os.kill(pid, signal.SIGKILL)


async def test_an_address_of_somebody_else_ends_the_start_at_once(place: Place) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # beside the place's own, which does not listen
        other.bind(("127.0.0.1", place.port))
        other.listen()
        status, said = await (await place.serve()).ended()
    assert (status, "something listens there already" in said) == (os.EX_UNAVAILABLE, True)
    assert 'event="address in use"' not in said


async def test_sigterm_to_all_processes_is_a_drain_with_its_pages(running: Running) -> None:
    """What systemd does at a stop, with KillMode=control-group."""
    pids = [each["pid"] for each in (await running.status())["processes"]]
    stall = Stall()
    running.sink.once("content", stall, b"250 2.0.0 taken")
    async with await running.greeted() as busy:
        sending = asyncio.create_task(transaction(busy, mail().octets))
        await running.sink.seen("content")
        for pid in (running.served.process.pid, *pids):
            os.kill(pid, signal.SIGTERM)
        await running.served.until("event=draining")

        async def told() -> bool:  # the supervisor logs it before it tells the pages
            return (await running.page("/readyz"))[0] == 503

        await until(told)
        assert (await running.page("/healthz"))[0] == 200
        stall.release()
        assert (await sending).content.startswith(b"250 ")
    status, said = await running.served.ended()
    assert status == os.EX_OK, said
    assert "lost" not in said


# --- the parts -----------------------------------------------------------------------------------------------------


class _Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


async def test_an_address_is_waited_for_within_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    time, tries = _Time(), list[float]()

    def in_use(_address: str) -> socket.socket:
        tries.append(time.now)
        raise OSError(errno.EADDRINUSE, "in use")

    monkeypatch.setattr(succession, "bind", in_use)
    bind = PatientBind(1.0, time, time.sleep)
    with pytest.raises(OSError, match="in use"):
        bind("127.0.0.1:25")
    assert len(tries) == pytest.approx(11, abs=1)
    tries.clear()
    with pytest.raises(OSError, match="in use"):
        bind("127.0.0.1:26")  # the time is that of all addresses together
    assert len(tries) == 1


async def test_only_an_address_in_use_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    time = _Time()
    monkeypatch.setattr(succession, "bind", local.bind)
    with pytest.raises(OSError, match=os.strerror(errno.EADDRNOTAVAIL)):
        PatientBind(1.0, time, time.sleep)("203.0.113.5:25")
    assert time.now == 100.0


async def test_what_a_killed_service_left_is_seen_until_another_has_begun(tmp_path: Path) -> None:
    with RunDir(tmp_path) as folder:
        assert not folder.left_behind
        folder.listen(-1).close()
        os.link(tmp_path / "control", tmp_path / "kept")
    os.link(tmp_path / "kept", tmp_path / "control")  # as though it had been killed
    for _ in range(2):
        with RunDir(tmp_path) as folder:  # one that does not come to listen leaves it there
            assert folder.left_behind
    with RunDir(tmp_path) as folder:
        folder.listen(-1).close()
    with RunDir(tmp_path) as folder:
        assert not folder.left_behind
