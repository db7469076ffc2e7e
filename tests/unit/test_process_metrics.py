"""Memory and processor time of processes: real ones, dead ones, and numbers that another process has by now."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from mailguard.admin.processes import Processes, Usage, usage, usages

BUSY = "import time\nheld = bytearray(50_000_000)\nwhile time.process_time() < 0.5: pass\nprint(1, flush=True)\ninput()"


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[str]]:
    """A process that has taken half a second and 50 MB."""
    with subprocess.Popen(
        [sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        assert started.stdout.readline() == "1\n"
        yield started
        started.kill()


def status(*processes: tuple[str, int, int | None]) -> dict[str, Any]:
    return {
        "pid": os.getpid(),
        "processes": [{"role": role, "pid": pid, "slot": slot} for role, pid, slot in processes],
    }


def test_memory_and_time_of_a_process(busy: subprocess.Popen[str]) -> None:
    found = usage(busy.pid)
    assert found is not None
    assert found.parent == os.getpid()
    assert 0.4 <= found.seconds < 30
    assert 50_000_000 <= found.memory < 500_000_000


def test_a_process_that_is_gone_has_none_whether_or_not_its_parent_knows(busy: subprocess.Popen[str]) -> None:
    busy.kill()
    os.waitid(os.P_PID, busy.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and is still there
    assert usage(busy.pid) is None
    busy.wait()
    assert usage(busy.pid) is None


def test_a_name_with_brackets_and_spaces_is_no_field(tmp_path: Path) -> None:
    (tmp_path / "7").mkdir()
    fields = "S 3 " + " ".join("0" * 9) + " 100 50 " + " ".join("0" * 8) + " 5 0"
    (tmp_path / "7" / "stat").write_text(f"7 (a) S 1 (b) {fields}\n")
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    assert usage(7, tmp_path) == Usage(parent=3, seconds=150 / ticks, memory=5 * page)


def test_who_is_no_child_of_the_supervisor_is_none_of_ours(busy: subprocess.Popen[str]) -> None:
    """A worker's number that a stranger has by now."""
    told = {**status(("worker", busy.pid, 0), ("worker", 1, 1)), "processes": status(("worker", 1, 1))["processes"]}
    assert set(usages(told)) == {("supervisor", "")}
    assert set(usages(status(("worker", busy.pid, 0)))) == {("supervisor", ""), ("worker", "0")}


def test_two_processes_of_one_role_are_one_series() -> None:
    """Or Prometheus would refuse the whole page."""
    told = usages(status(("loader", 8, None), ("loader", 9, None)), lambda pid: Usage(os.getpid(), 1.0, pid))
    assert told["loader", ""] == Usage(os.getpid(), 2.0, 17)


def test_before_the_supervisor_has_said_a_word_there_is_nothing() -> None:
    assert usages({}) == {}


def test_what_is_exposed(busy: subprocess.Popen[str]) -> None:
    registry = CollectorRegistry()
    registry.register(Processes(lambda: status(("worker", busy.pid, 1), ("admin", os.getpid() + 1_000_000, None))))
    families = list(text_string_to_metric_families(generate_latest(registry).decode()))
    assert {
        (sample.name, sample.labels["role"], sample.labels["slot"]) for each in families for sample in each.samples
    } == {
        (name, role, slot)
        for name in ("mailguard_process_resident_memory_bytes", "mailguard_process_cpu_seconds_total")
        for role, slot in (("supervisor", ""), ("worker", "1"))
    }
