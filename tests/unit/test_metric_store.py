"""Metrics of several real processes: counters never go back, gauges of the dead vanish, a torn file breaks nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mailguard import metric_store
from mailguard.metrics import METRICS, Across

COUNTING = """
import sys
from pathlib import Path
from mailguard import metric_store
metric_store.open_slot(Path(sys.argv[1]), int(sys.argv[2]))
exec(sys.argv[4])
from mailguard import metrics
exec(sys.argv[3])
print("counted", flush=True)
sys.stdin.read()
"""
"""Counts by the statements of its third argument, says so, and lives until its standard input ends; the fourth's come
before there are metrics."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "metrics"
    metric_store.prepare(made)
    return made


def process(folder: Path, slot: int, statements: str, before: str = "") -> subprocess.Popen[str]:
    started = subprocess.Popen(
        [sys.executable, "-c", COUNTING, str(folder), str(slot), statements, before],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    assert any(line == "counted\n" for line in iter(started.stdout.readline, ""))
    return started


def ended(started: subprocess.Popen[str], with_: signal.Signals = signal.SIGKILL) -> None:
    started.send_signal(with_)
    started.communicate(timeout=60)


def shown(folder: Path) -> dict[str, float]:
    """Every sample as ``name{label=value}``."""
    found = {}
    for family in text_string_to_metric_families(metric_store.exposition(folder).decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name.removeprefix('mailguard_')}{{{labels}}}"] = sample.value
    return found


ONE = """
metrics.CONNECTIONS.labels("quit").inc(3)
metrics.MESSAGE_SECONDS.observe(0.3)
metrics.SESSIONS.inc(2)
metrics.BACKEND_UP.labels("a:25").set(1)
metrics.POLICY_SUCCESS.set(1)
metrics.SPAM_RULES_STALE.set(0)
"""
TWO = """
metrics.CONNECTIONS.labels("quit").inc(4)
metrics.MESSAGE_SECONDS.observe(40)
metrics.SESSIONS.inc(5)
metrics.BACKEND_UP.labels("a:25").set(0)
metrics.SPAM_RULES_STALE.set(1)
"""


def test_processes_are_shown_as_one(folder: Path) -> None:
    processes = [process(folder, 0, ONE), process(folder, 1, TWO)]
    found = shown(folder)
    for each in processes:
        ended(each)
    assert found["connections_total{end=quit}"] == 7
    assert found["message_duration_seconds_count{}"] == 2
    assert found["message_duration_seconds_bucket{le=0.5}"] == 1
    assert found["sessions_in_flight{}"] == 7
    assert found["backend_up{backend=a:25}"] == 0
    assert found["spam_rules_stale{}"] == 1
    assert found["policy_load_success{}"] == 1, "the one of a process that has loaded none yet does not count"
    assert not [name for name in found if "_created" in name or "pid=" in name]


def test_a_killed_process_leaves_its_counters_and_no_gauges(folder: Path) -> None:
    stays = process(folder, 1, TWO)
    ended(process(folder, 0, ONE))
    metric_store.slot_ended(folder, 0)
    found = shown(folder)
    assert (found["connections_total{end=quit}"], found["sessions_in_flight{}"]) == (7, 5)
    successor = process(folder, 0, ONE)
    found = shown(folder)
    assert (found["connections_total{end=quit}"], found["sessions_in_flight{}"]) == (10, 7)
    assert found["message_duration_seconds_sum{}"] == pytest.approx(40.6)
    for each in (stays, successor):
        ended(each)
    metric_store.slot_ended(folder, 0)
    metric_store.slot_ended(folder, 1)
    found = shown(folder)
    assert found["connections_total{end=quit}"] == 10
    assert not [name for name in found if name.startswith(("sessions_in_flight", "backend_up", "policy_load_"))]


FIXED_TIME = """
import time
time.time = lambda: 1795262400.25
"""
THEIRS = (
    FIXED_TIME
    + """
import os
import prometheus_client
from prometheus_client import values
from mailguard import metric_kinds
os.environ["PROMETHEUS_MULTIPROC_DIR"] = sys.argv[1]
values.ValueClass = values.MultiProcessValue(lambda: int(sys.argv[2]))
for kind in ("Counter", "Gauge", "Histogram"):
    setattr(metric_kinds, kind, getattr(prometheus_client, kind))
"""
)
"""Has prometheus_client count, and keep the values."""

EVERYTHING = """
for turn in range(300):
    metrics.CONNECTIONS.labels("quit").inc()
    metrics.MESSAGES.labels("reject", f"rule {turn}").inc(turn / 7)
    metrics.DNSBL_SECONDS.labels(f"list {turn % 250}").observe(turn / 100)
    metrics.SESSIONS.inc(3)
    metrics.SESSIONS.dec()
    metrics.BACKEND_UP.labels("a:25").set(turn % 2)
    metrics.POLICY_FINGERPRINT.set(turn)
metrics.POLICY_LOADED.set_to_current_time()
"""


@pytest.mark.parametrize("turns", [[EVERYTHING], [ONE, EVERYTHING, EVERYTHING]])
def test_files_are_as_prometheus_client_writes_them(tmp_path: Path, turns: list[str]) -> None:
    """To the octet, of a slot's first process and of later ones; one of the files outgrows its room."""
    theirs, ours = (_written(tmp_path / str(len(before)), turns, before) for before in (THEIRS, FIXED_TIME))
    assert theirs.keys() == ours.keys()
    assert [name for name in theirs if theirs[name] != ours[name]] == []
    assert len(ours["histogram_3.db"]) > metric_store.ROOM["histogram"]


def _written(directory: Path, turns: list[str], before: str) -> dict[str, bytes]:
    metric_store.prepare(directory)
    for statements in turns:
        ended(process(directory, 3, statements, before))
    return {file.name: file.read_bytes() for file in directory.iterdir()}


def test_generations_leave_no_files_behind(folder: Path) -> None:
    ended(process(folder, 0, ONE))
    metric_store.slot_ended(folder, 0)
    files, lines = sorted(folder.iterdir()), len(shown(folder))
    for _ in range(3):
        ended(process(folder, 0, ONE))
        metric_store.slot_ended(folder, 0)
    assert (sorted(folder.iterdir()), len(shown(folder))) == (files, lines)


TORN = {
    "empty": lambda octets: b"",
    "no length yet": lambda octets: bytes(len(octets)),
    "cut in an entry": lambda octets: octets[:100],
    "cut in the length": lambda octets: octets[:2],
    "an entry longer than the file": lambda octets: octets[:8] + b"\xff\xff\xff\x7f" + octets[12:],
    "a key that is none": lambda octets: octets[:12] + b"[1, 2]  " + octets[20:],
    "octets that are no text": lambda octets: octets[:12] + b"\xff" * 40 + octets[52:],
}


@pytest.mark.parametrize("how", TORN)
@pytest.mark.parametrize("kind", ["counter", "histogram", "gauge_livesum"])
def test_a_torn_file_breaks_neither_a_scrape_nor_the_next_process(folder: Path, kind: str, how: str) -> None:
    ended(process(folder, 0, ONE))
    stays = process(folder, 1, TWO)
    file = folder / f"{kind}_0.db"
    file.write_bytes(TORN[how](file.read_bytes()))
    found = shown(folder)
    assert found["connections_total{end=quit}"] == (4 if kind == "counter" else 7)
    assert found["message_duration_seconds_count{}"] == (1 if kind == "histogram" else 2)
    successor = process(folder, 0, ONE)
    assert shown(folder)["connections_total{end=quit}"] == (7 if kind == "counter" else 10)
    for each in (stays, successor):
        ended(each)


def test_a_prepared_folder_is_private_and_without_values(folder: Path) -> None:
    ended(process(folder, 0, ONE))
    folder.chmod(0o755)
    metric_store.prepare(folder)
    assert list(folder.iterdir()) == []
    assert folder.stat().st_mode & 0o777 == 0o700


def test_files_have_their_room_before_it_is_needed(folder: Path) -> None:
    """Or a full file system would kill the process with SIGBUS when it counts."""
    ended(process(folder, 0, ""))
    for file in folder.iterdir():
        assert file.stat().st_blocks * 512 >= file.stat().st_size, file
    assert {file.name for file in folder.iterdir()} == {f"{kind}_0.db" for kind in metric_store.ROOM}


def test_every_kind_of_gauge_has_room() -> None:
    assert {kind.removeprefix("gauge_") for kind in metric_store.ROOM if kind.startswith("gauge")} == {
        *get_args(Across)
    }


def test_it_is_too_late_once_the_metrics_are_there(folder: Path) -> None:
    with pytest.raises(RuntimeError, match="before"):
        metric_store.open_slot(folder, 0)


def test_one_process_shows_its_own() -> None:
    names = [line.split()[2] for line in metric_store.exposition(None).decode().splitlines() if "# TYPE" in line]
    assert sorted(names) == sorted(spec.name for spec in METRICS if spec.across != "each")
    assert "_created" not in metric_store.exposition(None).decode()
