"""Exim killed at each stage of a transaction, by a cable that sees what mailguard says; nothing is lost in silence.

The client is told 250 only where Exim has said it. Where Exim died before the end of data it has nothing, and the
sender's next attempt is delivered once. Where only Exim's last word was lost it has the message, which the log says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs

from mailguard.lab import Lab
from mailguard.lab.exim import Exim
from tests.real.conftest import Service, StartMailguard
from tests.support.mail import Mail, Outcome, mail, submit

WAIT = 30.0
"""Seconds within which Exim delivers what it took."""
ATTEMPTS = 200
MIDDLE = b"the middle of the content"


@dataclass
class Cable:
    """Between mailguard and Exim. ``fatal`` kills Exim, once, before what begins with it is passed on to Exim;
    ``last_word``: before it is passed on to mailguard. ``chunking``: whether mailguard gets to know of BDAT.
    """

    exim: Exim
    chunking: bool
    fatal: bytes | None = None
    last_word: bytes | None = None
    killed: int = 0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        if self.fatal == b"":
            self._kill()
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.exim.proxy_port)
        except ConnectionError:
            writer.transport.abort()
            return
        ways = [asyncio.create_task(self._forth(reader, back)), asyncio.create_task(self._back(there, writer))]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        for end in (writer, back):
            end.transport.abort()

    async def _forth(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while octets := await reader.read(65536):
            while self._may_go_on(octets):
                octets += await reader.readexactly(1)
            before, found, _ = octets.partition(self.fatal) if self.fatal else (octets, b"", b"")
            writer.write(before)
            if found:
                await writer.drain()
                self._kill()
                return

    def _may_go_on(self, octets: bytes) -> bool:
        """Whether ``octets`` end in the middle of what is fatal."""
        fatal = self.fatal or b""
        return any(octets.endswith(fatal[:length]) for length in range(1, len(fatal)))

    async def _back(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            if self.last_word and line.startswith(self.last_word):
                self._kill()
                return
            if self.chunking or b"CHUNKING" not in line:
                writer.write(line)

    def _kill(self) -> None:
        self.fatal = self.last_word = None
        self.killed += 1
        self.exim.kill()


@pytest.fixture(scope="module")
def mortal() -> Iterator[Exim]:
    """An Exim of these tests alone."""
    with Lab() as lab:
        yield lab.exim()


@pytest.fixture(params=[True, False], ids=["BDAT", "DATA"])
async def cable(request: pytest.FixtureRequest, mortal: Exim) -> AsyncIterator[tuple[Cable, str]]:
    """A cable and its address; Exim lives."""
    mortal.start()
    made = Cable(mortal, request.param)
    server = await asyncio.start_server(made.carry, "127.0.0.1", 0)
    yield made, f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()
    await server.wait_closed()


@pytest.fixture
async def service(cable: tuple[Cable, str], start_mailguard: StartMailguard) -> Service:
    limits = {"backend_retry": 0.1, "backend_connect_timeout": 5.0}
    quick = {"address": None, "rule_dirs": []}  # SpamAssassin takes seconds for a message of many pieces
    return await start_mailguard(backends=[{"address": cable[1]}], limits=limits, spamassassin=quick)


STAGES: dict[str, Callable[[Cable], bytes]] = {
    "the connection": lambda _: b"",
    "EHLO": lambda _: b"EHLO mail.example.org",
    "MAIL": lambda _: b"MAIL FROM:<",
    "RCPT": lambda _: b"RCPT TO:<",
    "DATA": lambda cable: b"BDAT " if cable.chunking else b"DATA\r\n",
    "the content": lambda _: MIDDLE,
    "the end": lambda cable: b"the end of it\r\n" if cable.chunking else b".\r\n",
}
"""What Exim does not get to see any more. EHLO is the client's: mailguard's own probes, each tenth of a second, say it
under its own name, and one of them would be the death of Exim before the client has come so far."""


def told(outcome: Outcome) -> bytes:
    """The last word that the client heard of its message."""
    return outcome.content or outcome.rcpt[0]


@pytest.mark.parametrize("stage", STAGES)
async def test_what_exim_has_not_taken_is_deferred(
    cable: tuple[Cable, str], service: Service, client_address: str, mortal: Exim, stage: str
) -> None:
    line, message = cable[0], letter()
    line.fatal = STAGES[stage](line)
    with capture_logs() as lines:
        async with await service.connect(client_address) as client:
            outcome = await submit(client, message.octets)
    assert line.killed == 1
    assert told(outcome).startswith(b"451 4.3.0 ")
    assert not any(entry["reply"].startswith("250") for entry in lines if entry["event"] == "message")
    mortal.start()
    assert await sent_again(service, client_address, message)
    assert len(mortal.find(message.message_id, WAIT)) == 1


async def test_what_exim_has_taken_without_being_heard_is_doubtful(
    cable: tuple[Cable, str], service: Service, client_address: str, mortal: Exim
) -> None:
    """RFC 1047: the log has the digest, and the sender's next attempt makes a second one."""
    line, message = cable[0], letter()
    line.last_word = b"250 OK id="
    with capture_logs() as lines:
        async with await service.connect(client_address) as client:
            outcome = await submit(client, message.octets)
    assert line.killed == 1
    assert outcome.content.startswith(b"451 4.3.0 ")
    [entry] = [entry for entry in lines if entry["event"] == "message"]
    assert len(entry["digest"]) == 64
    mortal.start()
    assert await sent_again(service, client_address, message)
    assert mortal.find(message.message_id, WAIT)


def letter() -> Mail:
    """Of more than one piece, so that it has a middle."""
    lines = ["x" * 70] * 6000
    return mail("\r\n".join([*lines, MIDDLE.decode(), *lines, "the end of it"]))


async def sent_again(service: Service, address: str, message: Mail) -> bool:
    """Whether one of the sender's next attempts is answered 250."""
    for _ in range(ATTEMPTS):
        async with await service.connect(address) as client:
            if told(await submit(client, message.octets)).startswith(b"250 "):
                return True
        await asyncio.sleep(0.05)
    return False
