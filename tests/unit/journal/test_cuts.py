"""Safe against a crash at any byte: a segment cut anywhere in its last record reads, whole or torn, plain or sealed."""

from __future__ import annotations

import pytest

from mailguard.journal.form import decode, encode
from mailguard.journal.reader import Query, about
from mailguard.journal.sealing import seal
from tests.unit.journal.conftest import Kept, record, reference

FIRST, SECOND, LAST = record(1), record(2, sender="ümläut@example.org"), record(3, sender='"a\\"b"@example.org')
WHOLE = encode(FIRST) + encode(SECOND)


def stem_with(kept: Kept, octets: bytes) -> str:
    """The stem of a segment of these octets."""
    kept.path.mkdir(exist_ok=True)
    stem = "20261121T100000.000000Z-0-4711"
    (kept.path / f"{stem}.jsonl").write_bytes(octets)
    return stem


def test_a_segment_cut_at_every_byte_of_its_last_record_reads(kept: Kept) -> None:
    last = encode(LAST)
    for cut in range(len(last) + 1):
        stem_with(kept, WHOLE + last[:cut])
        reader = kept.reader
        found = reader.search(Query())
        whole = cut >= len(last) - 1  # without its line end it is a whole record too
        assert found == [FIRST, SECOND, *([LAST] if whole else [])], cut
        assert reader.torn == (0 if whole or not cut else 1), cut


def test_so_does_one_that_is_sealed_after_the_crash(kept: Kept) -> None:
    last = encode(LAST)
    for cut in range(0, len(last) + 1, 7):
        stem = stem_with(kept, WHOLE + last[:cut])
        assert seal(kept.folder, stem)
        reader = kept.reader
        assert reader.search(Query())[:2] == [FIRST, SECOND], cut
        assert reader.torn == (1 if 0 < cut < len(last) - 1 else 0), cut
        for path in kept.files():
            path.unlink()


@pytest.mark.parametrize(
    "rubbish", [b"\0" * 4096, b"\xff\xfe\n", b"null\n", b"[]\n", b'{"v": 1}\n', b"{}{}\n", b"\r\n"]
)
def test_rubbish_between_records_is_passed_over_and_counted(kept: Kept, rubbish: bytes) -> None:
    stem_with(kept, encode(FIRST) + rubbish.rstrip(b"\n") + b"\n" + encode(LAST))
    reader = kept.reader
    assert reader.search(Query()) == [FIRST, LAST]
    assert reader.torn == 1


def test_a_sealed_segment_cut_anywhere_gives_what_unpacks(kept: Kept) -> None:
    assert seal(kept.folder, stem_with(kept, WHOLE))
    [sealed] = kept.files(".gz")
    octets = sealed.read_bytes()
    for cut in range(len(octets)):
        sealed.write_bytes(octets[:cut])
        reader = kept.reader
        assert reader.search(Query()) == []
        assert reader.torn == 1, cut


def test_an_index_cut_anywhere_is_done_without(kept: Kept) -> None:
    assert seal(kept.folder, stem_with(kept, WHOLE))
    [index] = kept.files(".idx")
    octets = index.read_bytes()
    for cut in range(len(octets)):
        index.write_bytes(octets[:cut])
        assert kept.reader.search(about(reference(2))) == [SECOND], cut
    index.unlink()
    assert kept.reader.search(about(reference(2))) == [SECOND]


def test_fields_of_a_later_version_are_no_hindrance(kept: Kept) -> None:
    later = record(1, v=7, hitherto_unknown={"deep": [1, 2]})
    stem_with(kept, encode(later))
    assert kept.reader.search(about(reference(1))) == [later]


def test_what_utf8_cannot_hold_makes_a_line_too() -> None:
    found = decode(encode(record(1, sender="a\udc80b@example.org")))
    assert found is not None
    assert found["sender"] == "a?b@example.org"
