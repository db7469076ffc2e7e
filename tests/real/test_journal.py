"""The journal of a mailguard before real servers: each kind of outcome has its record, and `why` explains it."""

from __future__ import annotations

import json
import os
import re
import smtplib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailguard.journal.folder import Folder
from mailguard.journal.form import Record
from mailguard.journal.reader import Query, Reader, about
from mailguard.lab import Lab, world
from mailguard.lab.clamd import Clamd
from mailguard.lab.exim import Exim
from mailguard.lab.mailguard import Mailguard
from tests.real.conftest import Service, StartMailguard
from tests.support.mail import EICAR, GTUBE, mail, submit
from tests.support.sink import CLOSE, Sink

pytestmark = pytest.mark.real

REFERENCE = re.compile(rb"\(([2-9A-Z]{9}(?:-\d+)?)\)")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
async def journalling(start_mailguard: StartMailguard, folder: Path) -> Service:
    """mailguard with its default policy, and a journal."""
    return await start_mailguard(journal={"directory": folder})


async def found(service: Service, folder: Path) -> Record:
    """The one record, once the service has ended."""
    await service.worker.stop()
    [record] = Reader(Folder(folder)).search(Query())
    return record


def run(*words: str) -> str:
    """What ``mailguard WORDS`` prints."""
    command = [sys.executable, "-m", "mailguard", *words]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


async def test_a_message_that_is_taken(journalling: Service, folder: Path, exim: Exim, client_address: str) -> None:
    message = mail()
    async with await journalling.connect(client_address) as client:
        outcome = await submit(client, message.octets)
    assert outcome.content.startswith(b"250 ")
    record = await found(journalling, folder)
    assert (record["event"], record["verdict"], record["reply"]["by"]) == ("message", "accept", "backend")
    assert record["client"]["ip"] == client_address
    assert {name: record["client"]["dnsbl"][name] for name in ("zen", "spamcop")} == {"zen": [], "spamcop": []}
    assert record["virus"] == {"name": "", "kind": ""}
    assert record["spam"]["rules"]
    assert record["message_id"] == message.message_id
    assert record["backend"] == exim.address
    assert record["seconds"]["scan"] > 0


async def test_spam_that_is_filed(journalling: Service, folder: Path, client_address: str) -> None:
    async with await journalling.connect(client_address) as client:
        await submit(client, mail(GTUBE).octets)
    record = await found(journalling, folder)
    assert (record["verdict"], record["content"]["folder"]) == ("file", "Junk")
    assert record["spam"]["rules"]["GTUBE"] == 1000
    assert record["spam"]["score"] > 900


async def test_a_listed_client_that_is_refused_and_what_why_says_of_it(journalling: Service, folder: Path) -> None:
    async with await journalling.connect(world.LISTED_TWICE) as client:
        outcome = await submit(client, mail().octets)
    reference = REFERENCE.search(outcome.rcpt[0])
    assert reference
    await journalling.worker.stop()
    [record] = [each for each in Reader(Folder(folder)).search(Query()) if each["event"] == "recipient"]
    assert (record["ref"], record["verdict"], record["reply"]["by"]) == (reference[1].decode(), "reject", "policy")
    assert record["client"]["dnsbl"]["zen"] == ["127.0.0.4"]
    assert record["envelope"]["weights"]
    told = " ".join(run("why", reference[1].decode(), "--journal", str(folder), "--letter").split())
    assert f"The connection came from {world.LISTED_TWICE}" in told
    assert "zen: listed (127.0.0.4)" in told
    assert outcome.rcpt[0].decode().strip() in told
    assert record["envelope"]["rule"] in told
    assert "postmaster is reachable" in told
    found_again = run("search", "--ip", world.LISTED_TWICE, "--verdict", "reject", "--json", "--journal", str(folder))
    assert reference[1].decode() in {json.loads(line)["ref"] for line in found_again.splitlines()}


