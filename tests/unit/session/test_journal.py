"""What a running mailguard writes into its journal: a record for each message and each refusal, as in the log."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from mailguard.facts import Answer, Known, SpamResult, Unknown, VirusResult
from mailguard.journal.folder import Folder
from mailguard.journal.form import FIELDS, Record
from mailguard.journal.line import log_line
from mailguard.journal.reader import Query, Reader
from mailguard.journal.recorder import Recorder
from mailguard.positions import Problems
from tests.support.mail import mail, submit
from tests.unit.session.conftest import CLIENT, Service, Start
from tests.unit.session.test_record import SPAM, scanners

__all__ = ["scanners"]

Scanners = Callable[[Answer[VirusResult], Answer[SpamResult]], None]


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    return {"journal": {"directory": tmp_path / "journal"}}


async def records(service: Service, tmp_path: Path) -> list[Record]:
    """All that has been written, once the service has ended."""
    await service.worker.stop()
    return Reader(Folder(tmp_path / "journal")).search(Query())


def names(value: Any, prefix: str = "") -> set[str]:
    """The fields of a record, as :data:`FIELDS` names them: groups that are told as a whole are not entered."""
    found: set[str] = set()
    for name, each in value.items():
        whole = f"{prefix}{name}".replace("content.", "envelope.")
        inner = isinstance(each, dict) and whole not in FIELDS and "unknown" not in each
        found |= names(each, f"{whole}.") if inner else {whole}
    return found


async def test_a_message_has_all_that_it_was_judged_on(
    start: Start, settings: dict[str, Any], tmp_path: Path, scanners: Scanners
) -> None:
    scanners(Known(VirusResult("PUA.Win.Tool.X-1")), Known(SPAM))
    service = await start(**settings)
    sent = mail()
    async with await service.connect() as client:
        await submit(client, sent.octets, "a@example.com", "b@example.com")
    [found] = await records(service, tmp_path)
    assert (found["event"], found["verdict"], found["v"]) == ("message", "file", 1)
    assert found["client"]["ip"] == CLIENT
    assert found["client"]["reverse"]["unknown"]
    assert found["recipients"] == ["a@example.com", "b@example.com"]
    assert found["message_id"] == sent.message_id
    assert found["size"] == len(sent.octets)
    assert found["virus"] == {"name": "PUA.Win.Tool.X-1", "kind": "pua"}
    assert found["spam"]["rules"] == dict(SPAM.rules)
    assert found["spam"]["tainted"] == ["GOOD", "RCVD_IN_X"]
    assert found["content"]["facts"] == {"spam.score": "6.25"}
    assert {"rule": "looks like spam", "fired": True} in found["content"]["rules"]
    assert found["reply"]["by"] == "backend"
    assert set(found["seconds"]) == {"questions", "backend", "scan", "message"}
    assert found["policy"] == service.worker._services.policy.digest


async def test_nothing_of_a_message_is_in_it(start: Start, settings: dict[str, Any], tmp_path: Path) -> None:
    service = await start(**settings)
    async with await service.connect() as client:
        await submit(client, mail(headers=("Subject: the-secret-subject",), body="the-secret-body").octets)
    [found] = await records(service, tmp_path)
    assert "secret" not in json.dumps(found)


async def test_each_refused_recipient_has_a_record(start: Start, settings: dict[str, Any], tmp_path: Path) -> None:
    service = await start(**settings)
    async with await service.connect() as client:
        await submit(client, mail().octets, "x@elsewhere.example", "user@example.com", sender="a@unwanted.example")
    foreign, unwanted, data = await records(service, tmp_path)
    assert foreign["ref"] == unwanted["ref"]
    assert (foreign["verdict"], foreign["reply"]["by"], foreign.get("envelope")) == ("reject", "mailguard", None)
    assert (unwanted["verdict"], unwanted["reply"]["by"]) == ("reject", "policy")
    assert unwanted["envelope"]["rule"] == "an unwanted sender"
    assert unwanted["envelope"]["facts"] == {"sender.domain": "unwanted.example"}
    assert (data["event"], data["reply"]["code"]) == ("command refused", 554)  # DATA without a recipient


async def test_refused_commands_and_turned_away_connections_have_records(
    start: Start, settings: dict[str, Any], tmp_path: Path
) -> None:
    service = await start(limits={"max_connections_per_client": 1}, **settings)
    async with await service.connect() as client:
        await client.reply()
        await client.command(b"NONSENSE")
        async with await service.connect() as second:
            assert (await second.reply())[0].startswith(b"421 ")
    refused, away = await records(service, tmp_path)
    assert (refused["event"], refused["verdict"], refused["client"]) == ("command refused", "reject", {"ip": CLIENT})
    assert (away["event"], away["verdict"], away["end"]) == ("connection", "defer", "refused")


async def test_a_bug_has_a_record(
    start: Start, settings: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise LookupError("a bug")

    monkeypatch.setattr("mailguard.session.story.judge", broken)
    service = await start(**settings)
    async with await service.connect() as client:
        outcome = await submit(client, mail().octets)
    [found] = await records(service, tmp_path)
    assert found["ref"].encode() in outcome.content
    assert (found["event"], found["verdict"], found["exception"]) == ("internal error", "defer", "LookupError('a bug')")


async def test_every_field_of_a_record_is_declared(
    start: Start, settings: dict[str, Any], tmp_path: Path, scanners: Scanners
) -> None:
    scanners(Known(VirusResult()), Known(SPAM))
    service = await start(**settings)
    async with await service.connect() as client:
        await submit(client, mail().octets, "user@example.com", "x@elsewhere.example")
        await client.command(b"NONSENSE")
    found = await records(service, tmp_path)
    assert len(found) == 3
    assert set().union(*map(names, found)) <= set(FIELDS)


async def test_the_line_of_the_log_is_made_of_the_record(
    start: Start, settings: dict[str, Any], tmp_path: Path, scanners: Scanners
) -> None:
    scanners(Unknown("timeout"), Known(SPAM))
    service = await start(**settings)
    with capture_logs() as lines:
        async with await service.connect() as client:
            await submit(client, mail().octets, "user@example.com", "x@elsewhere.example")
    logged = [line for line in lines if line["event"] in ("message", "recipient")]
    found = await records(service, tmp_path)
    assert [json.loads(json.dumps(log_line(each))) for each in found] == [
        {name: value for name, value in line.items() if name != "log_level"} for line in logged
    ]


async def test_addresses_are_covered_where_that_is_wanted(
    start: Start, settings: dict[str, Any], tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("k" * 32)
    key.chmod(0o600)
    whose = ["client", "sender", "recipient"]
    service = await start(journal=settings["journal"] | {"pseudonymise": whose, "pseudonym_key": key})
    async with await service.connect() as client:
        await submit(client, mail().octets, "boss@example.com", sender="somebody@private.example")
    [found] = await records(service, tmp_path)
    text = json.dumps(found)
    assert found["sender"].startswith("~")
    assert not any(secret in text for secret in (CLIENT, "boss", "somebody", "private.example"))


async def test_without_its_key_nothing_starts(start: Start, settings: dict[str, Any], tmp_path: Path) -> None:
    wanted = settings["journal"] | {"pseudonymise": ["client"], "pseudonym_key": tmp_path / "none"}
    with pytest.raises(Problems, match="cannot be read: No such file"):
        await start(journal=wanted)


async def test_a_journal_that_cannot_be_written_keeps_no_mail_waiting(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    service = await start(journal={"directory": tmp_path / "file" / "journal"})
    with capture_logs() as lines:
        async with await service.connect() as client:
            outcome = await submit(client, mail().octets)
        await service.worker.stop()
    assert outcome.content.startswith(b"250 ")
    assert [line["operation"] for line in lines if line["event"] == "journal failed"] == ["write"]


async def test_a_bug_in_the_journal_keeps_no_mail_waiting(
    start: Start, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise LookupError("a bug")

    for name in ("mailguard.journal.recorder.log_line", "mailguard.journal.journal.encode"):
        monkeypatch.setattr(name, broken)
    service = await start(**settings)
    with capture_logs() as lines:
        async with await service.connect() as client:
            outcome = await submit(client, mail().octets)
    assert outcome.content.startswith(b"250 ")
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["internal error"] * 2


def test_a_recorder_without_a_journal_logs() -> None:
    with capture_logs() as lines:
        Recorder().note({"event": "message", "ref": "R-1", "client": {"ip": CLIENT}})
    assert [(line["event"], line["client"]) for line in lines] == [("message", CLIENT)]
