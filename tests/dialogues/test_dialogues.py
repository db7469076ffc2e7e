"""Plays every dialogue: the SMTP face alone in one write and octet by octet, and the whole mailguard before a sink."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mailguard.commands import Extensions
from mailguard.config import Settings
from mailguard.smtp.listener import listen
from mailguard.worker import Worker
from tests.dialogues.runner import FOLDER, Dialogue, Message, octet_by_octet, play, read, whole
from tests.support.client import Client
from tests.support.sink import Sink
from tests.support.story import DOMAIN, HOSTNAME, RecordingStory

DIALOGUES = [read(path) for path in sorted(FOLDER.glob("*.txt"))]
MAX_SIZE = 1 << 20


@dataclass
class Behind:
    """What arrived behind mailguard: messages, and all command lines."""

    messages: list[Message]
    commands: bytes


def settings(dialogue: Dialogue, backend: str) -> Settings:
    """Two listeners, the second for trusted peers; the bounds of the dialogue."""
    base: dict[str, Any] = {
        "hostname": HOSTNAME,
        "relay_domains": [DOMAIN],
        "listen": [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "proxy_protocol_from": ["127.0.0.0/8"]}],
        "backends": [{"address": backend}],
        "policy": str(FOLDER / "policy.yaml"),
        "admin": {"address": "127.0.0.1:0"},
        "limits": {"max_message_size": MAX_SIZE, **dialogue.limits},
        **dialogue.settings,
    }
    return Settings.model_validate(base)


@pytest.fixture
async def face(dialogue: Dialogue) -> AsyncIterator[tuple[dict[str, int], Callable[[], Behind]]]:
    """The SMTP face before a story that writes down what it is told."""
    stories: list[RecordingStory] = []

    made = settings(dialogue, "127.0.0.1:1")
    offered = Extensions(made.limits.max_message_size, eightbitmime=True, smtputf8=True)

    def story() -> RecordingStory:
        stories.append(RecordingStory(offered=offered))
        return stories[-1]

    listeners = [await listen(made, one, story) for one in made.listen]
    yield (
        dict(zip(("plain", "trusted"), (listener.port for listener in listeners), strict=True)),
        lambda: Behind(
            [Message(taken.mail, taken.rcpts, taken.content) for story in stories for taken in story.messages],
            b"\n".join(line for story in stories for line in (story.mail_from, *story.rcpts)),
        ),
    )
    await asyncio.gather(*(listener.close() for listener in listeners))


@pytest.fixture
async def service(dialogue: Dialogue) -> AsyncIterator[tuple[dict[str, int], Callable[[], Behind]]]:
    """The whole mailguard with a policy that accepts, before a recording backend."""
    async with Sink() as sink:
        worker = Worker(settings(dialogue, sink.address))
        await worker.start()
        try:
            yield (
                dict(zip(("plain", "trusted"), worker.ports, strict=True)),
                lambda: Behind(
                    [Message(one.mail, one.rcpts, one.content) for one in sink.messages], b"".join(sink.commands)
                ),
            )
        finally:
            await worker.stop()


def check(dialogue: Dialogue, behind: Behind) -> None:
    """What arrived is what had to: paths byte for byte, content to the octet behind header fields of ours."""
    assert len(behind.messages) == len(dialogue.delivered)
    for got, wanted in zip(behind.messages, dialogue.delivered, strict=True):
        assert got.mail.split(b" SIZE=")[0].split(b" BODY=")[0].split(b" SMTPUTF8")[0] == wanted.mail
        assert got.rcpts == wanted.rcpts
        assert got.content.endswith(wanted.content)
        assert len(got.content) == len(wanted.content) or got.content.startswith(b"Received: ")
    for octets in dialogue.never:
        assert octets not in behind.commands


async def converse(dialogue: Dialogue, ports: dict[str, int], cut: object) -> None:
    async with await Client.connect("127.0.0.1", ports[dialogue.port]) as client:
        await play(dialogue, client, cut)


def named(dialogues: list[Dialogue]) -> Any:
    return pytest.mark.parametrize("dialogue", dialogues, ids=lambda dialogue: dialogue.name)


FACE = [dialogue for dialogue in DIALOGUES if dialogue.only != "mailguard"]


@named(FACE)
@pytest.mark.parametrize("cut", [whole, octet_by_octet])
async def test_the_smtp_face(
    dialogue: Dialogue, cut: object, face: tuple[dict[str, int], Callable[[], Behind]]
) -> None:
    ports, behind = face
    await converse(dialogue, ports, cut)
    check(dialogue, behind())


@named(DIALOGUES)
async def test_mailguard(dialogue: Dialogue, service: tuple[dict[str, int], Callable[[], Behind]]) -> None:
    ports, behind = service
    await converse(dialogue, ports, whole)
    check(dialogue, behind())


def test_there_are_enough_and_each_names_its_source() -> None:
    assert len(DIALOGUES) >= 30
    assert [one.name for one in DIALOGUES if not one.about.startswith(("RFC ", "PROXY protocol "))] == []


@pytest.mark.parametrize(
    "text",
    ["-> x\n<- 250\n", "about: RFC 1; x\n-> x\n<- 250\n", "about: RFC 1; x\n?? x\n", "about: RFC 1; x\n== gone\n"],
)
def test_a_file_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"x\.txt"):
        read(path)
