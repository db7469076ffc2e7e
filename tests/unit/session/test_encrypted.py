"""A session in TLS, one that XCLIENT hands to another client, and the certificate that is loaded again."""

from __future__ import annotations

import re
import signal
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from mailguard import metrics
from mailguard.cli import app
from mailguard.dns.inquiry import Inquiry
from mailguard.facts import NOT_ASKED, Answer, ClientAddress, ReverseDns
from tests.support.certificates import Pair, make, openssl, run_out, trusting
from tests.support.client import Client
from tests.support.found import found
from tests.support.mail import mail, submit
from tests.support.sink import Sink
from tests.unit.session.conftest import CLIENT, POLICY, Service, Start
from tests.unit.session.serving import Place
from tests.unit.test_settings_checks import SETTINGS, told

PROXY = {"proxy_protocol_from": ["127.0.0.0/8"]}


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return make(tmp_path)


@pytest.fixture
async def service(start: Start, pair: Pair) -> Service:
    return await start(tls=pair.settings)


def metric(name: str) -> float:
    value = metrics.REGISTRY.get_sample_value(f"mailguard_{name}")
    assert value is not None
    return value


async def in_tls(service: Service, pair: Pair) -> Client:
    """A client behind the handshake; the greeting and an EHLO before it are read."""
    client = await service.connect()
    await client.reply()
    await client.command(b"EHLO plain.example")
    await client.starttls(trusting(pair))
    return client


def line(lines: list[Any], event: str) -> dict[str, Any]:
    (found,) = [one for one in lines if one["event"] == event]
    return dict(found)


# --- TLS ------------------------------------------------------------------------------------------------------------


async def test_received_and_log_tell_of_it(service: Service, pair: Pair) -> None:
    with capture_logs() as lines:
        async with await in_tls(service, pair) as client:
            assert await delivered(client, b"tls.example")
            await client.command(b"QUIT")
            await client.rest()
    (got,) = service.sink.messages
    assert re.match(
        rb"Received: from tls\.example \(unknown \[198\.18\.1\.10\]\) "
        rb"by mx\.example\.com with ESMTPS \(TLS1\.3 TLS_\w+\) id \S+; [^\r]+\r\n",
        re.sub(rb"\r\n[ \t]+", b" ", got.content),  # where it is folded depends on how long the reference is
    ), got.content[:300]
    told = line(lines, "message")["tls"]
    assert re.fullmatch(r"TLSv1\.3/TLS_\w+", told)
    assert line(lines, "connection")["tls"] == told
    assert line(lines, "message")["helo"] == "tls.example"


async def delivered(client: Client, helo: bytes) -> bool:
    """EHLO and a message; whether it was taken."""
    assert await client.code(b"EHLO " + helo) == 250
    replies = await client.message(b"a@b.example", [b"alice@example.com"], mail().octets)
    return replies[-1][-1].startswith(b"250 ")


async def test_smtputf8_in_tls(service: Service, pair: Pair) -> None:
    async with await in_tls(service, pair) as client:
        await client.command(b"EHLO tls.example")
        for command in ("MAIL FROM:<é@b.example> SMTPUTF8", "RCPT TO:<alice@example.com>"):
            assert await client.code(command.encode()) == 250
        assert await client.code(b"DATA") == 354
        await client.send(b"x\r\n.\r\n")
        assert (await client.reply())[0].startswith(b"250 ")
    (got,) = service.sink.messages
    assert b" with UTF8SMTPS (TLS1.3 " in got.content.partition(b"\r\n\t")[2]


async def test_without_it_nothing_is_said_of_it(service: Service) -> None:
    with capture_logs() as lines:
        async with await service.connect() as client:
            await submit(client, mail().octets)
    (got,) = service.sink.messages
    assert b"with ESMTP id " in got.content
    assert "tls" not in line(lines, "message")


async def test_the_name_said_before_is_in_no_line(service: Service, pair: Pair) -> None:
    with capture_logs() as lines:
        async with await in_tls(service, pair) as client:
            await client.command(b"QUIT")
            await client.rest()
    assert "helo" not in line(lines, "connection")


# --- XCLIENT --------------------------------------------------------------------------------------------------------


