"""``mailguard replay`` and ``mailguard lists``: numbers, exit status, and one clear error for what cannot be."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any, Final

import pytest
from typer.testing import CliRunner

from mailguard.cli import app
from mailguard.hindsight.judging import Judge, Judged
from mailguard.hindsight.replay import as_json, replayed
from mailguard.journal.folder import Folder
from mailguard.journal.form import Record, encode
from mailguard.journal.reader import Query
from mailguard.journal.sealing import seal
from mailguard.journal.sweep import sweep
from tests.unit.hindsight.records import recorded
from tests.unit.hindsight.test_judging import CLEAN, client, envelope, listed
from tests.unit.policy.support import LISTS, UNAVAILABLE, rules

OURS = rules("dnsbl.score >= 6 and dnsbl.listed_by >= 2 => reject")
Run = Callable[..., Any]


def mail(number: int) -> Record:
    """One of ten clients is on both lists, three on one."""
    lists = {0: {"black": listed(2), "grey": listed(2)}, 1: {"black": listed(2)}, 2: {"black": listed(2)}}
    return recorded(OURS, client(**lists.get(number % 10, {})), envelope(f"u{number}@example.com"), CLEAN, number)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Forty records in four segments of two workers; two sealed, one ends in a torn line."""
    folder = tmp_path / "journal"
    folder.mkdir()
    for segment in range(4):
        lines = b"".join(encode(mail(number)) for number in range(segment * 10, segment * 10 + 10))
        stem = f"20261121T10000{segment}.000000Z-{segment % 2}-4711"
        (folder / f"{stem}.jsonl").write_bytes(lines + (encode(mail(1))[:-20] if segment == 3 else b""))
        if segment < 2:
            assert seal(Folder(folder), stem)
    return folder


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """One list is enough."""
    path = tmp_path / "new.yaml"
    rule = "  envelope:\n  - {name: one list is enough, if: dnsbl.score >= 4, then: reject}\n"
    path.write_text(f"mailguard_policy: 1\n{UNAVAILABLE}{LISTS}rules:\n{rule}")
    return path


@pytest.fixture
def run(journal: Path) -> Run:
    def invoke(*words: str, folder: Path | None = journal) -> Any:
        at = ["--journal", str(folder)] if folder else []
        return CliRunner(env={"COLUMNS": "200"}).invoke(app, [*words, *at])

    return invoke


def test_a_replay_tells_exactly_what_would_fare_otherwise(run: Run, policy: Path) -> None:
    done = run("replay", "--policy", str(policy), "--since", "2026-11-01", "--json")
    assert done.exit_code == 1
    told = json.loads(done.stdout)
    assert (told["judged"], told["changed"], told["same_by_another_rule"], told["torn"]) == (40, 8, 4, 1)
    assert {change["recipient"] for change in told["changes"]} == {
        f"u{n}@example.com" for n in range(40) if n % 10 in (1, 2)
    }
    assert told["kinds"] == [
        {"before": "delivered", "now": "refused", "rule_before": "", "rule_now": "one list is enough", "count": 8}
    ]


_DAMAGED: Final[Mapping[str, Any]] = {
    "reply": 5,
    "reply.code": "250",
    "client.ip": 7,
    "client.own_relay": "no",
    "client.early_talker": {"unknown": [], "cause": "down"},
    "client.dnsbl": [],
    "client.dnsbl.black": [5],
    "client.reverse.confirmed": {},
    "helo.name": None,
    "helo.is_address": [],
    "helo.resolves": 1,
    "sender": None,
    "recipients": [],
    "others": [{"recipients": ["u1@example.com"]}],
    "envelope.action": "dance",
    "envelope.observed": 3,
    "envelope.sampled": "yes",
    "content.rule": [],
    "content.folder": {},
    "virus.name": 5,
    "virus": {"unknown": "down", "cause": "weather"},
    "spam.score": "x",
    "spam.content_score": True,
    "spam.rules": "GTUBE",
    "spam.tainted": [[]],
    "message_size": "2048",
}
"""A field of a record, and what is no value of it."""


_LOOKS_AT_ALL: Final = """  content:
  - {name: virus, if: virus.name == 'x' or spam.score >= 5, then: file, folder: Junk}
  - {name: spam, if: "'GTUBE' in spam.rules or message.size > 4000", then: file, folder: Junk}
"""


def damaged(field: str, value: object) -> Record:
    made = mail(1)
    *parts, last = field.split(".")
    reduce(getitem, parts, made)[last] = value
    return made


