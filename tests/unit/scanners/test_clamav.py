"""clamd's words and faults: nothing but its three sentences is an answer. The rest of the tests has a real clamd."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
from collections.abc import Callable
from io import FileIO
from pathlib import Path

import pytest

from mailguard import config, metrics
from mailguard.facts import NOT_ASKED, Answer, Cause, Known, Unknown, VirusResult
from mailguard.message import parse_head
from mailguard.scanners.clamav import TOP, Clamav, probe, read_reply
from mailguard.scanners.exchange import ScannerDown, split_address
from mailguard.spool import Content
from tests.unit.scanners.conftest import Fake, deadline, hang_up, says, silent

MakeContent = Callable[..., Content]
END = b"\0\0\0\0"
PONG = says(b"PONG\0", after=b"zPING\0")


def clock() -> float:
    return 0.0


@pytest.mark.parametrize(
    ("octets", "name"),
    [
        (b"stream: OK\0", ""),
        (b"fd[12]: OK\0", ""),
        (b"stream: Eicar-Test-Signature FOUND\0", "Eicar-Test-Signature"),
        (b"fd[10]: Win.Test.EICAR_HDB-1 FOUND\0", "Win.Test.EICAR_HDB-1"),
        (b"stream: X.UNOFFICIAL(44d88612fea8a8f36de82e1278abb02f:68) FOUND\0", "X.UNOFFICIAL"),
        (b"stream: Heuristics.Phishing.Email FOUND\0", "Heuristics.Phishing.Email"),
        (b"stream: OK FOUND\0", "OK"),
    ],
)
def test_answers(octets: bytes, name: str) -> None:
    assert read_reply(octets) == Known(VirusResult(name))


@pytest.mark.parametrize(
    ("octets", "cause"),
    [
        (b"", Cause.DOWN),
        (b"\0", Cause.DOWN),
        (b"OK\0", Cause.DOWN),
        (b"stream: OK", Cause.DOWN),
        (b"stream: OK\n", Cause.DOWN),
        (b"stream: Eicar", Cause.DOWN),
        (b"stream: OK\0stream: OK\0", Cause.DOWN),
        (b"stream: A FOUND\nstream: OK\0", Cause.DOWN),
        (b"stream:  FOUND\0", Cause.DOWN),
        (b"UNKNOWN COMMAND\0", Cause.DOWN),
        (b"fd[9]: Can't open file or directory ERROR\0", Cause.DOWN),
        (b"COMMAND READ TIMED OUT\0", Cause.DOWN),
        (b"\xff\xfe\0", Cause.DOWN),
        (b"INSTREAM size limit exceeded. ERROR\0", Cause.UNSCANNABLE),
        (b"stream: Time limit reached ERROR\0", Cause.UNSCANNABLE),
        (b"stream: Heuristics.Limits.Exceeded.MaxFileSize FOUND\0", Cause.UNSCANNABLE),
    ],
)
def test_anything_else_is_unknown(octets: bytes, cause: Cause) -> None:
    answer = read_reply(octets)
    assert isinstance(answer, Unknown)
    assert answer.cause is cause
    assert answer.why.isprintable()


@pytest.mark.parametrize(
    ("address", "where"),
    [
        ("unix:/run/clamd.ctl", "/run/clamd.ctl"),
        ("127.0.0.1:3310", ("127.0.0.1", 3310)),
        ("[::1]:3310", ("::1", 3310)),
        ("localhost:3310", ("localhost", 3310)),
    ],
)
def test_addresses(address: str, where: object) -> None:
    assert split_address(address) == where


async def scan(address: str | None, message: Content, seconds: float = 10.0, **settings: float) -> Answer[VirusResult]:
    with message:
        scanner = Clamav(config.Clamav.model_validate({"address": address, **settings}), clock)
        return await scanner.scan(message, deadline(seconds))


async def test_without_clamd_nothing_is_asked(content: MakeContent) -> None:
    assert await scan(None, content(b"x")) == NOT_ASKED
    assert not await Clamav(config.Clamav(), clock).alive()


async def test_a_reply_in_segments(fake: Fake, content: MakeContent) -> None:
    server = await fake(says(b"stre", b"am: A", b" FOU", b"ND\0", after=END))
    assert await scan(server.address, content(b"x")) == Known(VirusResult("A"))


@pytest.mark.parametrize("segments", [(), (b"stream: O",), (b"stream: OK",), (b"nonsense\0",)])
async def test_half_an_answer(fake: Fake, content: MakeContent, segments: tuple[bytes, ...]) -> None:
    server = await fake(says(*segments, after=END))
    answer = await scan(server.address, content(b"x"))
    assert isinstance(answer, Unknown)
    assert answer.cause is Cause.DOWN


async def test_what_is_sent(fake: Fake, content: MakeContent) -> None:
    message = bytes(range(256)) * 1200
    received = bytearray()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(10) == b"zINSTREAM\0"
        while size := int.from_bytes(await reader.readexactly(4), "big"):
            assert size <= 131_072
            received.extend(await reader.readexactly(size))
        writer.write(b"stream: OK\0")

    server = await fake(script)
    assert await scan(server.address, content(message)) == Known(VirusResult())
    assert received == TOP + message


def test_all_by_which_clamd_tells_types_is_ours() -> None:
    assert len(TOP) >= 1024
    assert TOP.startswith(b"Received: ")
    assert parse_head(TOP + b"\r\n").size == len(TOP)


async def test_the_file_handed_over_is_what_would_be_streamed(tmp_path: Path, content: MakeContent) -> None:
    """Not the spool's own file, which begins with what the client sent; and nobody can write to it."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "clamd"))
    listener.listen()
    listener.settimeout(10)

    def take() -> tuple[bytes, bool]:
        with listener, listener.accept()[0] as connection:
            command = connection.recv(8)
            _, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
            with FileIO(descriptors[0]) as file:
                octets = file.read()
                writable = fcntl.fcntl(file, fcntl.F_GETFL) & (os.O_WRONLY | os.O_RDWR)
            connection.sendall(b"fd[9]: A FOUND\0")
        assert command == b"zFILDES\0"
        return octets, bool(writable)

    seen = asyncio.create_task(asyncio.to_thread(take))
    message = b"fROM: x\r\n\r\n" * 30_000
    with content(message, in_file=True) as spooled:
        answer = await scan(f"unix:{tmp_path}/clamd", spooled.with_head(b"Subject: x\r\n", 9))
    assert answer == Known(VirusResult("A"))
    assert await seen == (TOP + b"Subject: x\r\n" + message[9:], False)


