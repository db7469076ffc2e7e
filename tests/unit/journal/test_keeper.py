"""Segments are sealed when their writers are done with them, and go when they are old or too many."""

from __future__ import annotations

import gzip
import os
import stat
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from mailguard import metrics
from mailguard.journal import sealing
from mailguard.journal.form import encode
from mailguard.journal.index import BLOCK
from mailguard.journal.reader import Query
from mailguard.journal.sealing import seal
from mailguard.journal.segment import parts
from tests.unit.journal.conftest import START, Kept, counted, record
from tests.unit.journal.test_writer import until

DAY = 86_400


def segment(kept: Kept, number: int, octets: bytes = encode(record()), age: float = 0.0) -> str:
    """A segment that nobody writes to, last written to ``age`` seconds before the start of the test's time."""
    kept.path.mkdir(exist_ok=True)
    stem = f"20261101T0000{number:02}.000000Z-0-4711"
    path = kept.path / f"{stem}.jsonl"
    path.write_bytes(octets)
    written = START.timestamp() - age
    os.utime(path, (written, written))
    return stem


def test_a_segment_is_sealed_when_its_writer_is_done(kept: Kept) -> None:
    writer = kept.writer()
    writer.put(encode(record()))
    until(lambda: kept.path.exists() and kept.files() and kept.files()[0].stat().st_size)
    kept.keeper().round()
    assert [path.suffix for path in kept.files()] == [".jsonl"]
    writer.stop()
    kept.keeper().round()
    assert [path.suffix for path in kept.files()] == [".idx", ".gz"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept.files()} == {0o640}


def test_what_is_sealed_is_gzip_and_holds_every_octet(kept: Kept) -> None:
    octets = b"".join(encode(record(number)) for number in range(2000)) + b'{"torn'
    assert len(octets) > 2 * BLOCK
    segment(kept, 1, octets, age=100.0)
    kept.keeper().round()
    index, sealed = kept.files()
    assert gzip.decompress(sealed.read_bytes()) == octets
    assert sealed.stat().st_mtime == START.timestamp() - 100.0
    assert index.suffix == ".idx"
    assert len(kept.reader.search(Query())) == 2000


def test_an_empty_segment_goes(kept: Kept) -> None:
    segment(kept, 1, b"")
    kept.keeper().round()
    assert kept.files() == []


def test_sealing_that_fails_changes_nothing(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    stem = segment(kept, 1)
    with monkeypatch.context() as broken, capture_logs() as logged:
        broken.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        kept.keeper().round()
    assert [path.name for path in kept.files()] == [f"{stem}.jsonl"]
    assert [(each["event"], each["operation"]) for each in logged] == [("journal failed", "seal")]
    kept.keeper().round()
    assert len(kept.files(".gz")) == 1


def test_after_a_crash_between_the_steps_of_sealing(kept: Kept) -> None:
    """Remains of half-made files are replaced; of plain and sealed, both the plain one goes; none counts twice."""
    octets = encode(record(1)) + encode(record(2))
    stem = segment(kept, 1, octets)
    (kept.path / f"{stem}.jsonl.gz.tmp").write_bytes(b"half")
    (kept.path / f"{stem}.idx.tmp").write_bytes(b"half")
    (kept.path / f"{stem}.idx").write_bytes(b"of another time")
    kept.keeper().round()
    assert [path.suffix for path in kept.files()] == [".idx", ".gz"]
    segment(kept, 1, octets)
    assert len(kept.reader.search(Query())) == 2
    kept.keeper().round()
    assert [path.suffix for path in kept.files()] == [".idx", ".gz"]
    assert len(kept.reader.search(Query())) == 2


def test_nobody_seals_what_another_seals(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    stem = segment(kept, 1)
    make, results = sealing._make, []

    def meanwhile(*arguments: object) -> None:
        results.append(seal(kept.folder, stem))
        make(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(sealing, "_make", meanwhile)
    assert seal(kept.folder, stem)
    assert results == [False]


def test_segments_go_by_age(kept: Kept) -> None:
    old, young = segment(kept, 1, age=31 * DAY), segment(kept, 2, age=29 * DAY)
    kept.keeper(max_age=30).round()
    assert {parts(path.name)[0] for path in kept.files()} == {young}  # type: ignore[index]
    kept.clock.passed = 2 * DAY
    kept.keeper(max_age=30).round()
    assert kept.files() == []
    assert old < young


def test_the_oldest_go_by_size(kept: Kept) -> None:
    octets = encode(record(1, noise=os.urandom(200_000).hex()))
    stems = [segment(kept, number, octets) for number in range(4)]
    kept.keeper(max_size=1024 * 1024).round()
    left = sorted({parts(path.name)[0] for path in kept.files()})  # type: ignore[index]
    assert left == stems[2:]
    assert counted(metrics.JOURNAL_SIZE) == 2 * len(octets)


def test_a_segment_that_is_written_never_goes(kept: Kept) -> None:
    writer = kept.writer()
    writer.put(encode(record()))
    until(lambda: kept.path.exists() and kept.files() and kept.files()[0].stat().st_size)
    os.utime(kept.files()[0], (0, 0))
    kept.keeper(max_age=1).round()
    assert len(kept.files(".jsonl")) == 1


def test_remains_of_an_index_go(kept: Kept) -> None:
    kept.path.mkdir()
    (kept.path / "20261101T000001.000000Z-0-4711.idx").write_bytes(b"")
    kept.keeper().round()
    assert kept.files() == []


@pytest.mark.parametrize(
    "name",
    ["notes.txt", "20261101.jsonl", "x20261101T000001.000000Z-0-1.jsonl", "20261101T000001.000000Z-0-1.jsonl.bak"],
)
def test_files_of_others_are_left_alone(kept: Kept, name: str) -> None:
    kept.path.mkdir()
    (kept.path / name).write_bytes(encode(record()))
    os.utime(kept.path / name, (0, 0))
    kept.keeper(max_age=1, max_size=1024 * 1024).round()
    assert [path.name for path in kept.files()] == [name]
    assert kept.reader.search(Query()) == []


def test_links_in_the_folder_are_not_followed(kept: Kept, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(encode(record()))
    kept.path.mkdir()
    (kept.path / "20261101T000001.000000Z-0-4711.jsonl").symlink_to(victim)
    segment(kept, 2)
    segment(kept, 3, age=2 * DAY)
    with capture_logs() as logged:
        kept.keeper(max_age=1).round()
    assert victim.read_bytes() == encode(record())
    assert [each["operation"] for each in logged] == ["seal"]
    assert len(kept.files(".gz")) == 1  # of 2: a link keeps nobody from sealing the others


def test_a_folder_that_is_not_there_yet_is_no_trouble(kept: Kept) -> None:
    with capture_logs() as logged:
        kept.keeper().round()
    assert logged == []


def test_the_thread_seals_what_a_crash_left_and_ends(kept: Kept) -> None:
    segment(kept, 1)
    keeper = kept.keeper()
    keeper.start()
    until(lambda: kept.files(".gz") and not kept.files(".jsonl"))
    keeper.stop()
    assert not keeper._thread.is_alive()
