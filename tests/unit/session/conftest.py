"""The whole mailguard in one process before a recording backend: no lists, no scanners, a policy of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mailguard.config import Settings
from mailguard.worker import Worker
from tests.support.client import Client, proxy_v2
from tests.support.sink import Sink
from tests.unit.session.serving import Place

CLIENT = "198.18.1.10"

POLICY = """\
mailguard_policy: 1
description: What a test of sessions needs.
profiles:
  normal: {junk_at: 5.0}
  strict: {junk_at: 3.0}
recipients:
  - {match: ["strict@example.com"], profile: strict}
  - {match: ["*"], profile: normal}
rules:
  envelope:
    - name: an unwanted sender
      if: sender.domain == 'unwanted.example'
      then: reject
      text: No mail from there
    - name: a sender to come again
      if: sender.domain == 'later.example'
      then: defer
    - name: a sender to file
      if: sender.domain == 'dull.example'
      then: file
      folder: Junk
  content:
    - name: looks like spam
      if: spam.score >= profile.junk_at
      then: file
      folder: Junk
unavailable:
  clamav: {down: deliver, unscannable: deliver}
  spamassassin: {down: deliver, unscannable: deliver}
cases:
  - name: a clean message
    given: {}
    expect: {accept: true}
"""


IMPATIENT = POLICY.replace(
    "  envelope:\n", "  envelope:\n    - {name: spoke first, if: early_talker, then: reject}\n", 1
)
"""The same, and early talkers are refused."""


@dataclass
class Service:
    """A running mailguard and what stands behind it."""

    worker: Worker
    sink: Sink

    async def connect(self, address: str = CLIENT) -> Client:
        return await Client.connect("127.0.0.1", self.worker.ports[0], proxy=proxy_v2(address))


Start = Callable[..., Awaitable[Service]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """``await start(**settings)``: a mailguard that ends with the test."""
    policy = tmp_path / "policy.yaml"
    running: list[Worker] = []
    async with Sink() as sink:

        async def begin(policy_text: str = POLICY, **changes: Any) -> Service:
            policy.write_text(policy_text)
            base: dict[str, Any] = {
                "hostname": "mx.example.com",
                "relay_domains": ["example.com", ".example.net"],
                "listen": [{"address": "127.0.0.1:0", "proxy_protocol_from": ["127.0.0.0/8"]}],
                "backends": [{"address": sink.address}],
                "policy": policy,
                "dns": {"servers": ["127.0.0.1:9"], "timeout": 0.1},
                "admin": {"address": "127.0.0.1:0"},
            }
            worker = Worker(Settings.model_validate(base | changes))
            await worker.start()
            running.append(worker)
            return Service(worker, sink)

        yield begin
        for worker in running:
            await worker.stop()


@pytest.fixture
async def sink() -> AsyncIterator[Sink]:
    """The backend of ``place``."""
    async with Sink() as sink:
        yield sink


@pytest.fixture
async def place(tmp_path: Path, sink: Sink) -> AsyncIterator[Place]:
    """Where ``mailguard serve`` can be run as a process."""
    made = Place(tmp_path, sink, POLICY)
    yield made
    await made.close()
