"""The worlds in which dialogues are played: the SMTP face alone, and the whole mailguard before a sink or an Exim.

Each is a context: ``async with face(dialogue) as world`` listens, and ``world.behind()`` tells what arrived. Every
dialogue has one of its own, so that none finds the mail or the counters of another; only Exim goes on running.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mailguard.commands import Extensions
from mailguard.config import Settings
from mailguard.lab.exim import Exim
from mailguard.lab.process import wait_until
from mailguard.smtp.identity import Identity
from mailguard.smtp.listener import listen
from mailguard.worker import Worker
from tests.dialogues.runner import FOLDER, Cut, Dialogue, Message, play, whole
from tests.support.certificates import shared
from tests.support.client import Client
from tests.support.sink import CHUNKING, EXTENSIONS, Sink
from tests.support.story import DOMAIN, HOSTNAME, RecordingStory

MAX_SIZE = 1 << 20
SMTP_BY_DATA = (*EXTENSIONS, b"DSN")
SMTP_BY_BDAT = CHUNKING
LISTENERS: dict[str, dict[str, Any]] = {
    "plain": {"starttls": False},
    "trusted": {"starttls": False, "proxy_protocol_from": ["127.0.0.0/8"]},
    "tls": {},
    "relay": {"xclient_from": ["127.0.0.0/8"]},
    "proxied-relay": {"proxy_protocol_from": ["127.0.0.0/8"], "xclient_from": ["198.18.3.0/24"], "starttls": False},
}
"""The ports, by name: the client is trusted with a PROXY header, offered STARTTLS, trusted with XCLIENT."""
DELIVERY = 30.0
"""Seconds within which Exim delivers what it took."""


@dataclass(frozen=True)
class Behind:
    """What arrived behind mailguard: messages, and all command lines.

    Attributes:
        exactly: whether commands and contents are known to the octet; else commands have no parameters, and the
            receiver may have added header fields anywhere.
    """

    messages: list[Message]
    commands: bytes
    exactly: bool = True


@dataclass(frozen=True)
class World:
    """Where to connect, by the name of the port, and what arrived."""

    ports: dict[str, int]
    behind: Callable[[], Behind]
    own_words: bool = True

    async def converse(self, dialogue: Dialogue, cut: Cut = whole) -> None:
        """Play ``dialogue``, and look at what arrived.

        Raises:
            AssertionError: a reply, or what arrived, is not as it must be.
        """
        async with await Client.connect("127.0.0.1", self.ports[dialogue.port]) as client:
            await play(dialogue, client, cut, own_words=self.own_words)
        check(dialogue, self.behind())


def settings(dialogue: Dialogue, backend: str) -> Settings:
    """Every listener, with the bounds of the dialogue."""
    base: dict[str, Any] = {
        "hostname": HOSTNAME,
        "relay_domains": [DOMAIN],
        "listen": [{"address": "127.0.0.1:0", **more} for more in LISTENERS.values()],
        "tls": shared().settings,
        "backends": [{"address": backend}],
        "policy": str(FOLDER / "policy.yaml"),
        "admin": {"address": "127.0.0.1:0"},
        "limits": {"max_message_size": MAX_SIZE, **dialogue.limits},
        **dialogue.settings,
    }
    return Settings.model_validate(base)


@asynccontextmanager
async def face(dialogue: Dialogue) -> AsyncIterator[World]:
    """The SMTP face before a story that writes down what it is told."""
    stories: list[RecordingStory] = []
    made = settings(dialogue, "127.0.0.1:1")
    offered = Extensions(made.limits.max_message_size, eightbitmime=True, smtputf8=True, dsn=True)

    def story() -> RecordingStory:
        stories.append(RecordingStory(offered=offered))
        return stories[-1]

    def behind() -> Behind:
        return Behind(
            [Message(taken.mail, taken.rcpts, taken.content) for story in stories for taken in story.messages],
            b"\n".join(line for story in stories for line in (story.mail_from, *story.rcpts)),
        )

    identity = Identity.load(made.tls, time.time)
    listeners = [await listen(made, one, story, identity=identity) for one in made.listen]
    try:
        yield World(_ports([listener.port for listener in listeners]), behind)
    finally:
        await asyncio.gather(*(listener.close() for listener in listeners))


@asynccontextmanager
async def before_sink(dialogue: Dialogue, extensions: tuple[bytes, ...]) -> AsyncIterator[World]:
    """The whole mailguard with a policy that accepts, before a recording backend that offers ``extensions``."""
    async with Sink(extensions=extensions) as sink, _mailguard(dialogue, sink.address) as ports:
        yield World(
            ports,
            lambda: Behind(
                [Message(one.mail, one.rcpts, one.content) for one in sink.messages], b"".join(sink.commands)
            ),
        )


@asynccontextmanager
async def before_exim(dialogue: Dialogue, exim: Exim) -> AsyncIterator[World]:
    """The whole mailguard before ``exim``, which has a mailbox for each of :func:`mailboxes`."""
    mark = len(exim.main_log())
    for path in _mail(exim):
        path.unlink()
    async with _mailguard(dialogue, exim.address) as ports:
        yield World(ports, lambda: _at_exim(exim, mark), own_words=False)


@asynccontextmanager
async def _mailguard(dialogue: Dialogue, backend: str) -> AsyncIterator[dict[str, int]]:
    worker = Worker(settings(dialogue, backend))
    await worker.start()
    try:
        yield _ports(worker.ports)
    finally:
        await worker.stop()


def _ports(ports: list[int]) -> dict[str, int]:
    return dict(zip(LISTENERS, ports, strict=True))


# --- what a real Exim has -------------------------------------------------------------------------------------------


def mailboxes(dialogues: list[Dialogue]) -> list[str]:
    """The local parts that anything is delivered to."""
    rcpts = {rcpt for one in dialogues for message in one.delivered for rcpt in message.rcpts}
    return sorted({_address(rcpt).rpartition("@")[0] for rcpt in rcpts})


def _address(command: bytes) -> str:
    """The address in a MAIL or RCPT command, as Exim writes it: qualified, its domain in lower case."""
    path = command.partition(b"<")[2].rpartition(b">")[0].decode()
    local, _, domain = path.rpartition("@")
    if not local and "@" not in path:
        return f"{path}@{DOMAIN}" if path else "<>"
    return f"{local}@{domain.lower()}"


_ARRIVAL = re.compile(r"^\S+ \S+ (?:\S+ )?(?:\[\d+\] )?(\S+) <= (\S+) .* for (.+)$", re.MULTILINE)


def _at_exim(exim: Exim, mark: int) -> Behind:
    """What Exim took since its log was ``mark`` long, once it is delivered to all mailboxes."""
    log = exim.main_log()[mark:]
    messages = [
        Message(
            f"MAIL FROM:<{sender.removeprefix('<').removesuffix('>')}>".encode(),
            [f"RCPT TO:<{recipient}>".encode() for recipient in recipients.split()],
            _stored(exim, identifier, len(recipients.split())),
        )
        for identifier, sender, recipients in _ARRIVAL.findall(log)
    ]
    return Behind(messages, log.encode(), exactly=False)


def _stored(exim: Exim, identifier: str, copies: int) -> bytes:
    """The message ``identifier`` as it lies in each of its mailboxes, line ends CR LF again."""
    wait_until(lambda: f"{identifier} Completed" in exim.main_log(), f"{identifier} is delivered", DELIVERY)
    found = [path.read_bytes() for path in _mail(exim)]
    same = [octets.partition(b"\nX-Mailguard-Id:")[2] for octets in found if _bears(octets, identifier)]
    assert len(same) == copies, f"{identifier} in {len(same)} mailboxes instead of {copies}"
    assert len(set(same)) == 1, f"{identifier} is not the same in all mailboxes"
    return same[0].replace(b"\n", b"\r\n")


def _mail(exim: Exim) -> list[Path]:
    return sorted(exim.mail.glob("*/Maildir/new/*"))


def _bears(octets: bytes, identifier: str) -> bool:
    """Whether Exim's own Received line, which stands on top, names the message so."""
    return f"\tid {identifier}".encode() in octets.partition(b"\nX-Mailguard-Id:")[0]