async def test_the_questions_are_about_the_client_that_was_named(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    service = await start(listen=[{"address": "127.0.0.1:0", **PROXY, "xclient_from": ["198.18.1.0/24"]}])
    asked: list[str] = []

    def ask(_resolver: object, address: ClientAddress, _deadline: float) -> Inquiry[Answer[ReverseDns]]:
        asked.append(str(address))
        return found(NOT_ASKED)

    monkeypatch.setattr("mailguard.session.questions.reverse_dns", ask)
    with capture_logs() as lines:
        async with await service.connect() as client:
            await client.reply()
            assert await client.code(b"XCLIENT ADDR=198.18.2.7 NAME=c.example HELO=c.example PROTO=SMTP") == 220
            assert await delivered(client, b"relay.example")
            await client.command(b"QUIT")
            await client.rest()
    (got,) = service.sink.messages
    assert got.content.startswith(b"Received: from c.example (c.example [198.18.2.7])\r\n")
    assert b" with SMTP id " in got.content
    connections = [one for one in lines if one["event"] == "connection"]
    assert [(one["client"], one["end"]) for one in connections] == [(CLIENT, "renamed"), ("198.18.2.7", "quit")]
    assert connections[0]["ref"] != connections[1]["ref"]
    assert line(lines, "message")["reverse"] == "c.example"
    assert asked == [CLIENT]  # the relay itself; never a client whose name it told


# --- the certificate, loaded again ----------------------------------------------------------------------------------


async def shown(service: Service) -> str:
    """The certificate that a client is shown now, in PEM."""
    async with await service.connect() as client:
        await client.reply()
        await client.command(b"EHLO c")
        await client.starttls(trusting())
        connection = client.writer.get_extra_info("ssl_object")
        return ssl.DER_cert_to_PEM_cert(connection.getpeercert(binary_form=True))


async def test_it_is_loaded_again(service: Service, pair: Pair, tmp_path: Path) -> None:
    before = metric("certificate_expiry_timestamp_seconds")
    make(tmp_path, days=180)
    with capture_logs() as lines:
        assert await service.worker.reload_certificate()
    assert await shown(service) == pair.certificate.read_text()
    assert metric("certificate_expiry_timestamp_seconds") > before + 80 * 86400
    assert metric("certificate_load_success") == 1
    assert line(lines, "certificate loaded")["path"] == str(pair.certificate)


@pytest.mark.parametrize("fault", ["gone", "another key", "open", "old", "empty"])
async def test_a_bad_one_changes_nothing_and_is_loud(service: Service, pair: Pair, tmp_path: Path, fault: str) -> None:
    good, expiry = pair.certificate.read_text(), metric("certificate_expiry_timestamp_seconds")
    match fault:
        case "gone":
            pair.certificate.unlink()
        case "another key":
            openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", pair.key)
        case "open":
            pair.key.chmod(0o644)
        case "old":
            run_out(pair)
        case "empty":
            pair.certificate.write_text("")
    with capture_logs() as lines:
        assert not await service.worker.reload_certificate()
    assert await shown(service) == good
    refused = line(lines, "certificate refused")
    assert (refused["log_level"], refused["path"]) == ("error", str(pair.certificate))
    assert str(tmp_path) in refused["error"]
    assert metric("certificate_load_success") == 0
    assert metric("certificate_expiry_timestamp_seconds") == expiry


async def test_without_one_there_is_nothing_to_load(start: Start) -> None:
    service = await start()
    assert not await service.worker.reload_certificate()
    assert metric("certificate_load_success") == 1
    assert metric("certificate_expiry_timestamp_seconds") == 0


async def test_one_that_ran_out_is_shown_and_loud(start: Start, pair: Pair) -> None:
    run_out(pair)
    with capture_logs() as lines:
        service = await start(tls=pair.settings)
    assert line(lines, "certificate out of date")["log_level"] == "error"
    assert await shown(service) == pair.certificate.read_text()


async def test_one_that_runs_out_soon_is_warned_of(start: Start, pair: Pair) -> None:
    with capture_logs() as lines:
        await start(tls={**pair.settings, "expiry_warning": 91})
    assert line(lines, "certificate expires soon")["log_level"] == "warning"


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with Sink() as sink:
        made = Place(tmp_path, sink, POLICY)
        yield made
        await made.close()


@pytest.mark.slow
async def test_sighup_loads_both(place: Place, pair: Pair) -> None:
    """Paths are relative to the folder of the settings."""
    served = await place.serve(tls={"certificate": pair.certificate.name, "key": pair.key.name})
    await served.until_each('event="certificate loaded"', 'event="policy loaded"')
    place.policy("broken")
    make(pair.certificate.parent, days=30)
    served.process.send_signal(signal.SIGHUP)
    _, loaded = await served.until_each('event="policy refused"', 'event="certificate loaded"')
    assert f"path={pair.certificate}" in loaded


# --- settings and check ---------------------------------------------------------------------------------------------


def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, pair: Pair) -> None:
    with_tls = SETTINGS + f"tls:\n  certificate: {pair.certificate.name}\n  key: {pair.key.name}\n"
    assert told(tmp_path, with_tls) == []
    pair.key.chmod(0o644)
    assert told(tmp_path, with_tls) == [
        f"14:8: the private key {pair.key} is open to every user of this machine (mode 0644)"
    ]
    assert told(tmp_path, with_tls.replace("mx.example.com.pem", "gone.pem")) == [
        f"13:16: the certificate {tmp_path}/gone.pem cannot be read: no such file or directory"
    ]
    assert told(tmp_path, SETTINGS + f"tls:\n  key: {pair.key.name}\n") == ["13:8: this key has no certificate"]


def test_a_fault_of_the_key_in_the_certificates_file_is_told_there(tmp_path: Path, pair: Pair) -> None:
    assert told(tmp_path, SETTINGS + f"tls: {{certificate: {pair.certificate.name}}}\n") == [
        f"12:20: there is no private key in {pair.certificate}"
    ]


def checked(folder: Path, settings: str) -> Any:
    (folder / "mailguard.yaml").write_text(settings)
    (folder / "policy.yaml").write_text(POLICY)
    return CliRunner().invoke(app, ["check", "--config", str(folder / "mailguard.yaml")])


def test_check_tells_of_the_certificates_time(tmp_path: Path, pair: Pair) -> None:
    with_tls = SETTINGS + f"tls: {{certificate: {pair.certificate.name}, key: {pair.key.name}}}\n"
    well = checked(tmp_path, with_tls)
    assert (well.exit_code, well.stderr) == (0, "")
    assert f"{pair.certificate}: ok, a certificate until 20" in well.stdout
    make(tmp_path, days=3)
    soon = checked(tmp_path, with_tls)
    assert soon.exit_code == 0
    assert re.search(r"mx\.example\.com\.pem: warning: the certificate runs out on \S+, in 3 days\n", soon.stderr)
    run_out(pair)
    over = checked(tmp_path, with_tls)
    assert over.exit_code == 78
    assert f"{pair.certificate}:1:1: the certificate {pair.certificate} ran out on 20" in over.stderr
    assert "hint: put a new one in its place, then send SIGHUP" in over.stderr


def test_check_without_a_certificate_says_nothing_of_one(tmp_path: Path) -> None:
    assert "certificate" not in checked(tmp_path, SETTINGS).output
