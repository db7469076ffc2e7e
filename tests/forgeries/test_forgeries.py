"""Every row of the table through the real service into a recording sink, and the page that tells of them."""

from __future__ import annotations

import pytest

from tests.forgeries.__main__ import report
from tests.forgeries.page import PAGE, page, shown
from tests.forgeries.play import WAYS, as_it_must_be, deliver
from tests.forgeries.rows import GROUPS, ROWS


@pytest.mark.parametrize("way", WAYS)
async def test_each_comes_out_as_it_must(way: str) -> None:
    arrived = await deliver(way)
    assert [row.key for row in ROWS if not as_it_must_be(row, arrived[row.key])] == []


def test_there_are_enough_and_each_says_why() -> None:
    assert sum(row.goes for row in ROWS) >= 27
    assert len({row.key for row in ROWS}) == len(ROWS)
    assert {row.group for row in ROWS} == GROUPS.keys()
    assert all(row.why for row in ROWS)
    assert [row.name for row in ROWS if row.group == "others" and row.goes] == []
    assert [row.name for row in ROWS if row.exim and not row.goes] == []


def test_the_page_in_docs_is_of_today() -> None:
    assert PAGE.read_text() == page()


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"A: b\r\n", r"`A: b\r\n`"),
        (b"\t\\ \0\xe9", r"`\t\\ \0\xe9`"),
        (b"x" * 19, "`" + "x" * 19 + "`"),
        (b"ax" + b"z" * 20, "`ax{z*20}`"),
        (b":" + b"\r\n z" * 50, r"`:{\r\n z*50}`"),
        (b"`", "`` ` ``"),
    ],
)
def test_octets_as_they_are_shown(octets: bytes, text: str) -> None:
    assert shown(octets) == text


def test_the_command_fails_where_a_row_does() -> None:
    everything = {row.key for row in ROWS}
    assert report({"DATA": everything}) == 0
    assert report({"DATA": everything - {ROWS[0].key}}) == 1


def test_what_is_not_to_the_octet_is_found() -> None:
    row = ROWS[0]
    ours = b"Received: x\r\n\ty\r\nAuthentication-Results: z\r\nX-Mailguard-Id: 1\r\n"
    assert as_it_must_be(row, ours + row.arrives)
    for wrong in (ours + row.sent, ours, row.arrives, ours + ours + row.arrives, ours + row.arrives + b"x"):
        assert not as_it_must_be(row, wrong)
