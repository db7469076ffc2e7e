"""The clamd client with a real clamd: what it finds, what it cannot judge, and what its death looks like."""

from __future__ import annotations

import asyncio
import base64
import errno
import io
import re
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from mailguard import config
from mailguard.facts import Answer, Cause, Known, Unknown, VirusResult
from mailguard.lab import Lab
from mailguard.lab.clamd import EICAR, SIGNATURE, Clamd
from mailguard.scanners import clamav
from mailguard.scanners.clamav import Clamav, probe
from mailguard.spool import Content, Spool

FOUND = Known(VirusResult(f"{SIGNATURE}.UNOFFICIAL"))
CLEAN = Known(VirusResult())
MIB = 1024 * 1024


def finished(octets: bytes, memory: int = 64 * MIB) -> Content:
    spool = Spool(memory)
    for i in range(0, len(octets), 65536):
        spool.write(octets[i : i + 65536])
    return spool.finish()


def clock() -> float:
    return 0.0


async def scan(address: str, octets: bytes, memory: int = 64 * MIB, seconds: float = 60) -> Answer[VirusResult]:
    scanner = Clamav(config.Clamav(address=address), clock)
    with finished(octets, memory) as content:
        return await scanner.scan(content, asyncio.get_running_loop().time() + seconds)


def zipped(octets: bytes) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("eicar.com", octets)
    return archive.getvalue()


def attached(octets: bytes) -> bytes:
    return (
        b"From: a@example.org\r\nTo: b@example.com\r\nSubject: x\r\nMIME-Version: 1.0\r\n"
        b"Content-Type: multipart/mixed; boundary=XX\r\n\r\n--XX\r\nContent-Type: text/plain\r\n\r\nhello\r\n--XX\r\n"
        b"Content-Type: application/octet-stream; name=a.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n"
        + base64.encodebytes(octets).replace(b"\n", b"\r\n")
        + b"--XX--\r\n"
    )


MESSAGES = {
    "raw": EICAR,
    "MIME": attached(EICAR),
    "zip in MIME": attached(zipped(EICAR)),
    "zip in zip in MIME": attached(zipped(zipped(EICAR))),
}


@pytest.fixture(params=["unix", "tcp"])
def address(request: pytest.FixtureRequest, clamd: Clamd) -> str:
    return clamd.address if request.param == "unix" else clamd.tcp_address


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("memory", [64 * MIB, 0], ids=["in memory", "in a file"])
async def test_malware_is_found(address: str, name: str, memory: int) -> None:
    assert await scan(address, MESSAGES[name], memory) == FOUND


@pytest.mark.parametrize("octets", [b"", b"x", attached(b"hello"), b"x" * MIB], ids=["empty", "tiny", "MIME", "1 MiB"])
@pytest.mark.parametrize("memory", [64 * MIB, 0], ids=["in memory", "in a file"])
async def test_clean(address: str, octets: bytes, memory: int) -> None:
    assert await scan(address, octets, memory) == CLEAN


