"""`mailguard explain` before real lists, resolver, clamd and spamd: it tells what the real service then says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailguard.lab import Lab, world
from mailguard.lab.exim import Exim
from mailguard.lab.settings import lab_configuration
from tests.real.conftest import Service, StartMailguard
from tests.support.mail import EICAR, GTUBE, mail, submit

ROOT = Path(__file__).parents[2]
_REFERENCE = re.compile(rb"\([2-9B-Z]{9}-\d+\)$")
_FROM = "sender@example.org"
_TO = "alice@example.com"


@pytest.fixture
def config(lab: Lab, tmp_path: Path) -> Path:
    path = tmp_path / "mailguard.yaml"
    path.write_text(yaml.safe_dump(lab_configuration(lab)))
    return path


def _explain(config: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "mailguard", "explain", "--config", str(config), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _told(config: Path, *arguments: str) -> str:
    return _explain(config, "--from", _FROM, *arguments)


def _json(config: Path, *arguments: str) -> dict[str, Any]:
    [one] = json.loads(_told(config, "--json", "--to", _TO, "--helo", "mail.example.org", *arguments))["recipients"]
    assert isinstance(one, dict)
    return one


def _real(reply: bytes) -> str:
    """A reply of the service, with the reference that explanations have."""
    assert _REFERENCE.search(reply)
    return _REFERENCE.sub(b"(REFERENCE-1)", reply).decode("ascii")


async def test_the_reply_told_is_the_reply_given(config: Path, mailguard: Service) -> None:
    async with await mailguard.connect(world.LISTED_TWICE) as client:
        outcome = await submit(client, mail().octets, _TO, sender=_FROM)
    one = _json(config, "--ip", world.LISTED_TWICE)
    assert one["reply"]["lines"] == [_real(outcome.rcpt[0])]
    weights = {each["name"]: each for each in one["explanation"]["weights"]}
    assert (weights["zen"]["codes"], weights["zen"]["weight"]) == ({"127.0.0.4": "XBL"}, 4.5)
    assert (weights["dnswl"]["codes"], weights["dnswl"]["unknown"]) == ({}, None)
    without = {flip["what"]: flip["verdict"] for flip in one["flips"]}["without zen/XBL"]
    assert (without["action"], without["folder"], without["rule"]) == ("file", "Junk", "a suspicious client")


def test_a_listing_that_would_be_one_too_many_is_told(config: Path) -> None:
    """The lightest listing on zen that makes two lists agree: PBL is too light (2.5 + 3.25)."""
    one = _json(config, "--ip", world.LISTED_BY_SPAMCOP)
    assert (one["explanation"]["verdict"]["rule"], one["reply"]) == ("a suspicious client", None)
    assert {flip["what"]: flip["verdict"]["action"] for flip in one["flips"]}["listed as zen/SBL"] == "reject"


def test_the_page_shows_what_is_told(config: Path) -> None:
    """docs/explain.md: its command gives its output, but for path, digest and lines of the policy, and milliseconds."""
    page = (ROOT / "docs/explain.md").read_text()
    found = re.search(r"```sh\nmailguard explain (.*)\n```\n\n```text\n(.*?)\n```", page, re.DOTALL)
    assert found
    assert _plain(_explain(config, *found[1].split())) == _plain(found[2])


def _plain(told: str) -> str:
    told = re.sub(r"Policy\s+\S+,\s+digest \w+", "Policy", told.rstrip())
    return re.sub(r"\s*\(\d+\s+ms\)|line \d+", "", told)


async def test_a_past_refusal_is_explained_by_its_reference(
    lab: Lab, config: Path, start_mailguard: StartMailguard, tmp_path: Path
) -> None:
    journal = tmp_path / "journal"
    service = await start_mailguard(journal={"directory": journal})
    async with await service.connect(world.LISTED_TWICE) as client:
        outcome = await submit(client, mail().octets, _TO, sender=_FROM)
    await service.worker.stop()
    reference = _REFERENCE.search(outcome.rcpt[0])
    assert reference
    told = json.loads(_explain(config, reference[0].decode(), "--json", "--journal", str(journal)))
    [one] = told["recipients"]
    assert told["changed"] is None
    assert one["reply"]["lines"] == [outcome.rcpt[0].decode("ascii")]
    assert {each["from"] for each in one["explanation"]["facts"]} == {"recorded"}
    assert one["flips"] == _json(config, "--ip", world.LISTED_TWICE)["flips"]


def test_a_message_is_shown_to_both_scanners(config: Path, tmp_path: Path, client_address: str) -> None:
    (tmp_path / "mail.eml").write_bytes(mail(GTUBE).octets.replace(b"\r\n", b"\n"))
    one = _json(config, "--ip", client_address, "--message", str(tmp_path / "mail.eml"))
    facts = {each["name"]: each for each in one["explanation"]["facts"]}
    assert float(facts["spam.score"]["value"]) >= 1000
    assert (facts["virus.status"]["value"], facts["virus.status"]["from"]) == ("clean", "asked")
    verdict = one["explanation"]["verdict"]
    assert (verdict["action"], verdict["folder"], verdict["rule"]) == ("file", "Junk", "looks like spam")
    assert "X-Mailguard-Folder: Junk" in one["fields"]
    flipped = {flip["what"].partition(" instead")[0]: flip["verdict"]["action"] for flip in one["flips"]}
    assert flipped["with spam.score 4.9"] == "accept"


async def test_fields_told_are_the_fields_delivered(
    config: Path, tmp_path: Path, mailguard: Service, exim: Exim, client_address: str
) -> None:
    message = mail(GTUBE)
    (tmp_path / "mail.eml").write_bytes(message.octets)
    one = _json(config, "--ip", client_address, "--message", str(tmp_path / "mail.eml"))
    async with await mailguard.connect(client_address) as client:
        await submit(client, message.octets, _TO, sender=_FROM)
    [found] = exim.find(message.message_id, 30)
    delivered = found.read().decode().replace("\n\t", "\n    ")
    for field in one["fields"]:
        assert field in delivered


async def test_malware_is_refused_in_the_words_told(
    config: Path, tmp_path: Path, mailguard: Service, client_address: str
) -> None:
    message = mail(EICAR)
    (tmp_path / "mail.eml").write_bytes(message.octets)
    one = _json(config, "--ip", client_address, "--message", str(tmp_path / "mail.eml"))
    async with await mailguard.connect(client_address) as client:
        outcome = await submit(client, message.octets, _TO, sender=_FROM)
    assert one["reply"]["lines"] == [_real(outcome.content)]


def test_a_scanner_that_is_down_is_unknown_and_unavailable_decides(
    lab: Lab, config: Path, tmp_path: Path, client_address: str
) -> None:
    settings = lab_configuration(lab, clamav={"address": f"unix:{tmp_path}/no-clamd.sock"})
    config.write_text(yaml.safe_dump(settings))
    (tmp_path / "mail.eml").write_bytes(mail().octets)
    told = _told(config, "--ip", client_address, "--message", str(tmp_path / "mail.eml"), "--to", _TO)
    assert "Verdict: defer 451, by 'unavailable: clamav'" in told
    assert re.search(r"virus\.status +unknown: clamav: ", told)
    assert re.search(r"had clamav found nothing +accept", told)


def test_an_answer_that_is_given_spares_the_scanner(config: Path, tmp_path: Path, client_address: str) -> None:
    (tmp_path / "mail.eml").write_bytes(mail(GTUBE).octets)
    one = _json(config, "--ip", client_address, "--message", str(tmp_path / "mail.eml"), "--given", "spam.score=1")
    facts = {each["name"]: each for each in one["explanation"]["facts"]}
    assert (facts["spam.score"]["value"], facts["spam.score"]["from"]) == ("1", "--given")
    assert (facts["virus.status"]["value"], one["explanation"]["verdict"]["action"]) == ("clean", "accept")
