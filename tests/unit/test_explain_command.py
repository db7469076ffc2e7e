"""`mailguard explain`: what it tells, that it asks the service's own questions, and what it says to bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from mailguard.cli import app

POLICY = """\
mailguard_policy: 1
dnsbl:
  zen:
    zone: zen.example
    help: "https://zen.example/{client.ip}"
    answers: {127.0.0.4: {weight: 4.5, label: XBL}}
  cop: {zone: cop.example, answers: {127.0.0.2: {weight: 2.5}}}
profiles: {normal: {junk_at: 5}, strict: {junk_at: 3}}
recipients:
  - {match: [strict@example.com], profile: strict}
  - {match: ["*"], profile: normal}
rules:
  envelope:
    - name: several lists agree
      if: dnsbl.score >= 6 and dnsbl.listed_by >= 2
      then: reject
      text: "client host [{client.ip}] blocked using {dnsbl.zones}; {dnsbl.help}"
  content:
    - {name: spam, if: spam.score >= profile.junk_at, then: file, folder: Junk}
unavailable:
  dnsbl: ignore
  spamassassin: {down: deliver, unscannable: deliver}
"""
SETTINGS = """\
hostname: mx.example.com
relay_domains: [example.com]
listen: [{address: "127.0.0.1:25"}]
backends: [{address: "127.0.0.1:2525"}]
policy: policy.yaml
"""
LISTED = ("--given", "dnsbl.zen=127.0.0.4", "--given", "dnsbl.cop=127.0.0.2")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "policy.yaml").write_text(POLICY)
    path = tmp_path / "mailguard.yaml"
    path.write_text(SETTINGS)
    return path


def _run(config: Path, *arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(app, ["explain", "--config", str(config), "--offline", *arguments])
    assert result.exit_code == status, result.output
    return result.output if status else result.stdout


def _json(config: Path, *arguments: str) -> dict[str, Any]:
    found = json.loads(_run(config, "--ip", "198.18.7.7", "--json", *arguments))
    assert isinstance(found, dict)
    return found


def test_the_whole_story_of_a_listed_client(config: Path) -> None:
    told = " ".join(_run(config, "--ip", "198.18.7.7", *LISTED).split())
    expected = [
        "Client 198.18.7.7, called client.example.org, mail from sender@example.org",
        "dnsbl.score 7 connection --given",
        "+4.5 zen zen.example: 127.0.0.4 is XBL",
        "FIRES several lists agree: reject line 14",
        "Verdict: reject 554, by 'several lists agree'",
        "554 5.7.1 client host [198.18.7.7] blocked using cop.example,zen.example; "
        "https://zen.example/198.18.7.7 (REFERENCE-1)",
        "without cop/127.0.0.2 accept, as far as the envelope goes as no rule decided",
    ]
    for line in expected:
        assert line in told


def test_tables_fit_80_columns_where_output_is_no_terminal(config: Path) -> None:
    told = _run(config, "--ip", "198.18.7.7", "--given", "dnsbl.zen=127.0.0.4", "--given", "spam.score=9")
    assert max(map(len, told.splitlines())) <= 80
    assert not [line for line in told.splitlines() if line != line.rstrip()]


def test_each_recipient_has_a_verdict(config: Path) -> None:
    found = _json(
        config, "--to", "a@example.com", "--to", "strict@example.com", "--to", "x@elsewhere.example", "--given",
        "spam.score=4",
    )  # fmt: skip
    first, strict, foreign = found["recipients"]
    assert first["explanation"]["verdict"]["action"] == "accept"
    assert strict["explanation"]["verdict"] == {
        "action": "file", "code": None, "folder": "Junk", "rule": "spam", "tags": [], "observed": None,
    }  # fmt: skip
    assert strict["explanation"]["profile"] == "strict"
    assert foreign["explanation"] is None
    assert foreign["reply"]["lines"] == ["550 5.7.1 Relaying to elsewhere.example is not permitted (REFERENCE-1)"]


def test_flips_and_parts_are_in_json(config: Path) -> None:
    [one] = _json(config, *LISTED)["recipients"]
    assert [flip["what"] for flip in one["flips"]][:1] == [
        "with one list that speaks for the client, of -1.1: dnsbl.score 5.9 instead of 7"
    ]
    assert {flip["what"]: flip["verdict"]["action"] for flip in one["flips"]}["without zen/XBL"] == "accept"
    [rule] = one["explanation"]["stages"][0]["rules"]
    assert [(part["text"], part["truth"]) for part in rule["parts"]] == [
        ("dnsbl.score >= 6", True),
        ("dnsbl.listed_by >= 2", True),
    ]


def test_a_missing_answer_is_told_with_what_it_counts_for(config: Path) -> None:
    [one] = _json(config, "--given", "dnsbl.zen=unknown")["recipients"]
    zen = one["explanation"]["weights"][0]
    assert (zen["name"], zen["unknown"], zen["least"], zen["most"]) == ("zen", "it is given so", 0.0, 4.5)
    [rule] = one["explanation"]["stages"][0]["rules"]
    assert (rule["truth"], rule["fired"], rule["doubt"]) == (False, False, None)


def test_fields_for_the_backend(config: Path) -> None:
    [one] = _json(config, "--given", "spam.score=9")["recipients"]
    assert "X-Mailguard-Folder: Junk" in one["fields"]
    assert "X-Spam-Score: 9.0" in one["fields"]
    assert one["reply"] is None


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ((), 64, "say whom to explain: --ip ADDRESS for a client, or the reference of a past decision"),
        (("7XK2M9QBD", "--ip", "198.18.7.7"), 64, "say whom to explain: "),
        (("nonsense",), 64, "'nonsense' is no reference"),
        (("7XK2M9QBD",), 78, "keeps no journal: set `journal.directory`"),
        (("--ip", "198.18.7"), 64, "--ip 198.18.7: this is no address, such as 198.18.7.7 or 2001:db8::1"),
        (("--ip", "198.18.7.7", "--from", "a b@c"), 64, "--from a b@c: "),
        (("--ip", "198.18.7.7", "--to", "<>"), 64, "--to <>: "),
        (("--ip", "198.18.7.7", "--helo", "a b"), 64, "--helo a b: "),
        (("--ip", "198.18.7.7", "--given", "spam.scor=9"), 64, "no fact `spam.scor`; did you mean `spam.score`?"),
        (("--ip", "198.18.7.7", "--given", "dnsbl.zem=127.0.0.2"), 64, "has no list `zem`; did you mean `zen`?"),
        (("--ip", "198.18.7.7", "--given", "spam.score=high"), 64, "`spam.score` is a number; or `unknown`"),
        (("--ip", "198.18.7.7", "--given", "dnsbl.zen=listed"), 64, "this is no answer of a DNSBL"),
        (("--ip", "198.18.7.7", "--given", "dnsbl.score=9"), 64, "`dnsbl.score` follows from other facts; give"),
        (("--ip", "198.18.7.7", "--given", "spam.score"), 64, "write FACT=VALUE, such as spam.score=9"),
        (("--ip", "198.18.7.7", "--given", "spam.score=[1"), 64, "--given spam.score=[1: "),
        (("--ip", "198.18.7.7", "--given", "spam.score=1\n      helo.name: x"), 64, "this is no value of one fact"),
        (("--ip", "198.18.7.7", *LISTED, *LISTED), 64, "`dnsbl.zen` is given twice"),
        (("--ip", "198.18.7.7", "--policy", "nowhere.yaml"), 78, "this file cannot be read"),
    ],
)  # fmt: skip
def test_bad_input_gets_one_clear_error(config: Path, arguments: tuple[str, ...], status: int, message: str) -> None:
    told = _run(config, *arguments, status=status)
    assert message in told
    assert "Traceback" not in told


def test_a_message_that_cannot_be_read(config: Path) -> None:
    result = CliRunner().invoke(
        app, ["explain", "--config", str(config), "--ip", "198.18.7.7", "--message", str(config.parent / "no.eml")]
    )
    assert (result.exit_code, result.output) == (
        66,
        f"mailguard: --message {config.parent / 'no.eml'}: this file cannot be read: no such file or directory\n",
    )


def test_a_message_is_not_scanned_where_nobody_is_asked(config: Path) -> None:
    assert "--offline asks no scanner" in _run(config, "--ip", "198.18.7.7", "--message", "x.eml", status=64)


def test_a_broken_policy(config: Path) -> None:
    (config.parent / "policy.yaml").write_text("mailguard_policy: 1\nrulez: {}\n")
    told = _run(config, "--ip", "198.18.7.7", status=78)
    assert "policy.yaml:2:1" in told
    assert told.endswith("nothing was explained\n")


def test_what_is_only_observed_is_told_beside(config: Path) -> None:
    (config.parent / "policy.yaml").write_text(POLICY.replace("profiles:", "mode: observe\nprofiles:"))
    told = _run(config, "--ip", "198.18.7.7", *LISTED)
    assert "Verdict: accept, as far as the envelope goes, as no rule decided" in told
    assert "  observed only: reject 554, by 'several lists agree'" in told
    assert "Were everything in force that is only observed:" in told