async def test_malware_that_is_refused(journalling: Service, folder: Path, client_address: str) -> None:
    async with await journalling.connect(client_address) as client:
        await submit(client, mail(EICAR).octets)
    record = await found(journalling, folder)
    assert (record["event"], record["verdict"], record["virus"]["kind"]) == ("message", "reject", "malware")
    assert record["content"]["rule"] == "malware"
    assert "EICAR-STANDARD" not in json.dumps(record)


async def test_mail_that_waits_for_a_dead_scanner(
    start_mailguard: StartMailguard, folder: Path, tmp_path: Path, clamd: Clamd, client_address: str
) -> None:
    assert clamd.address
    dead = {"address": f"unix:{tmp_path}/nobody"}
    service = await start_mailguard(journal={"directory": folder}, clamav=dead)
    async with await service.connect(client_address) as client:
        outcome = await submit(client, mail().octets)
    assert outcome.content.startswith(b"451 ")
    record = await found(service, folder)
    assert (record["verdict"], record["content"]["rule"]) == ("defer", "unavailable: clamav")
    assert record["virus"]["cause"] == "down"


async def test_a_recipient_that_the_backend_refuses(journalling: Service, folder: Path, client_address: str) -> None:
    async with await journalling.connect(client_address) as client:
        await submit(client, mail().octets, "nobody@example.com")
    await journalling.worker.stop()
    [record] = [each for each in Reader(Folder(folder)).search(Query()) if each["event"] == "recipient"]
    assert (record["verdict"], record["reply"]["by"], record["envelope"]["action"]) == ("reject", "backend", "accept")
    assert "Unknown user" in record["reply"]["text"]


@pytest.fixture
def served(lab: Lab, folder: Path, tmp_path: Path) -> Iterator[Mailguard]:
    """``mailguard serve`` as a process, with a journal that is named by its configuration."""
    (tmp_path / "served").mkdir()
    server = Mailguard(tmp_path / "served", lab, journal={"directory": str(folder)})
    server.start()
    yield server
    server.stop()


def test_why_is_asked_beside_the_running_service(served: Mailguard, folder: Path) -> None:
    """The process as in earnest: the configuration names the journal, and the record is there a moment later."""
    reply = _refused(served)
    reference = REFERENCE.search(reply)
    assert reference
    configuration = str(served.configuration)
    told = _until_known(reference[1].decode(), configuration)
    assert "we refused mail from" in " ".join(told.split())
    assert [path.suffix for path in folder.iterdir()] == [".jsonl"]
    assert {oct(each.stat().st_mode & 0o777) for each in (folder, *folder.iterdir())} == {"0o750", "0o640"}


def _refused(served: Mailguard) -> bytes:
    """The reply to a recipient elsewhere."""
    with smtplib.SMTP("127.0.0.1", served.port, timeout=30) as client:
        client.ehlo("client.example.org")
        client.mail("sender@example.org")
        _, text = client.rcpt("someone@elsewhere.example")
    return text


def _until_known(reference: str, configuration: str) -> str:
    command: list[Any] = [sys.executable, "-m", "mailguard", "why", reference, "--config", configuration]
    for _ in range(50):
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        if done.returncode == os.EX_OK:
            return done.stdout
        assert done.returncode in (os.EX_UNAVAILABLE, os.EX_NOINPUT), done.stderr
    raise AssertionError(f"{reference} never came into the journal")


async def test_a_doubtful_delivery_bears_its_digest(
    start_mailguard: StartMailguard, folder: Path, client_address: str
) -> None:
    """A backend that dies between the final dot and its reply (RFC 1047): nobody knows whether it has the message."""
    async with Sink() as sink:
        sink.once("content", CLOSE)
        service = await start_mailguard(
            journal={"directory": folder}, backends=[{"address": sink.address, "relay_probe": False}]
        )
        async with await service.connect(client_address) as client:
            outcome = await submit(client, mail().octets)
        assert outcome.content.startswith(b"451 ")
        await service.worker.stop()
    [record] = Reader(Folder(folder)).search(about(_reference(outcome.content)))
    assert re.fullmatch("[0-9a-f]{64}", record["digest"])
    assert record["verdict"] == "defer"


def _reference(reply: bytes) -> str:
    found = REFERENCE.search(reply)
    assert found
    return found[1].decode()
