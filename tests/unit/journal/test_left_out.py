"""What stands in the way of an answer is named, the rest is told, and the exit status says that it is not all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mailguard.cli import app
from mailguard.journal.form import encode
from mailguard.journal.pseudonyms import Pseudonyms
from mailguard.journal.sealing import seal
from mailguard.journal.segment import INDEX, PLAIN
from tests.unit.journal.conftest import Kept, record, reference

KEY = b"0123456789abcdef" * 4
POLICY = Path(__file__).parents[3] / "policies" / "default.yaml"
STEM = "20261120T100000.000000Z-0-4711"
Run = Callable[..., Any]


@pytest.fixture
def run(kept: Kept) -> Run:
    def invoke(*words: str, columns: int = 200) -> Any:
        return CliRunner(env={"COLUMNS": str(columns)}).invoke(app, [*words, "--journal", str(kept.path)])

    return invoke


COMMANDS = [
    ("search",),
    ("search", "--json"),
    ("why", f"{reference(1)}-1"),
    ("why", f"{reference(1)}-1", "--json"),
    ("replay", "--policy", str(POLICY), "--since", "2020-01-01"),
    ("lists", "--since", "2020-01-01"),
    ("lists", "--since", "2020-01-01", "--json", "--processes", "2"),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("foreign", ["folder", "link", "fifo", "sealed link"])
def test_a_segment_that_cannot_be_read_is_named_and_the_others_answer(
    kept: Kept, run: Run, command: tuple[str, ...], foreign: str
) -> None:
    kept.write(record(1))
    path = kept.path / f"{STEM}{'.jsonl.gz' if foreign == 'sealed link' else PLAIN}"
    if foreign == "folder":
        path.mkdir()
    elif foreign == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/etc/passwd")
    result = run(*command)
    assert result.exit_code == 66, result.output
    told = [line for line in result.stderr.splitlines() if "left out" in line]
    assert len(told) == 1, result.stderr
    assert told[0].startswith(f"mailguard: left out: the segment {STEM} cannot be read: ")
    if command[0] in ("search", "why"):
        assert f"{reference(1)}-1" in result.stdout
    else:
        assert result.stdout


def test_what_is_not_known_may_stand_in_what_was_left_out(kept: Kept, run: Run) -> None:
    kept.write(record(1))
    (kept.path / f"{STEM}{PLAIN}").mkdir()
    result = run("why", "7XK2M9QBD-2")
    assert (result.exit_code, "its record may be in what was left out" in result.stderr) == (66, True)


def test_an_index_that_cannot_be_read_costs_time_and_no_record(kept: Kept, run: Run) -> None:
    stem = "20261121T100000.000000Z-0-4711"
    kept.path.mkdir(exist_ok=True)
    (kept.path / f"{stem}{PLAIN}").write_bytes(encode(record(1)))
    assert seal(kept.folder, stem)
    (kept.path / f"{stem}{INDEX}").unlink()
    (kept.path / f"{stem}{INDEX}").mkdir()
    result = run("search", "--json", "--ip", record(1)["client"]["ip"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert reference(1) in result.stdout


def test_of_pseudonyms_no_network_is_known_and_that_is_told(kept: Kept, run: Run) -> None:
    names = Pseudonyms(KEY, ["client"])
    kept.write(*(names.cover(record(number)) for number in range(3)), record(3, client={"ip": "198.18.0.77"}))
    result = run("search", "--json", "--ip", "198.18.0.0/24")
    assert result.exit_code == 69
    assert result.stdout.count("\n") == 1
    assert result.stderr == (
        "mailguard: 3 more records may be meant; of these the client has a pseudonym, from which no network can be "
        "told: name its whole address\n"
    )
    result = run("search", "--ip", "198.18.0.0/24", "--from", "sender1@example.org")
    assert (result.exit_code, "mailguard: 1 more records" in result.stderr) == (69, True)
    assert run("search", "--ip", "203.0.113.0/24", "--verdict", "accept").exit_code == 0


FORGED: list[dict[str, Any]] = [
    {"reply": "554 no"},
    {"reply": {"code": "554"}},
    {"reply": {"code": 554}},
    {"reply": ["x"]},
    {"helo": 5, "envelope": {"rule": []}},
    {"envelope": [1], "reply": {"code": 250}},
    {"content": "x", "reply": None},
    {"envelope": {"facts": 7}, "client": {"ip": "198.18.7.7", "own_relay": []}},
    {"envelope": {}, "client": None},
]


@pytest.mark.parametrize("forged", FORGED, ids=str)
def test_a_record_of_a_strange_form_ends_with_one_line(kept: Kept, run: Run, forged: dict[str, Any]) -> None:
    kept.write(record(1, **forged))
    ref = f"{reference(1)}-1"
    for command in (("search",), ("why", ref), ("explain", ref, "--policy", str(POLICY))):
        result = run(*command)
        assert result.exception is None or isinstance(result.exception, SystemExit), (command, result.exception)
        assert result.exit_code in (0, 65, 69), (command, result.output)
        assert len(result.stderr.splitlines()) <= 2, result.stderr
        if result.exit_code:
            assert result.stderr


def test_references_are_never_wrapped(kept: Kept, run: Run) -> None:
    long = record(1, sender=f"{'x' * 60}@{'y' * 60}.example.org", recipient=f"{'z' * 60}@example.com")
    kept.write(long, record(2, client={"ip": "2001:db8:1234:5678:9abc:def0:1234:5678"}))
    shown = run("search", columns=80).stdout
    assert f"{reference(1)}-1" in shown
    assert f"{reference(2)}-1" in shown
    assert max(map(len, shown.splitlines())) <= 80
