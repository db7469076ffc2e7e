"""What several processes count together: bounds on connections, and metrics that no death of a process sets back."""

from __future__ import annotations

import ast
import contextlib
import os
import signal

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mailguard import __version__
from tests.support.client import Client
from tests.support.sink import Sink
from tests.unit.session.serving import Place
from tests.unit.supervisor.conftest import Running, until

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

COUNTED = ("_total", "_count", "_bucket", "_sum")
OF_ONE_PROCESS = "process_cpu_seconds_total"
"""Begins anew with each process."""
ALL = {("admin", ""), ("supervisor", ""), ("worker", "0"), ("worker", "1")}
"""Processes: roles and slots."""
MOST = 30
"""Connections, which both workers have some of."""


async def samples(running: Running) -> dict[tuple[str, str], float]:
    """Every sample that /metrics shows, by name and labels; each name and labels come once."""
    _, text = await running.page("/metrics")
    found: dict[tuple[str, str], float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            key = (sample.name.removeprefix("mailguard_"), str(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def memory_of(found: dict[tuple[str, str], float]) -> set[tuple[str, str]]:
    """Role and slot of each process whose memory is shown, and believable."""
    shown = {labels: value for (name, labels), value in found.items() if name == "process_resident_memory_bytes"}
    assert all(10_000_000 < value < 1_000_000_000 for value in shown.values())
    return {(labels["role"], labels["slot"]) for labels in map(dict, map(ast.literal_eval, shown))}


async def _all_have_memory(running: Running, which: set[tuple[str, str]]) -> bool:
    return memory_of(await samples(running)) == which


async def open_now(running: Running) -> float:
    return (await samples(running))["sessions_in_flight", "[]"]


async def test_counters_never_go_back_and_gauges_of_the_dead_vanish(running: Running) -> None:
    for _ in range(6):
        assert (await running.passes()).startswith(b"250 ")
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(20):
            await stack.enter_async_context(await running.greeted())
        await until(lambda: _all_have_memory(running, ALL))
        before = await samples(running)
        assert sum(value for (name, _), value in before.items() if name == "messages_total") == 6
        assert before["sessions_in_flight", "[]"] >= 20
        for worker in await running.processes("worker"):
            os.kill(worker["pid"], signal.SIGKILL)
            await until(lambda pid=worker["pid"]: running.replaced(pid))  # type: ignore[misc]
        await until(lambda: _all_have_memory(running, ALL))
        after = await samples(running)
    fallen = {
        key
        for key, value in before.items()
        if key[0].endswith(COUNTED) and key[0] != OF_ONE_PROCESS and after.get(key, 0) < value
    }
    assert not fallen
    assert after["sessions_in_flight", "[]"] == 0
    assert (after["build_info", f"[('version', '{__version__}')]"], after["policy_load_success", "[]"]) == (1, 1)
    assert (await running.passes()).startswith(b"250 ")
    async with await running.greeted():
        await until(lambda: _is(running, 1))
    await until(lambda: _is(running, 0))


async def _is(running: Running, number: int) -> bool:
    return await open_now(running) == number


async def test_the_bound_on_connections_is_one_for_all_workers(place: Place, sink: Sink) -> None:
    """And those of a worker that was killed are free again."""
    served = await place.serve(workers=2, processes={"heartbeat_interval": 0.1}, limits={"max_connections": MOST})
    await served.until("event=listening")
    running = Running(place, served, sink)
    async with contextlib.AsyncExitStack() as stack:
        await running.greeted_by_each(stack, MOST // 2)  # neither has all of them, or this would show nothing
        assert (await _greeting(place)).startswith(b"421 4.3.2 ")
        for worker in await running.processes("worker"):
            os.kill(worker["pid"], signal.SIGKILL)
            await until(lambda pid=worker["pid"]: running.replaced(pid))  # type: ignore[misc]
        for _ in range(MOST):
            await stack.enter_async_context(await running.greeted())
        assert (await _greeting(place)).startswith(b"421 4.3.2 ")
    metrics = await samples(running)
    assert metrics["connections_refused_total", "[('why', 'slots')]"] == 2
    assert metrics["connection_slots", "[('who', 'own')]"] == MOST


async def _greeting(place: Place) -> bytes:
    client: Client = await place.client()
    async with client:
        return (await client.reply())[0]
