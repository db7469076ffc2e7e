"""Times as log and journal write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from mailguard.rfc3339 import stamp

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@given(st.integers(-(10**15), 10**17))
def test_a_stamp_is_what_the_standard_library_makes_of_the_time(microseconds: int) -> None:
    by_the_book = (EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds")
    assert stamp(microseconds) == by_the_book.removesuffix("+00:00") + "Z"


def test_the_stamps_of_one_second_differ_and_so_do_those_of_two() -> None:
    assert [stamp(each) for each in (999_999, 1_000_000, 1_000_001)] == [
        "1970-01-01T00:00:00.999999Z",
        "1970-01-01T00:00:01.000000Z",
        "1970-01-01T00:00:01.000001Z",
    ]
