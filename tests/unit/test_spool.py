"""The spool: memory, file, sharing, failure."""

from __future__ import annotations

import errno
import hashlib
import os
import resource
import signal
import stat
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from io import FileIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard import spool
from mailguard.spool import Content, Folder, Spool, SpoolFull, SpoolLost, why_unusable


def filled(octets: bytes, limit: int, piece: int = 1000, directory: Path | None = None) -> Content:
    pool = Spool(limit, Folder(directory))
    for i in range(0, len(octets), piece):
        pool.write(octets[i : i + piece])
    return pool.finish()


SAMPLE = bytes(range(256)) * 40


@pytest.fixture(params=[1 << 20, 0, 5000], ids=["memory", "file", "spilled"])
def content(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Content]:
    with filled(SAMPLE, request.param, directory=tmp_path) as value:
        yield value


def test_octets_come_back(content: Content) -> None:
    assert content.size == len(SAMPLE)
    assert b"".join(content.chunks()) == SAMPLE
    assert content.digest() == hashlib.sha256(SAMPLE).hexdigest()


@pytest.mark.parametrize("size", [1, 7, 4096, 10_240, 10_241])
def test_chunks_are_bounded_and_never_empty(content: Content, size: int) -> None:
    with content.with_head(b"h" * 100, 3) as changed:
        pieces = list(changed.chunks(size))
    assert all(0 < len(piece) <= size for piece in pieces)
    assert b"".join(pieces) == b"h" * 100 + SAMPLE[3:]


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 9000, 1 << 30])
def test_prefix(content: Content, count: int) -> None:
    assert content.prefix(count) == SAMPLE[:count]
    with content.with_head(b"H" * 100, 50) as changed:
        assert changed.prefix(count) == (b"H" * 100 + SAMPLE[50:])[:count]


@pytest.mark.parametrize(
    ("head", "skip", "expected"),
    [
        (b"ab", 3, b"ab3456789" + SAMPLE[5:]),
        (b"ab", 12, b"ab" + SAMPLE[7:]),
        (b"", 12, SAMPLE[7:]),
        (b"", 10 + len(SAMPLE) - 5, b""),
    ],
)
def test_with_head_of_with_head(content: Content, head: bytes, skip: int, expected: bytes) -> None:
    with content.with_head(b"0123456789", 5) as first, first.with_head(head, skip) as second:
        assert b"".join(second.chunks()) == expected
        assert second.size == len(expected)


@pytest.mark.parametrize("skip", [-1, len(SAMPLE) + 1])
def test_with_head_refuses_to_skip_what_is_not_there(content: Content, skip: int) -> None:
    with pytest.raises(ValueError, match="cannot skip"):
        content.with_head(b"", skip)


def test_the_body_lives_until_the_last_content_is_closed(content: Content) -> None:
    other = content.with_head(b"", 10)
    content.close()
    content.close()
    assert b"".join(other.chunks()) == SAMPLE[10:]
    other.close()
    for closed in (content, other):
        with pytest.raises(ValueError, match="closed"):
            list(closed.chunks())
        with pytest.raises(ValueError, match="closed"):
            closed.with_head(b"", 0)
        with pytest.raises(ValueError, match="closed"):
            closed.fileno()


def test_an_iteration_under_way_when_the_content_closes_says_so(content: Content) -> None:
    pieces = content.chunks(100)
    next(pieces)
    content.close()
    with pytest.raises(ValueError, match="closed"):
        next(pieces)


def test_memory_has_no_descriptor() -> None:
    with filled(b"small", 5) as content:
        assert content.fileno() is None


