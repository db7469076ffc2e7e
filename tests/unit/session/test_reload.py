"""The policy loaded again while sessions go on: whatever stands in it, however long it takes, however often."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mailguard import metrics, policy_loads, worker
from mailguard.config import Settings
from mailguard.policy.engine import CompiledPolicy
from mailguard.policy_files import load_for
from mailguard.snapshot import Files
from tests.support.mail import mail, submit
from tests.unit.session.conftest import POLICY, Service, Start

BOUND = 20.0
"""Seconds for anything that must happen at all."""


class Gate:
    """A policy that takes until :meth:`open` to be read, and how often it was read."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()
        self.loads = 0
        self.at_once = 0
        self.most_at_once = 0
        self._open = threading.Event()
        self._loop = asyncio.get_running_loop()

    def __call__(self, settings: Settings, _files: Files) -> CompiledPolicy:
        self.loads += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self._loop.call_soon_threadsafe(self.entered.set)
        try:
            if not self._open.wait(BOUND):
                raise AssertionError("the gate was not opened: the event loop is held up")
            return load_for(settings)
        finally:
            self.at_once -= 1

    def open(self) -> None:
        self._open.set()


@pytest.fixture
async def gate(service: Service, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gate]:
    made = Gate()
    monkeypatch.setattr(worker, "load_for", made)
    yield made
    made.open()


@pytest.fixture
async def service(start: Start) -> Service:
    return await start(limits={"policy_timeout": BOUND})


def sample(name: str) -> float:
    return metrics.REGISTRY.get_sample_value(f"mailguard_{name}") or 0.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(BOUND):
        while not condition():  # noqa: ASYNC110  another thread makes it true
            await asyncio.sleep(0.01)


async def passes(service: Service) -> bool:
    async with asyncio.timeout(BOUND), await service.connect() as client:
        return (await submit(client, mail().octets)).content.startswith(b"250 ")


async def test_sessions_go_on_while_a_policy_loads(service: Service, gate: Gate) -> None:
    reloading = asyncio.create_task(service.worker.reload())
    await gate.entered.wait()
    assert await passes(service)
    assert not reloading.done()
    gate.open()
    assert await reloading


async def test_told_again_while_loading_it_loads_once_more(service: Service, gate: Gate) -> None:
    service.worker.reload_soon()
    await gate.entered.wait()
    for _ in range(5):
        service.worker.reload_soon()
        await asyncio.sleep(0)
    assert gate.loads == 1
    gate.open()
    await until(lambda: gate.loads == 2 and gate.at_once == 0)
    assert gate.most_at_once == 1
    assert await passes(service)
    assert gate.loads == 2


async def test_one_that_takes_too_long_is_given_up(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    service = await start(limits={"policy_timeout": 0.1})
    gate = Gate()
    monkeypatch.setattr(worker, "load_for", gate)
    before = service.worker.health().details["policy"]
    service.worker._settings.policy.write_text(POLICY.replace("unwanted.example", "new.example"))
    with capture_logs() as lines:
        assert not await service.worker.reload()
        assert not await service.worker.reload()  # waits for the first, and no second thread hangs beside it
    assert gate.loads == 1
    assert [line["event"] for line in lines] == ["policy refused"] * 2
    assert "`limits.policy_timeout`, 0.1 s" in lines[0]["error"]
    assert sample("policy_load_success") == 0
    assert await passes(service)
    gate.open()
    await until(lambda: gate.at_once == 0)
    assert service.worker.health().details["policy"] == before


async def test_after_one_that_was_given_up_the_next_loads(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    service = await start(limits={"policy_timeout": 1.0})
    gate = Gate()
    monkeypatch.setattr(worker, "load_for", gate)
    assert not await service.worker.reload()
    gate.open()
    async with asyncio.timeout(BOUND):
        while not await service.worker.reload():
            pass
    assert sample("policy_load_success") == 1


async def test_it_stops_while_a_policy_loads(service: Service, gate: Gate) -> None:
    service.worker.reload_soon()
    await gate.entered.wait()
    async with asyncio.timeout(BOUND):
        await service.worker.stop()
    assert gate.at_once == 1


async def test_a_bug_in_what_reads_it_changes_nothing(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> CompiledPolicy:
        raise LookupError("nobody thought of this")

    errors, before = sample("internal_errors_total"), service.worker.health().details["policy"]
    with monkeypatch.context() as patched, capture_logs() as lines:
        patched.setattr(worker, "load_for", broken)
        assert not await service.worker.reload()
    assert [(line["event"], line["exc_info"]) for line in lines] == [("internal error", True)]
    assert (sample("policy_load_success"), sample("internal_errors_total")) == (0, errors + 1)
    assert service.worker.health().details["policy"] == before
    assert await passes(service)
    assert await service.worker.reload()


async def test_a_policy_of_mistakes_does_not_fill_the_log(service: Service, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY + "".join(f"unknown_{number}: 1\n" for number in range(1000)))
    with capture_logs() as lines:
        assert not await service.worker.reload()
    assert len(lines) == policy_loads.MAX_LOGGED + 1
    assert lines[-1]["error"] == "980 more: `mailguard check` tells them"
    assert lines[-1]["count"] == 1000


async def test_what_a_policy_hardly_means_is_logged_and_keeps_it_from_nothing(service: Service, tmp_path: Path) -> None:
    """As many warnings as people read, and how many more there are."""
    number = policy_loads.MAX_LOGGED + 3
    lists = "".join(f"  idle{n}: [198.18.7.{n}]\n" for n in range(number))
    (tmp_path / "policy.yaml").write_text(POLICY + f"lists:\n{lists}")
    with capture_logs() as lines:
        assert await service.worker.reload()
    warnings = [line for line in lines if line["event"] == "policy warning"]
    assert len(warnings) == policy_loads.MAX_LOGGED + 1
    assert "no rule looks into the list `idle0`" in warnings[0]["error"]
    assert warnings[0]["log_level"] == "warning"
    assert warnings[-1]["error"].endswith("more: `mailguard check` tells them")
    assert await passes(service)
