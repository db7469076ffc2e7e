"""Each worker keeps to a core of its own where there are as many workers as cores; so does the one that replaces it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from mailguard.children import own_core
from mailguard.children.own_core import core_of, keep_to_own
from tests.unit.supervisor.conftest import Running, until


def test_each_seat_has_a_core_of_its_own() -> None:
    assert [core_of(seat, 3, {9, 2, 4}) for seat in range(3)] == [2, 4, 9]


@pytest.mark.parametrize(("workers", "cores"), [(2, {0, 1, 2}), (3, {0, 1}), (4, {0, 1}), (1, {0})])
def test_where_workers_and_cores_differ_in_number_none_is_kept_to(workers: int, cores: set[int]) -> None:
    assert [core_of(seat, workers, cores) for seat in range(workers)] == [None] * workers


def test_a_kernel_that_forbids_it_is_borne(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under a filter of system calls that an older unit brings."""
    asked: list[set[int]] = []

    def forbidden(_: int, cores: set[int]) -> None:
        asked.append(cores)
        raise PermissionError("not permitted")

    monkeypatch.setattr(own_core.os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr(own_core.os, "sched_setaffinity", forbidden)
    keep_to_own(1, 2)
    keep_to_own(0, 2)
    assert asked == [{1}, {0}]


def cores_of_threads(pid: int) -> tuple[set[int], list[set[int]]]:
    """Of the thread that runs the loop, and of each other thread."""
    threads = sorted(int(each.name) for each in Path(f"/proc/{pid}/task").iterdir())
    loop, *others = map(os.sched_getaffinity, threads)
    return loop, others


@pytest.fixture
def two() -> Any:
    """Two cores, all that this process and its children may use."""
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("one core")
    chosen = set(sorted(allowed)[:2])
    os.sched_setaffinity(0, chosen)
    yield chosen
    os.sched_setaffinity(0, allowed)


async def accepting(running: Running) -> list[dict[str, Any]]:
    workers: list[dict[str, Any]] = []

    async def both() -> bool:
        workers[:] = [each for each in await running.processes("worker") if each["state"] == "accepting"]
        return len(workers) == 2 and all(len(cores_of_threads(each["pid"])[0]) == 1 for each in workers)

    await until(both)
    return workers


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="module")
async def test_workers_keep_to_cores_that_differ_and_their_other_threads_do_not(
    place: Any, sink: Any, two: set[int], tmp_path: Path
) -> None:
    served = await place.serve(workers=2, journal={"directory": str(tmp_path / "journal")})
    await served.until("event=listening")
    kept = Running(place, served, sink)
    workers = await accepting(kept)
    found = [cores_of_threads(each["pid"]) for each in workers]
    assert set().union(*(loop for loop, _ in found)) == two
    assert all(others and all(each == two for each in others) for _, others in found)
    (first,), dead = found[0][0], workers[0]["pid"]
    os.kill(dead, signal.SIGKILL)
    assert "signal 9" in await kept.served.until('event="worker lost"')
    (successor,) = [each for each in await accepting(kept) if each["pid"] != workers[1]["pid"]]
    assert cores_of_threads(successor["pid"])[0] == {first}


@pytest.mark.slow
@pytest.mark.asyncio(loop_scope="module")
async def test_nobody_keeps_to_a_core_where_that_is_not_wanted(place: Any, sink: Any, two: set[int]) -> None:
    served = await place.serve(workers=2, processes={"own_cores": False})
    await served.until("event=listening")
    running = Running(place, served, sink)
    assert (await running.passes()).startswith(b"250 ")
    assert {each["state"] for each in await running.processes("worker")} == {"accepting"}
    assert all(cores_of_threads(each["pid"])[0] == two for each in await running.processes("worker"))
