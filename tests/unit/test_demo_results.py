"""The demo's table: readable in 80 columns, with the whole of every reply, and in red what is wrong."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from mailguard.cli.demo_results import MAX_WIDTH, Result, show
from mailguard.lab.client import Outcome
from mailguard.lab.exim import Delivered
from mailguard.lab.letters import five

REPLY = (
    "5.7.1 Service unavailable; client host [198.18.7.7] blocked using bl.spamcop.net,zen.spamhaus.org; "
    "https://check.spamhaus.org/query/ip/198.18.7.7 (7XK2M9QBD-1)"
)
RULE = "several lists agree"


def results() -> list[Result]:
    """Each letter refused at RCPT, which is right for some of them."""
    line = {"ref": "7XK2M9QBD-1", "action": "reject", "rule": RULE}
    return [Result(letter, Outcome("RCPT", 554, REPLY), line, []) for letter in five()]


def printed(shown: list[Result], width: int) -> tuple[bool, list[str]]:
    console = Console(file=io.StringIO(), width=width)
    fine = show(shown, console)
    assert isinstance(console.file, io.StringIO)
    return fine, console.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [80, 100, 250])
def test_every_column_can_be_read(width: int) -> None:
    fine, lines = printed(results(), width)
    assert not fine
    assert max(map(len, lines)) <= width
    for result in results():
        assert any(line.startswith(" ".join(result.letter.title.split()[:3])) for line in lines)
    rows = [line for line in lines if "7XK2M9QBD-1" in line]
    assert len(rows) == 5
    assert all(len(row) <= MAX_WIDTH for row in rows)
    assert {row.index("reject: several") for row in rows} == {lines[2].index("verdict: rule")}
    assert [row.split()[-1] for row in rows] == ["no", "yes", "no", "yes", "no"]
    assert len(lines) <= 40


@pytest.mark.parametrize("width", [80, 250])
def test_the_reply_is_there_in_full(width: int) -> None:
    _, lines = printed(results(), width)
    whole = " ".join(" ".join(lines).split())
    said = results()[0].outcome.said
    assert whole.count(f"from 198.18.7.7; RCPT: 554 {said}") == 1


def test_what_was_expected_is_told_where_it_did_not_come() -> None:
    _, lines = printed(results(), 80)
    assert [line.strip() for line in lines if "expected: " in line] == [
        "expected: 250, INBOX",
        "expected: 250, Junk",
        "expected: 250, INBOX or Junk",
    ]
    assert lines[-1] == "3 of 5 did not come out as they must."


def test_where_it_was_found_and_that_all_is_well() -> None:
    clean = Result(five()[0], Outcome("content", 250, "OK"), {}, [Delivered("alice", "INBOX", Path("mail"))])
    fine, lines = printed([clean], 80)
    assert fine
    [row] = [line for line in lines if line.startswith("A clean message")]
    assert row.split()[-2:] == ["INBOX", "yes"]
    assert lines[-1] == "All 1 came out as they must."
