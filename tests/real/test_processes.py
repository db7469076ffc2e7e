"""The processes of ``mailguard serve`` before a real Exim: killed and reloaded under traffic, nothing is lost.

What was answered 250 stands in Exim's own Maildirs exactly once; who heard nothing, or 4yz, came again.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailguard.lab.lab import Lab
from mailguard.lab.mailguard import Mailguard
from tests.support.client import Client, proxy_v2
from tests.support.traffic import Traffic, account, in_mailboxes

pytestmark = pytest.mark.real

MESSAGES, SENDERS, ATTEMPTS = 120, 6, 400
BOUND = 90.0
"""Seconds for a command of mailguard."""


@pytest.fixture
def served(own_lab: Lab, tmp_path: Path) -> Iterator[Mailguard]:
    """``mailguard serve`` with two workers."""
    server = Mailguard(tmp_path, own_lab, workers=2, processes={"heartbeat_interval": 0.2})
    server.start()
    yield server
    server.stop()


@pytest.fixture
def traffic(served: Mailguard, addresses: Iterator[str]) -> Traffic:
    async def connect(address: str) -> Client:
        return await Client.connect("127.0.0.1", served.proxy_port, proxy=proxy_v2(address))

    return Traffic(connect, addresses)


async def _ask(served: Mailguard, *command: str) -> str:
    """What a command of mailguard says; it must end with 0."""
    line = [sys.executable, "-m", "mailguard", *command, "--config", str(served.configuration)]
    done = await asyncio.to_thread(subprocess.run, line, capture_output=True, text=True, timeout=BOUND, check=False)
    assert done.returncode == os.EX_OK, done.stdout + done.stderr
    return done.stdout


async def _processes(served: Mailguard, role: str) -> list[dict[str, Any]]:
    report = json.loads(await _ask(served, "status", "--json"))
    return [each for each in report["processes"] if each["role"] == role]


async def test_workers_and_admin_killed_and_all_reloaded_under_traffic(
    served: Mailguard, own_lab: Lab, traffic: Traffic
) -> None:
    killed = asyncio.Event()
    sending = asyncio.create_task(traffic.send(MESSAGES, SENDERS, ATTEMPTS, enough=killed))
    await traffic.until(lambda seen: len(seen.taken) >= 5)
    os.kill((await _processes(served, "admin"))[0]["pid"], signal.SIGKILL)
    assert "digest" in await _ask(served, "reload")
    assert "generation 2 serves clients" in await _ask(served, "reload", "--all")
    account_before = traffic.replies.total()
    await traffic.until(lambda seen: seen.replies.total() >= account_before + 5)
    # Between transactions an old worker says 421, and the client comes again; no message is deferred or refused.
    assert set(traffic.replies) <= {0, 250, 421}
    accepting = [each["pid"] for each in await _processes(served, "worker") if each["state"] == "accepting"]
    os.kill(accepting[0], signal.SIGKILL)  # not one of the generation before, which may end by itself just now
    killed.set()
    ids = [message.message_id for message in await sending]
    # A worker that is killed between Exim's reply and its own leaves a message that its sender sends again (RFC 1047).
    account(traffic, ids, await in_mailboxes(own_lab.exim(), len(ids)), doubtful=SENDERS)
    assert len(await _processes(served, "admin")) == 1


async def test_sigterm_under_traffic_loses_nothing(served: Mailguard, own_lab: Lab, traffic: Traffic) -> None:
    sending = asyncio.create_task(traffic.send(MESSAGES, SENDERS, 1))
    await traffic.until(lambda seen: len(seen.taken) >= 10)
    await asyncio.to_thread(served.stop)
    await sending
    found = await in_mailboxes(own_lab.exim(), len(traffic.taken))
    assert set(found) == set(traffic.taken), "what was answered 250 is there, and nothing else"
    assert set(found.values()) == {1}