def test_the_file_is_nameless_private_and_read_only(tmp_path: Path) -> None:
    with filled(SAMPLE, 10, directory=tmp_path) as content:
        descriptor = content.fileno()
        assert descriptor is not None
        assert list(tmp_path.iterdir()) == []
        assert os.fstat(descriptor).st_nlink == 0
        assert stat.S_IMODE(os.fstat(descriptor).st_mode) == 0o600
        assert os.lseek(descriptor, 0, os.SEEK_CUR) == 0
        assert os.pread(descriptor, 1 << 20, 0) == SAMPLE
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.write(descriptor, b"x")
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_without_o_tmpfile_the_file_is_unlinked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(_directory: Path) -> FileIO:
        raise OSError(errno.EOPNOTSUPP, "no O_TMPFILE")

    monkeypatch.setattr(spool, "_nameless", unsupported)
    with filled(SAMPLE, 10, directory=tmp_path) as content:
        assert list(tmp_path.iterdir()) == []
        assert b"".join(content.chunks()) == SAMPLE


def test_exactly_the_limit_stays_in_memory() -> None:
    with filled(b"x" * 100, 100, piece=10) as full, filled(b"x" * 101, 100, piece=10) as over:
        assert full.fileno() is None
        assert over.fileno() is not None


def test_readers_do_not_disturb_one_another(tmp_path: Path) -> None:
    octets = os.urandom(300_000)
    with filled(octets, 0, directory=tmp_path) as content, ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(lambda _: content.digest(), range(32)))
        one, two = content.chunks(1000), content.chunks(7777)
        interleaved = b"".join(next(one) + next(two)[:0] for _ in range(38))
    assert digests == {hashlib.sha256(octets).hexdigest()}
    assert interleaved == octets[:38_000]


def full_disk(pool: Spool) -> None:
    """Write until the file system refuses; the process's limit stands for a full disk: EFBIG after a short write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))
    try:
        for _ in range(100):
            pool.write(b"x" * 999)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("limit", [0, 30_000, 60_000], ids=["by chunk", "spilled first", "at the spill"])
def test_a_full_disk_is_said_and_stays_said(tmp_path: Path, limit: int) -> None:
    open_before = len(os.listdir("/proc/self/fd"))
    pool = Spool(limit, Folder(tmp_path))
    with pytest.raises(SpoolFull, match="File too large"):
        full_disk(pool)
    with pytest.raises(SpoolFull):
        pool.write(b"x")
    with pytest.raises(SpoolFull):
        pool.finish()
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_a_missing_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(SpoolFull, match="No such file"):
        Spool(0, Folder(tmp_path / "gone")).write(b"x")


FREE = 1_000_000


@pytest.fixture
def nearly_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file system has :data:`FREE` octets that an ordinary user may use."""
    numbers = (4096, 1000, 20_000, FREE // 1000 + 500, FREE // 1000, 0, 0, 0, 0, 255)
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result(numbers))


@pytest.mark.parametrize(("written", "fits"), [(FREE - 300_000, True), (FREE - 300_000 + 1, False)])
@pytest.mark.parametrize("limit", [0, 100_000], ids=["at once", "when it is too much for memory"])
@pytest.mark.usefixtures("nearly_full")
def test_room_is_left_for_others(tmp_path: Path, limit: int, written: int, fits: bool) -> None:
    pool = Spool(limit, Folder(tmp_path, min_free=300_000))
    if fits:
        pool.write(b"x" * written)
        pool.finish().close()
        return
    with pytest.raises(SpoolFull, match=f"{tmp_path}: of {FREE} octets 300000 must stay free"):
        pool.write(b"x" * written)
    with pytest.raises(SpoolFull):
        pool.finish()


@pytest.mark.usefixtures("nearly_full")
def test_what_fits_in_memory_needs_no_room(tmp_path: Path) -> None:
    pool = Spool(1000, Folder(tmp_path, min_free=FREE + 1))
    pool.write(b"x" * 1000)
    pool.finish().close()
    with pytest.raises(SpoolFull):
        Spool(1000, Folder(tmp_path, min_free=FREE + 1)).write(b"x" * 1001)


@pytest.mark.usefixtures("nearly_full")
def test_nothing_need_stay_free(tmp_path: Path) -> None:
    assert Folder(tmp_path).lacking(1 << 40) == ""
    assert why_unusable(Folder(tmp_path)) == ""
    assert why_unusable(Folder(tmp_path, FREE)) == f"{tmp_path}: of {FREE} octets {FREE} must stay free"


