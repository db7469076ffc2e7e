"""Writing never waits and never fails; what is lost is counted, and told once in a while."""

from __future__ import annotations

import os
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mailguard.journal import writer as module
from mailguard.journal.form import encode
from mailguard.journal.reader import Query
from mailguard.journal.segment import Segment
from tests.unit.journal.conftest import Kept, record

Became = Callable[[], dict[str, float]]


def until(condition: Callable[[], object]) -> None:
    """Wait for what a thread does, bounded."""
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it never happened")


def test_what_is_put_is_written(kept: Kept, became: Became) -> None:
    records = [record(number) for number in range(5)]
    kept.write(*records)
    assert kept.reader.search(Query()) == records
    assert became() == {"written": 5, "failed": 0, "overflow": 0}


def test_a_line_after_a_pause_of_any_length_is_written_soon(
    kept: Kept, became: Became, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread falls asleep when no line came for a while: each of these comes before, while or after it does."""
    monkeypatch.setattr(module, "GATHER", 0.01)
    writer = kept.writer()
    for number in range(1, 61):
        writer.put(encode(record(number)))
        until(lambda wanted=number: became()["written"] == wanted)
        time.sleep(number % 20 / 1000)
    assert writer.stop()


def test_the_thread_is_woken_after_a_pause_and_not_for_each_line(
    kept: Kept, became: Became, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "GATHER", 60.0)
    writer, woken = kept.writer(), []
    until(lambda: writer._asleep)
    wake = writer._wanted.set
    monkeypatch.setattr(writer._wanted, "set", lambda: (woken.append(1), wake()))
    for number in range(100):
        writer.put(encode(record(number)))
    assert len(woken) == 1
    assert writer.stop()
    assert became()["written"] == 100


def test_modes_are_what_they_must_be_whatever_the_umask(kept: Kept) -> None:
    before = os.umask(0o000)
    try:
        kept.write(record())
    finally:
        os.umask(before)
    [segment] = kept.files()
    assert stat.S_IMODE(kept.path.stat().st_mode) == 0o750
    assert stat.S_IMODE(segment.stat().st_mode) == 0o640


def test_a_name_tells_slot_process_and_time(kept: Kept) -> None:
    kept.write(record())
    [segment] = kept.files()
    assert segment.name.startswith("20261121T100000.0")
    assert segment.name.endswith(f"Z-0-{os.getpid()}.jsonl")


def test_segments_end_by_size(kept: Kept, became: Became) -> None:
    writer = kept.writer(segment_size=4096)
    for number in range(1, 31):
        writer.put(encode(record(number, helo={"name": "x" * 1000})))
        until(lambda wanted=number: became()["written"] == wanted)
    assert writer.stop()
    sizes = [path.stat().st_size for path in kept.files(".jsonl")]
    assert len(sizes) > 5
    assert all(4096 <= size < 4096 + 2048 for size in sizes[:-1])
    assert len(kept.reader.search(Query())) == 30


def test_segments_end_by_age_without_a_new_record(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    closed = threading.Event()
    monkeypatch.setattr(Segment, "close", lambda segment: (os.close(segment._descriptor), closed.set()))
    writer = kept.writer(segment_age=0.2)
    writer.put(encode(record()))
    until(lambda: kept.path.exists() and kept.files() and kept.files()[0].stat().st_size)
    assert not closed.is_set()
    kept.clock.passed = 1.0
    assert closed.wait(30)


def test_no_two_writers_share_a_file(kept: Kept) -> None:
    first, second = kept.writer(), kept.writer()
    first.put(encode(record(1)))
    second.put(encode(record(2)))
    assert first.stop() and second.stop()
    assert len(kept.files()) == 2


def test_the_next_writer_leaves_a_torn_line_alone(kept: Kept) -> None:
    kept.write(record(1))
    [old] = kept.files()
    torn = old.read_bytes() + encode(record(2))[:-40]
    old.write_bytes(torn)
    kept.write(record(3))
    assert old.read_bytes() == torn
    reader = kept.reader
    assert [found["sender"] for found in reader.search(Query())] == ["sender1@example.org", "sender3@example.org"]
    assert reader.torn == 1


def test_put_does_not_wait_for_a_disk_that_hangs(kept: Kept, became: Became, monkeypatch: pytest.MonkeyPatch) -> None:
    hanging, on = threading.Event(), threading.Event()
    monkeypatch.setattr(Segment, "append", lambda _segment, _lines: (hanging.set(), on.wait(30)))
    line = encode(record())
    writer = kept.writer(queue_size=65536, close_timeout=0.1)
    writer.put(line)
    assert hanging.wait(30)
    fits = 65536 // len(line) - 1  # what is being written waits too
    with capture_logs() as logged:
        for _ in range(fits + 100):
            writer.put(line)
        assert not writer.stop()
    assert became()["overflow"] == 100
    assert [(each["event"], each["operation"]) for each in logged] == [("journal failed", "overflow")]
    on.set()


def test_what_came_before_the_end_is_written(kept: Kept, became: Became) -> None:
    writer = kept.writer()
    for number in range(500):
        writer.put(encode(record(number)))
    assert writer.stop()
    assert became()["written"] == 500


@contextmanager
def no_file_over(octets: int) -> Iterator[None]:
    """The kernel lets no file grow over so many octets, as a full disk would not (setrlimit(2))."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (octets, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_loses_records_and_no_whole_line(kept: Kept, became: Became) -> None:
    writer = kept.writer(segment_size=1 << 20, retry=10)
    writer.put(encode(record(1)))
    until(lambda: became()["written"] == 1)
    [segment] = kept.files()
    with capture_logs() as logged, no_file_over(segment.stat().st_size + 100):
        writer.put(encode(record(2)))
        until(lambda: became()["failed"] == 1)
        assert segment.read_bytes() == encode(record(1))  # half of it had been written, and was taken back
        writer.put(encode(record(3)))
        until(lambda: became()["failed"] == 2)
    writer.put(encode(record(4)))
    until(lambda: became()["failed"] == 3)  # it is not tried yet
    kept.clock.passed = 11.0
    with capture_logs() as later:
        writer.put(encode(record(5)))
        until(lambda: became()["written"] == 2)
        assert writer.stop()
    assert kept.files() == [segment]
    assert segment.read_bytes() == encode(record(1)) + encode(record(5))
    assert [(each["event"], each["error"], each["count"]) for each in logged] == [
        ("journal failed", "File too large", 1)
    ]
    assert [(each["event"], each["count"]) for each in later] == [("journal works again", 2)]


def test_where_nothing_can_be_taken_back_another_segment_is_begun(
    kept: Kept, became: Became, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = kept.writer(segment_size=1 << 20, retry=1e-9)
    writer.put(encode(record(1)))
    until(lambda: became()["written"] == 1)
    [segment] = kept.files()
    with monkeypatch.context() as broken, no_file_over(segment.stat().st_size + 100):
        broken.setattr(os, "ftruncate", lambda *_: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        writer.put(encode(record(2)))
        until(lambda: became()["failed"] == 1)
    kept.clock.passed += 1
    writer.put(encode(record(3)))
    assert writer.stop()
    reader = kept.reader
    assert [found["ref"] for found in reader.search(Query())] == [record(1)["ref"], record(3)["ref"]]
    assert (len(kept.files()), reader.torn) == (2, 1)


def test_after_a_sync_that_failed_another_segment_is_begun(
    kept: Kept, became: Became, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = kept.writer(sync="always", retry=1e-9)
    with monkeypatch.context() as broken, capture_logs() as logged:
        broken.setattr(os, "fdatasync", lambda _: (_ for _ in ()).throw(OSError(5, "Input/output error")))
        writer.put(encode(record(1)))
        until(lambda: [each for each in logged if each["event"] == "journal failed"])
    kept.clock.passed += 1
    writer.put(encode(record(2)))
    assert writer.stop()
    assert len(kept.files()) == 2
    assert became() == {"written": 2, "failed": 0, "overflow": 0}


@pytest.mark.parametrize(("sync", "expected"), [("never", 0), ("interval", 1), ("always", 3)])
def test_how_often_it_syncs(
    kept: Kept, became: Became, monkeypatch: pytest.MonkeyPatch, sync: str, expected: int
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(Segment, "sync", lambda _segment: synced.append(1))
    writer = kept.writer(sync=sync, sync_interval=100.0)
    for number in range(3):
        kept.clock.passed += 60
        writer.put(encode(record(number)))
        until(lambda wanted=number + 1: became()["written"] == wanted)
        if number == 1 and sync == "interval":
            assert not synced  # 60 s after the segment was begun
    assert writer.stop()
    assert len(synced) == expected


def test_a_folder_that_is_missing_is_trouble_and_no_error(kept: Kept, became: Became) -> None:
    kept.path = kept.path / "deep" / "down"
    with capture_logs() as logged:
        kept.write(record())
    assert became()["failed"] == 1
    assert [each["error"] for each in logged] == ["No such file or directory"]


def test_a_folder_that_is_removed_is_made_again(kept: Kept, became: Became) -> None:
    writer = kept.writer()
    writer.put(encode(record(1)))
    until(lambda: became()["written"] == 1)
    [segment] = kept.files()
    segment.unlink()
    kept.path.rmdir()
    writer.put(encode(record(2)))
    assert writer.stop()
    assert [found["ref"] for found in kept.reader.search(Query())] == [record(2)["ref"]]


def test_a_link_in_the_place_of_the_folder_is_not_followed(kept: Kept, became: Became, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    kept.path.symlink_to(elsewhere)
    kept.write(record())
    assert became()["failed"] == 1
    assert list(elsewhere.iterdir()) == []


def test_a_link_in_the_place_of_a_segment_is_not_followed(
    kept: Kept, became: Became, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    kept.path.mkdir()
    monkeypatch.setattr(module, "stem_of", lambda *_: "20261121T100000.000000Z-0-1")
    (kept.path / "20261121T100000.000000Z-0-1.jsonl").symlink_to(victim)
    kept.write(record())
    assert became()["failed"] == 1
    assert victim.read_text() == "precious"


def test_a_bug_in_the_thread_does_not_end_the_journal(
    kept: Kept, became: Became, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = kept.writer()
    with monkeypatch.context() as broken, capture_logs() as logged:
        broken.setattr(Segment, "append", lambda *_: (_ for _ in ()).throw(LookupError("a bug")))
        writer.put(encode(record(1)))
        until(lambda: [each for each in logged if each["event"] == "internal error"])
    writer.put(encode(record(2)))
    assert writer.stop()
    assert became()["written"] == 1


_KILLED = """
import os, signal, sys, time
from pathlib import Path
from tests.unit.journal.conftest import Kept, record
from mailguard.journal.form import encode
kept = Kept(Path(sys.argv[1]))
writer = kept.writer(segment_size=1 << 20)
for number in range(100):
    writer.put(encode(record(number)))
while not (kept.path.exists() and kept.files() and kept.files()[0].stat().st_size):
    time.sleep(0.01)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_is_killed_leaves_what_it_wrote(kept: Kept) -> None:
    ended = subprocess.run([sys.executable, "-c", _KILLED, str(kept.path)], timeout=60, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert len(kept.reader.search(Query())) == 100
    kept.keeper().round()
    assert [path.suffix for path in kept.files()] == [".idx", ".gz"]
