"""A story for tests of the SMTP face: it takes what it is told to take, and writes everything down.

Replies come from ``answers`` by stage (``connected``, ``greeting``, ``helo``, ``mail``, ``rcpt``, ``data``,
``end_of_data``); a value that is an exception is raised. ``pause`` holds a stage until it is set.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from mailguard.commands import Extensions, MailFrom, RcptTo
from mailguard.facts import Answer, TlsSession
from mailguard.replies import Reply, reply
from mailguard.smtp.events import EndOfData, HeloGiven
from mailguard.smtp.story import ConnectionEnd, Peer

HOSTNAME = "mx.example.com"
DOMAIN = "example.com"


@dataclass
class Taken:
    """One message that the story answered for."""

    mail: bytes
    rcpts: list[bytes]
    content: bytes
    end: EndOfData


@dataclass
class RecordingStory:
    """Takes mail for :data:`DOMAIN` and ``<postmaster>``; ``log`` names the calls in order."""

    answers: dict[str, Reply | Exception] = field(default_factory=dict)
    pause: dict[str, asyncio.Event] = field(default_factory=dict)
    offered: Extensions = field(default_factory=lambda: Extensions(1 << 20, eightbitmime=True, smtputf8=True, dsn=True))
    wait: float = 0.0
    log: list[str] = field(default_factory=list)
    messages: list[Taken] = field(default_factory=list)
    peer: Peer | None = None
    early_talker: Answer[bool] | None = None
    tls: TlsSession | None = None
    hello: HeloGiven | None = None
    ends: list[ConnectionEnd] = field(default_factory=list)
    mail_from: bytes = b""
    rcpts: list[bytes] = field(default_factory=list)
    chunks: list[bytes] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    reached: dict[str, asyncio.Event] = field(default_factory=dict)

    reference = "T3STREF"

    async def _answer(self, stage: str, default: Reply) -> Reply:
        self.log.append(stage)
        self.at(stage).set()
        if stage in self.pause:
            await self.pause[stage].wait()
        answer = self.answers.get(stage, default)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def at(self, stage: str) -> asyncio.Event:
        """Set once ``stage`` was reached."""
        return self.reached.setdefault(stage, asyncio.Event())

    async def connected(self, peer: Peer) -> Reply | None:
        self.peer = peer
        answer = await self._answer("connected", reply("noop"))
        return None if answer.positive else answer

    def greeting_wait(self) -> float:
        return self.wait

    async def greeting(self, early_talker: Answer[bool]) -> Reply:
        self.early_talker = early_talker
        return await self._answer("greeting", reply("greeting", hostname=HOSTNAME))

    async def secured(self, tls: TlsSession) -> None:
        self.tls = tls
        await self._answer("secured", reply("noop"))

    async def helo(self, event: HeloGiven) -> Reply:
        self.hello = event
        return await self._answer("helo", reply("helo", hostname=HOSTNAME))

    def extensions(self) -> Extensions:
        return self.offered

    async def mail(self, command: MailFrom) -> Reply:
        self.mail_from, self.rcpts, self.chunks = command.encode(), [], []
        return await self._answer("mail", reply("mail_ok"))

    async def rcpt(self, command: RcptTo) -> Reply:
        mailbox = command.path.mailbox
        ours = mailbox.domain == DOMAIN or (not mailbox.domain and mailbox.local.lower() == "postmaster")
        refusal = reply("not_our_domain", domain=mailbox.domain).with_reference(self.reference)
        answer = await self._answer("rcpt", reply("rcpt_ok") if ours else refusal)
        if answer.positive:
            self.rcpts.append(command.encode())
        return answer

    async def data(self) -> Reply:
        return await self._answer("data", reply("data_go"))

    async def content(self, chunk: bytes) -> None:
        assert chunk, "content is never empty"
        await self._answer("content", reply("noop"))
        self.chunks.append(chunk)

    async def end_of_data(self, end: EndOfData) -> Reply:
        answer = await self._answer("end_of_data", reply("data_ok"))
        if answer.positive:
            self.messages.append(Taken(self.mail_from, self.rcpts, b"".join(self.chunks), end))
        return answer

    async def reset(self) -> None:
        await self._answer("reset", reply("noop"))

    async def closed(self, end: ConnectionEnd) -> None:
        self.ends.append(end)
        self.over.set()
        await self._answer("closed", reply("noop"))