async def test_the_reply_counts_although_sending_failed(fake: Fake, content: MakeContent) -> None:
    server = await fake(says(b"INSTREAM size limit exceeded. ERROR\0", after=b"zINSTREAM\0"))
    answer = await scan(server.address, content(b"x" * 20_000_000))
    assert isinstance(answer, Unknown)
    assert answer.cause is Cause.UNSCANNABLE


async def test_ok_about_what_was_not_sent_is_no_answer(fake: Fake, content: MakeContent) -> None:
    server = await fake(says(b"stream: OK\0", after=b"zINSTREAM\0"))
    answer = await scan(server.address, content(b"x" * 20_000_000))
    assert isinstance(answer, Unknown)
    assert answer.cause is Cause.DOWN


async def test_a_reply_without_end_is_bounded(fake: Fake, content: MakeContent) -> None:
    server = await fake(says(b"a" * 100_000, after=END))
    answer = await scan(server.address, content(b"x"))
    assert isinstance(answer, Unknown)
    assert "more than" in answer.why


async def test_hanging_up(fake: Fake, content: MakeContent) -> None:
    server = await fake(hang_up)
    assert isinstance(await scan(server.address, content(b"x")), Unknown)


async def test_nobody_listens(content: MakeContent) -> None:
    answer = await scan("unix:/nonexistent/clamd", content(b"x"))
    assert isinstance(answer, Unknown)
    assert answer.cause is Cause.DOWN