@pytest.mark.parametrize(("last", "expected"), [(EICAR, FOUND), (b"nothing", CLEAN)])
async def test_a_spooled_message_of_20_mb_goes_as_a_file(
    clamd: Clamd, last: bytes, expected: Answer[VirusResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clamav, "_stream", None)
    message = attached(b"x" * 14_000_000 + last) + b"padding\r\n" * 100_000
    assert len(message) > 20_000_000
    assert await scan(clamd.address, message, MIB) == expected


HEAD = (
    b"Return-Path: <a@example.org>\r\nReceived: from example.org (unknown [198.18.0.1])\r\n"
    b"\tby mx.test.invalid with ESMTP id 1;\r\n\tSat, 01 Aug 2026 10:00:05 +0000\r\n"
)


def at(offset: int, octets: bytes) -> bytes:
    """Our head and one field of the client's that holds ``octets`` at ``offset``."""
    head = HEAD + b"Keywords: "
    return head.ljust(offset, b"x") + octets + b"\r\n"


def odd_case(message: bytes) -> bytes:
    """``message`` with its field names in upper and lower case where clamd's magic for mail expects the other."""
    return re.sub(rb"(?m)^[A-Z][A-Za-z-]+(?=: )", lambda found: found[0].swapcase(), message)


def bare(message: bytes) -> bytes:
    """``message`` without any field but the one that mail programs need to find the attachment."""
    return message[message.index(b"Content-Type: ") :]


DISGUISED = {
    "as it is": attached(EICAR),
    "no usual field": bare(attached(EICAR)),
    "no usual field, odd names": odd_case(bare(attached(EICAR))),
    "lower case": bare(attached(EICAR)).replace(b"Content-T", b"content-t"),
    "odd names": odd_case(attached(EICAR)),
    "odd names, our head": HEAD + odd_case(attached(EICAR)),
    "tar": at(257, b"ustar") + attached(EICAR),
    "partition table": at(512, b"EFI PART") + attached(EICAR),
    "boot record": at(510, b"\x55\xaa") + attached(EICAR),
    "pdf": b"X-A: %PDF-1.4\r\n" + attached(EICAR),
}


@pytest.mark.parametrize("name", DISGUISED)
@pytest.mark.parametrize("padding", [1000, 1_300_000])
@pytest.mark.parametrize("memory", [64 * MIB, 0], ids=["in memory", "in a file"])
async def test_mail_that_looks_like_something_else(address: str, name: str, padding: int, memory: int) -> None:
    """clamd decodes attachments only of what it takes for mail by its first octets, which are ours and constant."""
    message = DISGUISED[name] + b"a line of no interest at all.\r\n" * (padding // 31)
    assert await scan(address, message, memory) == FOUND


async def test_no_room_for_a_copy(clamd: Clamd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the message is streamed: the disk is no reason not to scan."""
    with finished(attached(EICAR), 0) as content:
        monkeypatch.setattr(Spool, "_open", no_space)
        scanner = Clamav(config.Clamav(address=clamd.address), clock)
        assert await scanner.scan(content, asyncio.get_running_loop().time() + 60) == FOUND


def no_space(_: Spool) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_on_uvloop(clamd: Clamd) -> None:
    """The service runs on uvloop, whose sockets are its own."""

    async def all_ways() -> list[Answer[VirusResult]]:
        return [
            await scan(address, EICAR, memory) for address in (clamd.address, clamd.tcp_address) for memory in (MIB, 0)
        ]

    assert uvloop.run(all_ways()) == [FOUND] * 4


async def test_many_at_once_are_bounded_and_right(clamd: Clamd) -> None:
    scanner = Clamav(config.Clamav(address=clamd.address, connections=3), clock)
    end = asyncio.get_running_loop().time() + 60
    contents = [finished(EICAR if i % 2 else b"clean", 0 if i % 3 else MIB) for i in range(40)]
    answers = await asyncio.gather(*(scanner.scan(content, end) for content in contents))
    for content in contents:
        content.close()
    assert answers == [FOUND if i % 2 else CLEAN for i in range(40)]


@pytest.fixture(scope="module")
def small() -> Iterator[Clamd]:
    """A clamd that takes 1 MiB by INSTREAM and looks at 2 MiB of a message."""
    with Lab() as lab:
        yield lab.server("clamd", Clamd, lambda folder: Clamd(folder, stream_max=MIB, scan_max=2 * MIB))


@pytest.mark.parametrize("octets", [MIB + 1, 20 * MIB])
@pytest.mark.parametrize("kind", ["unix", "tcp"])
async def test_over_stream_max_length(small: Clamd, kind: str, octets: int) -> None:
    answer = await scan(small.address if kind == "unix" else small.tcp_address, b"x" * octets)
    assert isinstance(answer, Unknown)
    assert answer.cause is Cause.UNSCANNABLE
    assert "limit" in answer.why


async def test_up_to_stream_max_length(small: Clamd) -> None:
    assert await scan(small.address, b"x" * (MIB - len(clamav.TOP))) == CLEAN


async def test_what_we_put_on_top_counts(small: Clamd) -> None:
    answer = await scan(small.address, b"x" * (MIB - len(clamav.TOP) + 1))
    assert isinstance(answer, Unknown)
    assert answer.cause is Cause.UNSCANNABLE


async def test_stream_max_length_does_not_bind_a_file(small: Clamd) -> None:
    assert await scan(small.address, b"x" * (MIB + MIB // 2), memory=0) == CLEAN


async def test_what_is_over_clamds_limits_is_not_called_clean(small: Clamd) -> None:
    answer = await scan(small.address, b"x" * (4 * MIB), memory=0)
    assert isinstance(answer, Unknown)
    assert answer.cause is Cause.UNSCANNABLE
    assert "Heuristics.Limits.Exceeded" in answer.why


async def test_clamd_killed_in_the_middle_of_a_scan(own_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    clamd = own_lab.clamd()
    scanner = Clamav(config.Clamav(address=clamd.address), clock)
    end = asyncio.get_running_loop().time() + 60

    def killing(_: Content) -> Iterator[bytes]:
        """clamd has the first chunk and waits for more."""
        yield b"zINSTREAM\0" + struct.pack("!L", 4) + b"From"
        clamd.kill()
        yield struct.pack("!L", 4) + b": x\n"

    monkeypatch.setattr(clamav, "_stream", killing)
    with finished(EICAR) as content:
        answer = await scanner.scan(content, end)
    assert isinstance(answer, Unknown)
    assert answer.cause is Cause.DOWN
    assert not await scanner.alive()
    monkeypatch.undo()
    clamd.start()
    assert await scanner.alive()
    assert await scan(clamd.address, EICAR) == FOUND


async def test_pyclamd_agrees(address: str) -> None:
    seen = await asyncio.to_thread(probe, address, 60.0)
    assert seen.version.startswith("ClamAV")
    assert seen.detects
    assert Known(VirusResult(seen.eicar)) == FOUND


async def test_our_ping(address: str, tmp_path: Path) -> None:
    assert await Clamav(config.Clamav(address=address), clock).alive()
    assert not await Clamav(config.Clamav(address=f"unix:{tmp_path}/nobody"), clock).alive()