# --- what must have arrived -----------------------------------------------------------------------------------------


def check(dialogue: Dialogue, behind: Behind) -> None:
    """What arrived is what had to: commands byte for byte, content to the octet behind header fields of ours.

    Raises:
        AssertionError: it is not.
    """
    arrived = [(one.mail, one.rcpts) for one in behind.messages]
    assert len(arrived) == len(dialogue.delivered), f"arrived: {arrived}"
    for got, wanted in zip(behind.messages, dialogue.delivered, strict=True):
        for one, other in zip((got.mail, *got.rcpts), (wanted.mail, *wanted.rcpts), strict=True):
            _check_command(one, other, exactly=behind.exactly)
        _check_content(got.content, wanted.content, exactly=behind.exactly)
    for octets in dialogue.never:
        assert octets not in behind.commands, f"{octets!r} arrived"


def _check_command(got: bytes, wanted: bytes, *, exactly: bool) -> None:
    if exactly:
        got = re.sub(rb" (SIZE|BODY)=\S+| SMTPUTF8\b", b"", got)
        assert got == wanted, f"{got!r} instead of {wanted!r}"
    else:
        assert _address(got) == _address(wanted), f"{got!r} instead of {wanted!r}"


def _check_content(got: bytes, wanted: bytes, *, exactly: bool) -> None:
    if exactly:
        assert got.endswith(wanted), f"content: {got[-200:]!r}"
        assert len(got) == len(wanted) or got.startswith(b"Received: "), f"content: {got[:200]!r}"
        return
    head, _, body = wanted.partition(b"\r\n\r\n") if re.match(rb"[!-9;-~]+:", wanted) else (b"", b"", wanted)
    assert got.endswith(b"\r\n\r\n" + body), f"content: {got[-200:]!r}"
    fields = head.split(b"\r\n") if head else []
    kept = [line for line in got.removesuffix(body).split(b"\r\n") if line in fields]
    assert kept == fields, f"header fields: {kept}"
