"""`mailguard why` and `mailguard search`: what is told, what is found, and one clear error for what cannot be."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mailguard.cli import app
from mailguard.cli.asking import parse_time
from mailguard.journal.form import Record, encode
from mailguard.journal.pseudonyms import Pseudonyms
from mailguard.journal.telling import letter, notes
from mailguard.reference import new_reference, parse_reference
from tests.unit.journal.conftest import Kept, record

REF = "7XK2M9QBD-2"
DECISION = {
    "action": "reject",
    "rule": "several lists agree",
    "folder": None,
    "tags": [],
    "rules": [{"rule": "a welcome client", "fired": False}, {"rule": "several lists agree", "fired": True}],
    "facts": {"dnsbl.score": "7", "sender.unresolvable": None},
    "weights": {"zen/XBL": 4.5, "spamcop": 2.5},
    "observed": None,
}
REFUSED = record(
    ref=REF,
    client={
        "ip": "198.18.7.7",
        "port": 4711,
        "own_relay": False,
        "reverse": {"name": "mail.example.org", "confirmed": True},
        "dnsbl": {"zen": ["127.0.0.4"], "dnswl": [], "spamcop": {"unknown": "timeout of 127.0.0.1", "cause": "down"}},
    },
    policy="0123456789abcdef",
    envelope=DECISION,
    reply={"code": 554, "enhanced": "5.7.1", "text": "Blocked using zen", "by": "policy", "cause": "a private cause"},
    seconds={"questions": 0.12},
)
FILED = record(
    ref=REF,
    event="message",
    verdict="file",
    recipient=None,
    recipients=["a@example.com", "b@example.com"],
    envelope=DECISION | {"action": "accept", "rule": "", "observed": DECISION},
    content=DECISION | {"action": "file", "rule": "looks like spam", "folder": "Junk", "weights": {}},
    virus={"name": "PUA.Win.Tool", "kind": "pua"},
    spam={"score": 6.25, "content_score": 4.05, "rules": {"BAYES_99": 3.5, "RCVD_IN_X": 2.2}, "tainted": ["RCVD_IN_X"]},
    reply={"code": 250, "enhanced": "2.0.0", "text": "OK id=1", "by": "backend", "cause": ""},
    backend="127.0.0.1:10025",
    digest="abc",
)

Run = Callable[..., Any]


@pytest.fixture
def run(kept: Kept) -> Run:
    """``run("why", ...)`` asks the test's journal."""

    def invoke(*words: str, folder: Path | None = kept.path) -> Any:
        at = ["--journal", str(folder)] if folder else []
        return CliRunner(env={"COLUMNS": "300"}).invoke(app, [*words, *at])

    return invoke


# --- what is told


def test_a_letter_tells_the_whole_story_of_a_refusal() -> None:
    assert letter(REFUSED) == (
        "Reference 7XK2M9QBD-2: on Saturday, 21 November 2026, at 10:00:00 UTC, we\n"
        "refused mail from sender0@example.org to user@example.com.\n\n"
        "The sending server was told:\n"
        "    554 5.7.1 Blocked using zen (7XK2M9QBD-2)\n\n"
        "The connection came from 198.18.7.7, whose name in the DNS is mail.example.org\n"
        "(leads back to that address), called itself 'mail.example.org'.\n\n"
        "The rule 'several lists agree' of our policy decided.\n\n"
        "What counted:\n"
        "    +4.5  zen/XBL\n"
        "    +2.5  spamcop\n\n"
        "What DNS lists said of 198.18.7.7; of no other address was any of them asked:\n"
        "    zen: listed (127.0.0.4)\n"
        "    dnswl: not listed\n"
        "    spamcop: gave no answer, which did not count against the sender\n\n"
        "That is final: the message goes back to its sender. Whoever runs the sending\n"
        "server can ask the lists above why it is listed, and how it is removed; then\n"
        "the message can be sent again. Where that cannot wait, postmaster is reachable\n"
        "here from anywhere."
    )


def test_what_is_private_stands_in_the_notes_alone() -> None:
    for private in (
        "a private cause",
        "timeout of 127.0.0.1",
        "0123456789abcdef",
        "dnsbl.score = 7",
        "a welcome client",
    ):
        assert private not in letter(REFUSED)
        assert private in notes(REFUSED)