async def test_no_time_left(fake: Fake, content: MakeContent) -> None:
    server = await fake(silent)
    answer = await scan(server.address, content(b"x"), seconds=-1)
    assert isinstance(answer, Unknown)
    assert server.connections == 0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  the server tells nobody
            await asyncio.sleep(0)


def waiting() -> float:
    return metrics.REGISTRY.get_sample_value("mailguard_scans_waiting", {"scanner": "clamav"}) or 0.0


async def test_waiting_for_a_connection_is_down_and_asks_nobody(fake: Fake, content: MakeContent) -> None:
    server = await fake(silent, PONG)
    scanner = Clamav(config.Clamav(address=server.address, connections=1), clock)
    with content(b"x") as message:
        first = asyncio.create_task(scanner.scan(message, deadline(30)))
        await until(lambda: server.connections == 1)
        second = asyncio.create_task(scanner.scan(message, deadline(0.3)))
        await asyncio.sleep(0)
        assert waiting() == 1
        answer = await second
        assert isinstance(answer, Unknown)
        assert answer.cause is Cause.DOWN
        assert "no free connection" in answer.why
        assert waiting() == 0
        assert server.connections == 1
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first


async def test_a_cancelled_scan_gives_its_connection_back(fake: Fake, content: MakeContent) -> None:
    server = await fake(silent, says(b"stream: OK\0", after=END))
    scanner = Clamav(config.Clamav(address=server.address, connections=1), clock)
    with content(b"x") as message:
        task = asyncio.create_task(scanner.scan(message, deadline(30)))
        await until(lambda: server.connections == 1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await scanner.scan(message, deadline(10)) == Known(VirusResult())


async def test_a_file_that_clamd_cannot_use_is_streamed(fake: Fake, content: MakeContent) -> None:
    refuses = says(b"fd[7]: Access denied. ERROR\0", after=b"zFILDES\0")
    server = await fake(refuses, says(b"stream: A FOUND\0", after=END))
    assert await scan(server.address, content(b"x", in_file=True)) == Known(VirusResult("A"))


@pytest.mark.parametrize("ending", [hang_up, says(b"fd[7]: O", after=b"zFILDES\0")])
async def test_half_an_answer_about_a_file(fake: Fake, content: MakeContent, ending: object) -> None:
    server = await fake(ending)
    answer = await scan(server.address, content(b"x", in_file=True))
    assert isinstance(answer, Unknown)
    assert server.connections == 1


@pytest.mark.parametrize(("script", "alive"), [(PONG, True), (hang_up, False), (says(b"PO", after=b"zPING\0"), False)])
async def test_alive(fake: Fake, script: object, alive: bool) -> None:
    server = await fake(script)
    assert await Clamav(config.Clamav(address=server.address), clock).alive() is alive


async def test_results_are_counted(fake: Fake, content: MakeContent) -> None:
    def count(result: str) -> float:
        value = metrics.REGISTRY.get_sample_value("mailguard_scans_total", {"scanner": "clamav", "result": result})
        return value or 0.0

    before = {result: count(result) for result in ("clean", "infected", "down", "unscannable")}
    replies = (b"stream: OK\0", b"stream: A FOUND\0", b"no\0", b"INSTREAM size limit exceeded. ERROR\0")
    server = await fake(*(says(reply, after=END) for reply in replies))
    for _ in replies:
        await scan(server.address, content(b"x"))
    assert {result: count(result) - before[result] for result in before} == dict.fromkeys(before, 1.0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_probing_nobody() -> None:
    with pytest.raises(ScannerDown):
        probe("unix:/nonexistent/clamd", 1.0)