def test_a_file_system_that_tells_of_no_blocks_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result((4096, 4096, *([0] * 7), 255)))
    assert Folder(tmp_path, 1 << 30).lacking(1) == ""
    assert not Folder(tmp_path, 1 << 30).too_small()


def test_no_descriptor_left_is_said(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(map(int, os.listdir("/proc/self/fd"))) + 1, hard))
    held: list[int] = []
    try:
        with pytest.raises(OSError, match="Too many open files"):
            while True:
                held.append(os.dup(1))
        with pytest.raises(SpoolFull, match="Too many open files"):
            Spool(0, Folder(tmp_path)).write(b"x")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in held:
            os.close(descriptor)


def test_a_message_on_its_way_in_takes_one_descriptor(tmp_path: Path) -> None:
    open_before = len(os.listdir("/proc/self/fd"))
    pool = Spool(0, Folder(tmp_path))
    pool.write(SAMPLE)
    assert len(os.listdir("/proc/self/fd")) == open_before + 1
    with pool.finish():
        assert len(os.listdir("/proc/self/fd")) == open_before + 1


def test_a_file_that_cannot_be_opened_again_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_writer: FileIO) -> FileIO:
        raise FileNotFoundError(errno.ENOENT, "no /proc here")

    open_before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(spool, "_reader", missing)
    pool = Spool(0, Folder(tmp_path))
    pool.write(SAMPLE)
    with pytest.raises(SpoolLost, match="no /proc here"):
        pool.finish()
    assert len(os.listdir("/proc/self/fd")) == open_before
    assert "no /proc here" in why_unusable(Folder(tmp_path))


def test_a_file_cut_short_is_lost(tmp_path: Path) -> None:
    pool = Spool(0, Folder(tmp_path))
    pool.write(SAMPLE)
    assert pool._file is not None
    os.ftruncate(pool._file.fileno(), 500)
    with pool.finish() as content, pytest.raises(SpoolLost, match="ends at octet 500"):
        content.digest()


def test_a_spool_closed_before_its_end_leaves_nothing(tmp_path: Path) -> None:
    open_before = len(os.listdir("/proc/self/fd"))
    pool = Spool(0, Folder(tmp_path))
    pool.write(SAMPLE)
    pool.close()
    pool.close()
    with pytest.raises(SpoolFull):
        pool.finish()
    assert len(os.listdir("/proc/self/fd")) == open_before


def test_closing_the_spool_after_finish_leaves_the_content(tmp_path: Path) -> None:
    for limit in (0, 1 << 20):
        pool = Spool(limit, Folder(tmp_path))
        pool.write(SAMPLE)
        with pool.finish() as content:
            pool.close()
            assert content.digest() == hashlib.sha256(SAMPLE).hexdigest()


@given(
    chunks=st.lists(st.binary(max_size=50), max_size=20),
    limit=st.integers(0, 200),
    head=st.binary(max_size=60),
    skip=st.integers(0, 300),
    size=st.integers(1, 80),
)
def test_like_bytes(chunks: list[bytes], limit: int, head: bytes, skip: int, size: int) -> None:
    pool = Spool(limit)
    for chunk in chunks:
        pool.write(chunk)
    whole = b"".join(chunks)
    skip = min(skip, len(whole))
    with pool.finish() as content, content.with_head(head, skip) as changed:
        assert b"".join(content.chunks(size)) == whole
        assert b"".join(changed.chunks(size)) == head + whole[skip:]
        assert changed.size == len(head + whole[skip:])


def test_a_copy_lies_in_the_same_folder_and_never_in_memory(tmp_path: Path) -> None:
    with filled(SAMPLE, 0, directory=tmp_path) as content, content.with_head(b"H", 0) as changed:
        copy = changed.new_file()
        copy.write(b"x")
        with copy.finish() as other:
            assert other.fileno() is not None
            assert b"".join(other.chunks()) == b"x"
    assert copy._folder == Folder(tmp_path)
