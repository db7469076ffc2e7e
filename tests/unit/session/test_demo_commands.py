"""The commands that the demo prints can be pasted into a shell as they are."""

from __future__ import annotations

import asyncio
import shutil

import pytest

from mailguard.cli.demo import message_of_another, own_message
from tests.unit.session.conftest import Service, Start


async def pasted(command: str) -> str:
    """What a shell prints for ``command``."""
    process = await asyncio.create_subprocess_shell(
        command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(20):
        output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_as_another_client(start: Start) -> None:
    service = await start()
    said = await pasted(message_of_another(service.worker.ports[0], "198.18.7.7"))
    assert said.startswith("Outcome(command='content', code=250, ")
    [got] = service.sink.messages
    assert b" [198.18.7.7])" in got.content


async def test_one_of_your_own(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    service: Service = await start(listen=[{"address": "127.0.0.1:0"}])
    assert await pasted(own_message(service.worker.ports[0])) == "{}\n"
    assert len(service.sink.messages) == 1