@pytest.mark.parametrize("field", _DAMAGED)
def test_a_record_of_which_a_field_is_damaged_is_unreadable(run: Run, journal: Path, policy: Path, field: str) -> None:
    path = next(journal.glob("*3.000000Z-1-4711.jsonl"))
    path.write_bytes(encode(damaged(field, _DAMAGED[field])) + path.read_bytes())
    policy.write_text(policy.read_text() + _LOOKS_AT_ALL)
    done = run("replay", "--policy", str(policy), "--since", "2026-11-01", "--json")
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert done.stdout, done.output
    told = json.loads(done.stdout)
    assert (told["unreadable"] or told["torn"] - 1, told["judged"]) == (1, 40)


@pytest.mark.parametrize("change", [{"event": []}, {"event": None}])
def test_a_record_that_is_about_nothing_is_unreadable(change: Record) -> None:
    compared = Judge(OURS).compare(mail(1) | change)
    assert compared is not None
    assert compared.judged is Judged.UNREADABLE


def test_a_person_is_told_the_same(run: Run, policy: Path) -> None:
    told = run("replay", "--policy", str(policy), "--since", "2026-11-01", "--limit", "3")
    assert "40 messages and refused recipients judged by" in told.stdout
    assert "8 would fare otherwise" in told.stdout
    assert "The newest 3 of 8" in told.stdout
    assert "1 torn lines were passed over" in told.stderr


def test_nothing_otherwise_is_status_0(run: Run, policy: Path) -> None:
    policy.write_text(policy.read_text().replace("score >= 4", "score >= 6 and dnsbl.listed_by >= 2"))
    done = run("replay", "--policy", str(policy), "--since", "2026-11-01")
    assert (done.exit_code, "0 would fare otherwise" in done.stdout) == (0, True)


def test_what_cannot_be_judged_is_told(run: Run, policy: Path) -> None:
    text = policy.read_text().replace(
        "dnsbl:\n  black", "dnsbl:\n  new: {zone: new.example, answers: {127.0.0.2: {weight: 4}}}\n  black"
    )
    policy.write_text(text)
    told = run("replay", "--policy", str(policy), "--since", "2026-11-01").stdout
    assert "more cannot be judged, for a rule looks at what was not written down" in told
    assert "the list new was not asked" in told


@pytest.mark.parametrize("limit", [0, 1, 50])
def test_several_processes_come_to_the_same(journal: Path, limit: int) -> None:
    judge = Judge(rules("dnsbl.score >= 4 => reject"))

    def fold(records: Iterator[Record]) -> Any:
        return replayed(records, judge, limit)

    def swept(processes: int) -> list[dict[str, Any]]:
        found = sweep(Folder(journal), Query(), fold, processes)
        return [as_json(part.folded) | {"torn": part.torn} for part in found]

    assert swept(3) == swept(1)
    assert [part["torn"] for part in swept(3)] == [0, 0, 0, 1]


def test_a_time_bounds_what_is_read(run: Run, policy: Path) -> None:
    told = run("replay", "--policy", str(policy), "--since", "2026-11-22", "--json")
    assert (told.exit_code, json.loads(told.stdout)["judged"]) == (0, 0)


def test_lists_are_told_of(run: Run, policy: Path) -> None:
    told = run("lists", "--policy", str(policy), "--since", "2026-11-01", "--json")
    assert told.exit_code == 0
    found = json.loads(told.stdout)
    black = found["lists"]["black"]
    assert (black["listed"], black["alone"], black["together"]["grey"]) == (12, 8, 4)
    assert (found["refusals"], black["needed"], found["lists"]["grey"]["needed"]) == (12, 12, 0)
    table = run("lists", "--policy", str(policy), "--since", "2026-11-01").stdout
    assert "not measurable" in table
    assert "12 (100%)" in table


@pytest.mark.parametrize("command", ["replay", "lists"])
def test_each_mistake_has_one_clear_error(run: Run, policy: Path, tmp_path: Path, command: str) -> None:
    by = ["--policy", str(policy)]
    cases = [
        ([*by, "--since", "yesterday"], {}, 64, "'yesterday' is no time"),
        ([*by, "--since", "1d", "--until", "2d"], {}, 64, "nothing is since 1d and before 2d"),
        (by, {"folder": tmp_path / "none"}, 66, "there is no journal to read"),
        (["--policy", str(tmp_path / "none.yaml")], {}, 78, "none.yaml"),
        ([*by, "--config", str(tmp_path / "none.yaml")], {"folder": None}, 78, "none.yaml"),
    ]
    for words, more, status, error in cases:
        done = run(command, *words, **more)
        assert (done.exit_code, error in done.stderr) == (status, True), done.output
        assert done.stdout == ""
