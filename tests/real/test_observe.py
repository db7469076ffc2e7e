"""``policies/observe.yaml`` before real servers: what would be done is logged and counted; only malware is refused."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from mailguard import metrics
from mailguard.lab import world
from mailguard.lab.exim import INBOX, Exim
from mailguard.lab.folders import shipped
from tests.real.conftest import Service, StartMailguard
from tests.support.mail import EICAR, GTUBE, mail, submit

WAIT = 30.0
"""Seconds within which Exim delivers what it took."""


@pytest.fixture
async def observing(start_mailguard: StartMailguard) -> Service:
    return await start_mailguard(policy=shipped("policies/observe.yaml"))


def counted(action: str, rule: str) -> float:
    labels = {"action": action, "rule": rule}
    return metrics.REGISTRY.get_sample_value("mailguard_policy_observed_total", labels) or 0.0


@pytest.mark.parametrize(
    ("client", "body", "action", "rule"),
    [
        (world.LISTED_TWICE, "hello", "reject", "several lists agree"),
        ("198.18.1.77", GTUBE, "file", "looks like spam"),
    ],
)
async def test_what_would_be_refused_or_filed_is_let_through_and_told(
    observing: Service, exim: Exim, client: str, body: str, action: str, rule: str
) -> None:
    message, before = mail(body), counted(action, rule)
    with capture_logs() as lines:
        async with await observing.connect(client) as connection:
            outcome = await submit(connection, message.octets)
    assert outcome.content.startswith(b"250 ")
    [found] = exim.find(message.message_id, WAIT)
    assert found.folder == INBOX
    assert b"X-Mailguard-Folder" not in found.read()
    [line] = [line for line in lines if line["event"] == "message"]
    assert (line["action"], line.get("folder"), line["observed"]) == ("accept", None, f"{action} {rule}")
    assert counted(action, rule) == before + 1


async def test_malware_is_refused_in_earnest(observing: Service, exim: Exim, client_address: str) -> None:
    message = mail(EICAR)
    async with await observing.connect(client_address) as client:
        outcome = await submit(client, message.octets)
    assert outcome.content.startswith(b"554 5.7.1 ")
    assert exim.find(message.message_id) == []