def test_the_notes_of_a_message_tell_what_the_scanners_said() -> None:
    told = " ".join(notes(FILED).split())
    assert "PUA.Win.Tool (pua)" in told
    assert (
        "6.25 points, 4.05 without what may rest on Received: BAYES_99 +3.5, RCVD_IN_X +2.2 (may look at Received)"
        in told
    )
    assert "envelope: reject, by 'several lists agree'" in told
    assert "may have been delivered nevertheless; SHA-256 of the message: abc" in told
    assert "filed it in Junk" in " ".join(letter(FILED).split())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"verdict": "defer"}, "tries again by itself"),
        ({"reply": {"code": 550, "enhanced": "5.1.1", "text": "no", "by": "backend"}}, "the word of our mail server"),
        ({"reply": {"code": 550, "enhanced": "5.7.1", "text": "no", "by": "mailguard"}}, "That is final"),
        ({"envelope": DECISION | {"rule": "unavailable: clamav"}}, "An answer was missing (clamav)"),
        ({"envelope": DECISION | {"rule": "postmaster"}}, "always reachable"),
        ({"envelope": DECISION | {"rule": ""}}, "No rule of our policy objected"),
        ({"event": "command refused"}, "we refused a command"),
        ({"event": "connection"}, "we turned a connection away"),
        ({"event": "internal error"}, "an error of our own"),
        ({"client": {"ip": "198.18.7.7", "own_relay": True, "dnsbl": {"zen": []}}}, "it is a relay of ours"),
        ({"client": {"ip": "198.18.7.7", "reverse": {"name": "", "confirmed": False}}}, "which has no name in the DNS"),
        ({"client": {"ip": "198.18.7.7", "reverse": {"name": "x.example", "confirmed": False}}}, "does not lead back"),
        ({"time": "rubbish"}, "on rubbish,"),
    ],
)
def test_letters_of_other_kinds(changes: dict[str, Any], expected: str) -> None:
    assert expected in " ".join(letter(REFUSED | changes).split())


def test_the_least_record_can_be_told() -> None:
    least: Record = {"v": 1, "time": "2026-11-21T10:00:00Z", "event": "message", "ref": REF}
    assert letter(least).startswith("Reference 7XK2M9QBD-2: on Saturday")
    assert notes(least) == ""


def test_what_a_client_wrote_does_nothing_to_a_terminal() -> None:
    evil = "\x1b[31m\x9b2J\u202ex"
    told = letter(REFUSED | {"sender": evil, "helo": {"name": evil}}) + notes(REFUSED | {"message_id": evil})
    assert all(c.isprintable() or c == "\n" for c in told)


# --- why


def test_why_tells_letter_and_notes(kept: Kept, run: Run) -> None:
    kept.write(REFUSED)
    result = run("why", "(7xk2m9qbd-2)")
    assert result.exit_code == 0
    told, private = result.output.split("--- from here on not for the sender ---")
    assert told.strip() == letter(REFUSED)
    assert private.strip() == notes(REFUSED)
    assert run("why", REF, "--letter").output.strip() == letter(REFUSED)
    assert json.loads(run("why", REF, "--json").output) == REFUSED


def test_why_of_a_damaged_record_says_so(kept: Kept, run: Run) -> None:
    kept.write({**REFUSED, "reply": {"code": 554}})
    result = run("why", REF)
    assert result.exit_code == 65
    assert "is damaged (KeyError(" in result.output
    assert "--json shows what is left of it" in result.output
    assert run("why", REF, "--json").exit_code == 0


def test_why_of_a_connection_tells_of_all_its_transactions(kept: Kept, run: Run) -> None:
    kept.write(REFUSED, FILED | {"ref": "7XK2M9QBD-3"})
    result = run("why", "7XK2M9QBD", "--letter")
    assert re.findall(r"Reference (\S+):", result.output) == [REF, "7XK2M9QBD-3"]


@pytest.mark.parametrize("ref", ["", "7XK2M9QB", "7XK2M9QBDD", "7XK2M9QBA", "7XK2M9QBD-0", "7XK2M9QBD-x", "a b"])
def test_what_is_no_reference_is_said_to_be_none(run: Run, ref: str) -> None:
    result = run("why", ref)
    assert (result.exit_code, result.output.count("\n")) == (64, 1)
    assert "is no reference: it is 9 letters and digits" in result.output


def test_a_reference_that_nobody_knows(kept: Kept, run: Run) -> None:
    kept.write(record())
    result = run("why", REF)
    assert result.exit_code == 69
    assert "the journal knows nothing of 7XK2M9QBD-2" in result.output


@pytest.mark.parametrize("command", [("why", REF), ("search",)])
def test_where_there_is_no_journal(run: Run, tmp_path: Path, command: tuple[str, ...]) -> None:
    result = run(*command, folder=tmp_path / "nothing")
    assert result.exit_code == 66
    assert "there is no journal to read in" in result.output
    config = tmp_path / "mailguard.yaml"
    config.write_text(
        "hostname: mx.example.com\nrelay_domains: [example.com]\npolicy: policy.yaml\n"
        'listen: [{address: "127.0.0.1:2525"}]\nbackends: [{address: "127.0.0.1:10025"}]\n'
    )
    result = run(*command, "--config", str(config), folder=None)
    assert result.exit_code == 78
    assert "keeps no journal: set `journal.directory`" in result.output
    config.write_text(config.read_text() + "journal: {directory: nothing}\n")
    result = run(*command, "--config", str(config), folder=None)
    assert (result.exit_code, f"{tmp_path}/nothing: no such file" in result.output.replace("\n", "")) == (66, True)
    config.write_text("nonsense: true\n")
    assert run(*command, "--config", str(config), folder=None).exit_code == 78


