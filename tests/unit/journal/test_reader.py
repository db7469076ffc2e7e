"""What is asked for is found, and nothing else: by reference, address, verdict and time, in all kinds of segments."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.journal.form import encode, written
from mailguard.journal.index import Index, IndexBuilder, client_term, mailbox_terms, terms, verdict_term
from mailguard.journal.reader import Query, Reader, about
from mailguard.journal.sealing import seal
from tests.unit.journal.conftest import Kept, record, reference
from tests.unit.journal.test_keeper import segment

COUNT = 3000


@pytest.fixture
def full(kept: Kept) -> Kept:
    """3000 records in four segments: two sealed, one of them without an index, and two plain."""
    parts = [
        b"".join(encode(record(n)) for n in range(start, start + COUNT // 4)) for start in range(0, COUNT, COUNT // 4)
    ]
    stems = [segment(kept, number, octets) for number, octets in enumerate(parts)]
    for stem in stems[:2]:
        assert seal(kept.folder, stem)
    (kept.path / f"{stems[1]}.idx").unlink()
    return kept


def senders(found: list[dict[str, Any]]) -> list[str]:
    return [each["sender"] for each in found]


@pytest.mark.parametrize("number", [0, 5, 749, 750, 1499, 1500, 2999])
def test_a_reference_is_found_wherever_it_is(full: Kept, number: int) -> None:
    assert full.reader.search(about(reference(number))) == [record(number)]
    assert full.reader.search(about(f"{reference(number)}-1")) == [record(number)]
    assert full.reader.search(about(f"{reference(number)}-2")) == []


def test_a_reference_that_was_never_given_is_not_found(full: Kept) -> None:
    assert full.reader.search(about("ZZZZZZZZZ")) == []


def test_all_transactions_of_a_connection_are_found_in_order_of_time(kept: Kept) -> None:
    both = [record(1, ref="ZZZZZZZZZ-1"), record(2, ref="ZZZZZZZZZ-2")]
    kept.write(both[1])
    kept.write(both[0])
    assert kept.reader.search(about("ZZZZZZZZZ")) == both


def test_the_newest_are_found_first_and_told_last(full: Kept) -> None:
    assert senders(full.reader.search(Query(), limit=3)) == [f"sender{n}@example.org" for n in (2997, 2998, 2999)]


def test_every_record_is_found_once(full: Kept) -> None:
    assert full.reader.search(Query()) == [record(number) for number in range(COUNT)]


def test_times_bound_a_search_the_end_not_included(full: Kept) -> None:
    since, until = written(record(700)), written(record(800))
    assert full.reader.search(Query(since=since, until=until)) == [record(number) for number in range(700, 800)]


def test_addresses_are_asked_for_without_regard_to_case(full: Kept) -> None:
    query = Query(terms=[[mailbox_terms("from", "Sender77@EXAMPLE.org")[0]]])
    assert full.reader.search(query) == [record(77)]
    query = Query(terms=[[client_term(record(1234)["client"]["ip"])], [verdict_term("reject")]])
    assert full.reader.search(query) == [record(1234)]


def test_whole_domains_and_networks_can_be_asked_for(full: Kept) -> None:
    assert len(full.reader.search(Query(terms=[["from:@example.org"]]))) == COUNT
    assert full.reader.search(Query(terms=[["from:@example.net"]])) == []
    assert full.reader.search(Query(network=ip_network("198.18.3.0/31"))) == [record(750), record(751)]


def test_of_alternatives_one_is_enough(full: Kept) -> None:
    query = Query(terms=[["from:sender7@example.org", "from:sender8@example.org"], ["to:user@example.com"]])
    assert full.reader.search(query) == [record(7), record(8)]


def test_records_of_refusals_without_a_client_or_sender_are_found_too(kept: Kept) -> None:
    bare = {"v": 1, "time": "2026-11-21T10:00:00Z", "event": "internal error", "ref": "ZZZZZZZZZ"}
    kept.write(bare)
    kept.keeper().round()
    assert kept.reader.search(about("ZZZZZZZZZ")) == [bare]
    assert kept.reader.search(Query(network=ip_network("0.0.0.0/0"))) == []


def test_only_blocks_that_may_hold_it_are_unpacked(full: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    unpacked: list[object] = []
    read = Reader._block
    monkeypatch.setattr(Reader, "_block", lambda *a: (unpacked.append(a), read(*a))[1])
    assert full.reader.search(about(reference(5)))
    assert len(unpacked) == 1
    assert full.reader.search(about("ZZZZZZZZZ")) == []
    assert len(unpacked) == 1


def test_a_segment_that_is_sealed_or_expires_meanwhile_is_no_error(full: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = full.reader
    names = full.folder.names()
    full.keeper().round()
    monkeypatch.setattr(type(full.folder), "names", lambda _: names)
    assert len(reader.search(Query())) == COUNT
    for path in full.files():
        path.unlink()
    assert reader.search(Query()) == []


def test_a_journal_that_is_not_there_is_an_error(tmp_path: Path, kept: Kept) -> None:
    with pytest.raises(FileNotFoundError):
        kept.reader.search(Query())


def test_progress_is_told_to_its_end(full: Kept) -> None:
    told: list[tuple[int, int]] = []
    full.reader.search(Query(), progress=lambda done, everything: told.append((done, everything)))
    assert told[-1][0] == told[-1][1] == len(told) - 1


@given(st.lists(st.lists(st.integers(0, 40), max_size=5), max_size=8), st.integers(0, 40))
def test_an_index_names_every_block_that_holds_a_term(blocks: list[list[int]], wanted: int) -> None:
    builder = IndexBuilder()
    for position, numbers in enumerate(blocks):
        builder.add(b"".join(encode(record(number)) for number in numbers), position, 1)
    index = Index(builder.octets())
    holding = {position for position, numbers in enumerate(blocks) if wanted in numbers}
    for term in sorted(terms(record(wanted))):
        found = index.holding([term])
        assert holding <= found
        if str(wanted) in term or term.startswith("ref:"):
            assert found == holding
    assert index.records == sum(map(len, blocks))


@pytest.mark.parametrize(
    "damage",
    [
        {"sender": 1},
        {"recipient": ["b@example.com"]},
        {"recipients": None},
        {"recipients": "b@example.com"},
        {"recipients": [1]},
        {"verdict": {"a": 1}},
        {"client": "198.18.0.1"},
        {"client": {"ip": 1}},
    ],
)
def test_a_line_that_is_json_and_no_record_is_torn_and_holds_up_neither_searches_nor_sealing(
    kept: Kept, damage: dict[str, Any]
) -> None:
    stem = segment(kept, 0, encode(record(0, **damage)) + encode(record(1)))
    for _sealed in (False, seal(kept.folder, stem)):
        reader = Reader(kept.folder)
        assert reader.search(Query(terms=[[verdict_term("reject")]])) == [record(1)]
        assert reader.torn == 1


@pytest.mark.parametrize("time", ["1026-11-21T10:00:00.000000Z", "0001-01-01T00:00:00+14:00", "0001-01-01", "x"])
def test_a_time_that_a_flipped_bit_put_before_1970_holds_up_no_sealing(kept: Kept, time: str) -> None:
    damaged = record(0, time=time)
    stem = segment(kept, 0, encode(damaged) + encode(record(1)))
    assert seal(kept.folder, stem)
    assert kept.reader.search(Query()) == [damaged, record(1)]
