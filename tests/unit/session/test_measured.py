"""What is measured of refusals that were not carried out: the metrics of false positives, and of the policy's loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailguard import metrics
from mailguard.facts import Answer, Known, Message, SpamResult, Unknown, VirusResult
from mailguard.session.record import word_on_content
from mailguard.session.spooling import Spooling
from mailguard.spool import Folder, SpoolFull
from tests.support.mail import mail, submit
from tests.unit.session.conftest import POLICY, Start

CLEAN, INFECTED = Known(VirusResult()), Known(VirusResult("Eicar-Test-Signature"))
DOWN = Unknown("nobody answers")
NOT_ENFORCED = POLICY.replace("mailguard_policy: 1\n", "mailguard_policy: 1\nmode: observe\n")
RULE = "an unwanted sender"


def counted(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(f"mailguard_{name}", labels) or 0.0


@pytest.mark.parametrize(
    ("virus", "spam", "word"),
    [
        (CLEAN, Known(SpamResult(4.9, 4.9)), "clean"),
        (CLEAN, Known(SpamResult(9.0, 4.9)), "clean"),
        (CLEAN, Known(SpamResult(5.0, 5.0)), "bad"),
        (CLEAN, Known(SpamResult(5.0, 5.0, required=6.0)), "clean"),
        (INFECTED, Known(SpamResult(0.0, 0.0)), "bad"),
        (DOWN, Known(SpamResult(0.0, 0.0)), "unknown"),
        (CLEAN, DOWN, "unknown"),
    ],
)
def test_clean_is_by_both_scanners_and_never_by_received(
    virus: Answer[VirusResult], spam: Answer[SpamResult], word: str
) -> None:
    assert word_on_content(Message(100, virus, spam)) == word


async def test_a_refusal_that_was_only_observed_is_measured(start: Start) -> None:
    service = await start(NOT_ENFORCED)
    before = counted("policy_spared_messages_total", rule=RULE, content="unknown")
    for sender in ("a@unwanted.example", "a@example.org"):
        async with await service.connect() as client:
            assert (await submit(client, mail().octets, sender=sender)).content.startswith(b"250 ")
    assert counted("policy_spared_messages_total", rule=RULE, content="unknown") == before + 1


def test_a_message_that_could_not_be_spooled_is_counted() -> None:
    before = counted("spool_failures_total")
    Spooling(0, Folder(), lambda: 0.0).failed(SpoolFull("no room"), "7XK2M9QBD-1")
    assert counted("spool_failures_total") == before + 1


async def test_a_load_is_counted_and_the_policy_known_by_a_number(start: Start, tmp_path: Path) -> None:
    loads = counted("policy_loads_total", result="ok"), counted("policy_loads_total", result="refused")
    service = await start()
    first = counted("policy_fingerprint")
    assert first == int(service.worker.digest[:12], 16) > 0
    (path := tmp_path / "policy.yaml").write_text(POLICY.replace("junk_at: 3.0", "junk_at: 2.5"))
    assert await service.worker.reload()
    assert counted("policy_fingerprint") != first
    path.write_text("mailguard_policy: 1\nnonsense: true\n")
    assert not await service.worker.reload()
    assert (counted("policy_loads_total", result="ok"), counted("policy_loads_total", result="refused")) == (
        loads[0] + 2,
        loads[1] + 1,
    )