def test_torn_lines_are_told_of(kept: Kept, run: Run) -> None:
    kept.write(REFUSED)
    [segment] = kept.files()
    segment.write_bytes(segment.read_bytes() + encode(REFUSED)[:-30])
    result = run("search", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, REFUSED)
    assert result.stderr == "mailguard: 1 torn lines were passed over\n"


def test_references_are_recognised() -> None:
    for _ in range(100):
        reference = new_reference()
        assert parse_reference(f" ({reference.lower()}-12) ") == f"{reference}-12"


# --- search


def found(run: Run, *words: str) -> list[str]:
    result = run("search", "--json", *words)
    assert result.exit_code == 0, result.output
    return [json.loads(line)["sender"] for line in result.stdout.splitlines()]


def test_a_search_finds_what_is_asked_for(kept: Kept, run: Run) -> None:
    kept.write(*(record(number) for number in range(10)), record(20, sender="<>", verdict="accept"))
    assert found(run, "--from", "SENDER3@example.org") == ["sender3@example.org"]
    assert len(found(run, "--from", "example.org")) == len(found(run, "--from", "@example.org")) == 10
    assert found(run, "--from", "<>") == found(run, "--verdict", "accept") == ["<>"]
    assert len(found(run, "--to", "user@example.com", "--limit", "3")) == 3
    assert found(run, "--to", "nobody@example.com") == []
    assert found(run, "--ip", "198.18.0.4") == ["sender4@example.org"]
    assert found(run, "--ip", "::ffff:198.18.0.4") == ["sender4@example.org"]
    assert found(run, "--ip", "198.18.0.4/31") == ["sender4@example.org", "sender5@example.org"]
    assert found(run, "--since", "2026-11-21T10:00:08Z", "--until", "2026-11-21T10:00:15Z") == [
        "sender8@example.org",
        "sender9@example.org",
    ]


def test_addresses_under_pseudonyms_and_in_the_open_are_found_alike(kept: Kept, run: Run, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_bytes(b"k" * 32)
    key.chmod(0o600)
    names = Pseudonyms(b"k" * 32, ["client", "sender", "recipient"])
    kept.write(record(1), names.cover(record(1)))
    for words in (
        ("--from", "sender1@example.org"),
        ("--from", "@example.org"),
        ("--ip", "198.18.0.1"),
        ("--to", "user@example.com"),
    ):
        assert len(found(run, *words, "--key", str(key))) == 2
        assert len(found(run, *words)) == 1
    result = run("search", "--ip", "198.18.0.1", "--key", str(tmp_path / "none"))
    assert (result.exit_code, "their key cannot be used" in result.output) == (66, True)


def test_a_table_has_a_line_a_record(kept: Kept, run: Run) -> None:
    kept.write(REFUSED, FILED | {"time": "2026-11-21T11:00:00Z", "sender": "\x1b[31m[red]x@example.org"})
    result = run("search")
    refused, filed = (line for line in result.stdout.splitlines() if REF in line)
    assert "several lists agree" in refused
    assert "198.18.7.7" in refused
    assert "looks like spam" in filed
    assert "a@example.com +1" in filed
    assert "?[31m[red]x@example.org" in filed
    assert result.stderr == "2 records\n"


def test_who_refused_is_told_where_it_was_not_policy(kept: Kept, run: Run) -> None:
    reply = {"code": 550, "enhanced": "5.1.1", "text": "nobody here", "by": "backend", "cause": ""}
    kept.write(REFUSED | {"reply": reply}, {"v": 1, "time": "x", "event": "internal error", "ref": "ZZZZZZZZZ"})
    output = run("search").stdout
    assert "backend: 550 nobody here" in output
    assert "internal error" in output


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--since", "yesterday"), "'yesterday' is no time: write 2d"),
        (("--until", "2026-13-01"), "'2026-13-01' is no time"),
        (("--since", "999999999w"), "is no time"),
        (("--since", "1d", "--until", "2d"), "nothing is since 1d and before 2d"),
        (("--ip", "mail.example.org"), "is no address and no network"),
        (("--ip", "198.18.0.0/99"), "198.18.0.0/99"),
        (("--from", "a b"), "is no address and no domain"),
    ],
)
def test_what_cannot_be_understood_is_said_so(kept: Kept, run: Run, words: tuple[str, ...], why: str) -> None:
    kept.write(record())
    result = run("search", *words)
    assert (result.exit_code, result.output.count("\n")) == (64, 1)
    assert why in result.output


def test_times_are_local_unless_they_say_otherwise() -> None:
    zone = timezone(timedelta(hours=2))
    now = datetime(2026, 11, 21, 12, 0, tzinfo=zone)
    assert parse_time("36h", now) == datetime(2026, 11, 19, 22, 0, tzinfo=UTC)
    assert parse_time("2026-11-21", now) == datetime(2026, 11, 20, 22, 0, tzinfo=UTC)
    assert parse_time("2026-11-21T10:00Z", now) == datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
