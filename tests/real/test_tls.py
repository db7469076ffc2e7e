"""STARTTLS and XCLIENT by programs of others, ``openssl s_client`` and swaks; behind mailguard a real Exim."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailguard.lab import world
from mailguard.lab.exim import Exim
from mailguard.lab.process import find_program
from tests.real.conftest import Service, StartMailguard
from tests.support.certificates import Pair, make
from tests.support.mail import mail

BOUND = 60.0
"""Seconds for one program to end."""


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return make(tmp_path_factory.mktemp("certificate"), world.MAILGUARD_NAME)


@pytest.fixture
async def service(start_mailguard: StartMailguard, pair: Pair) -> Service:
    """Its first listener offers STARTTLS, and XCLIENT to loopback."""
    return await start_mailguard(
        listen=[
            {"address": "127.0.0.1:0", "xclient_from": ["127.0.0.0/8"]},
            {"address": "127.0.0.1:0", "proxy_protocol_from": ["127.0.0.0/8"]},
        ],
        tls=pair.settings,
    )


async def run(program: str, *arguments: object, says: bytes = b"") -> tuple[int, str]:
    """Run ``program``; its exit status and all that it wrote."""
    process = await asyncio.create_subprocess_exec(
        find_program(program, program),
        *map(str, arguments),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(BOUND):
            said, _ = await process.communicate(says)
    except TimeoutError:
        process.kill()
        raise
    return process.returncode or 0, said.decode(errors="replace")


async def s_client(service: Service, *more: object, says: bytes = b"QUIT\n") -> tuple[int, str]:
    where = ("-connect", f"127.0.0.1:{service.port}", "-starttls", "smtp", "-name", "client.example")
    return await run("openssl", "s_client", *where, "-crlf", "-ign_eof", *more, says=says)


@pytest.mark.parametrize(("option", "version"), [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")])
async def test_openssl_verifies_the_certificate_and_talks(
    service: Service, pair: Pair, option: str, version: str
) -> None:
    verify = ("-CAfile", pair.certificate, "-verify_return_error", "-verify_hostname", world.MAILGUARD_NAME)
    status, said = await s_client(service, option, *verify)
    assert status == 0, said
    assert "Verification: OK" in said
    assert f"New, {version}, Cipher is " in said
    assert "221 2.0.0 " in said


@pytest.mark.parametrize(
    "options",
    [
        ("-tls1_1", "-cipher", "ALL:@SECLEVEL=0"),
        ("-tls1", "-cipher", "ALL:@SECLEVEL=0"),
        ("-tls1_2", "-cipher", "eNULL:aNULL:@SECLEVEL=0"),
        ("-tls1_2", "-cipher", "3DES:RC4:MD5:EXPORT:aNULL:@SECLEVEL=0"),
    ],
    ids=["TLS 1.1", "TLS 1.0", "no encryption", "old ciphers"],
)
async def test_what_is_not_safe_is_not_spoken(service: Service, options: Sequence[str]) -> None:
    status, said = await s_client(service, *options)
    assert status != 0
    assert "221 2.0.0" not in said


async def test_a_client_cannot_renegotiate(service: Service) -> None:
    """It would make us compute for as long as it likes (CVE-2011-1473)."""
    _, said = await run(
        "openssl",
        *("s_client", "-connect", f"127.0.0.1:{service.port}", "-starttls", "smtp", "-tls1_2"),
        says=b"R\n",
    )
    assert "RENEGOTIATING" in said
    assert re.search(r"no renegotiation|handshake failure|closed", said)


@dataclass(frozen=True)
class Letter:
    """A message in a file, for swaks."""

    path: Path
    message_id: str


@pytest.fixture
def letter(tmp_path: Path) -> Letter:
    made = mail()
    (tmp_path / "letter").write_bytes(made.octets)
    return Letter(tmp_path / "letter", made.message_id)


async def swaks(service: Service, letter: Letter, *more: str) -> tuple[int, str]:
    where = ("--server", "127.0.0.1", "--port", service.port, "--timeout", "30s", "--ehlo", "swaks.example.net")
    envelope = ("--from", "sender@example.org", "--to", "alice@example.com", "--data", f"@{letter.path}")
    return await run("swaks", *where, *envelope, *more)


async def test_swaks_in_tls(service: Service, exim: Exim, pair: Pair, letter: Letter) -> None:
    verify = ("--tls-verify", "--tls-ca-path", str(pair.certificate))
    status, said = await swaks(service, letter, "--tls", *verify)
    assert status == 0, said
    [there] = exim.find(letter.message_id, 30)
    assert re.search(rb"by mx\.test\.invalid with ESMTPS \(TLS1\.3 TLS_[A-Z0-9_]+\)\s+id ", there.read())


@pytest.mark.parametrize("tls", [(), ("--tls",)], ids=["plain", "in TLS"])
async def test_swaks_names_another_client_by_xclient(
    service: Service, exim: Exim, letter: Letter, client_address: str, tls: tuple[str, ...]
) -> None:
    told = ("--xclient-addr", client_address, "--xclient-name", "c.example.org", "--xclient-helo", "helo.example.org")
    status, said = await swaks(service, letter, *told, *tls)
    assert status == 0, said
    [there] = exim.find(letter.message_id, 30)
    content = there.read()
    assert b"Received: from helo.example.org (c.example.org [%b])\n" % client_address.encode() in content
    assert b" with ESMTP id " in content  # whether the client itself used TLS, nobody told
    [arrival] = [line for line in exim.main_log().splitlines() if f"id={letter.message_id[1:-1]}" in line]
    assert f"[{client_address}]" in arrival


async def test_the_lists_are_asked_about_the_client_that_xclient_names(service: Service, letter: Letter) -> None:
    status, said = await swaks(service, letter, "--xclient-addr", world.LISTED_TWICE)
    assert status != 0
    assert "554 5.7.1 " in said
    assert world.LISTED_TWICE in said
