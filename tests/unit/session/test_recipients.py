"""Several recipients of one message: who comes along, who waits with 452, where each is filed, what is told of it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from structlog.testing import capture_logs

from mailguard import metrics
from mailguard.journal.recorder import Recorder
from mailguard.journal.telling import letter, notes
from mailguard.replies import reply
from mailguard.verdict import Action, Verdict
from tests.support.mail import mail, submit, transaction
from tests.unit.session.conftest import Service, Start

ALICE, BOB, STRICT, THIRD = "alice@example.com", "bob@example.com", "strict@example.com", "x@third.example.net"
LONG = mail("x" * 900 + "\r\n" + "y" * 900).octets
"""Over what ``strict`` allows."""
LONGER = mail("\r\n".join(["x" * 900] * 8)).octets
"""Over what ``third`` allows too, who has it filed elsewhere."""


def policy(envelope: str = "", content: str = "", more: str = "") -> str:
    """Long mail is filed: by the recipient's profile, whom no rule of these refuses."""
    return f"""\
mailguard_policy: 1
{more}
profiles:
  normal: {{long: 100000, longer: 100000}}
  strict: {{long: 1000, longer: 100000}}
  third: {{long: 5000, longer: 5000}}
recipients:
  - {{match: ["strict@example.com"], profile: strict}}
  - {{match: ["@third.example.net"], profile: third}}
  - {{match: ["*"], profile: normal}}
rules:
  envelope: [{envelope}]
  content:
    [{content}]
"""


FILING = (
    "{name: longer, if: message.size > profile.longer, then: file, folder: Long Mail},"
    "{name: long, if: message.size > profile.long, then: file, folder: Junk}"
)
REFUSING = "{name: long, if: message.size > profile.long, then: reject, text: Too long}"


def folder(octets: bytes) -> bytes:
    """What our field says, unfolded; empty where there is none."""
    values = re.findall(rb"^X-Mailguard-Folder: (.*(?:\r\n\t.*)*)\r\n", octets, re.MULTILINE)
    assert len(values) <= 1
    return re.sub(rb"\r\n\t", b" ", values[0]) if values else b""


async def send(service: Service, octets: bytes, *recipients: str, sender: str = "a@example.org") -> list[bytes]:
    """Submit; the codes that the recipients got."""
    async with await service.connect() as client:
        outcome = await submit(client, octets, *recipients, sender=sender)
    return [line[:9] for line in outcome.rcpt]


TAKEN, WAITS = b"250 2.1.5", b"452 4.5.3"


@pytest.mark.parametrize(
    ("octets", "recipients", "said"),
    [
        (LONG, (ALICE, STRICT), b"normal=-; strict=Junk"),
        (LONG, (STRICT, ALICE, BOB), b"normal=-; strict=Junk"),
        (LONG, (STRICT, "STRICT@Example.Com"), b"Junk"),
        (LONG, (ALICE, BOB), b""),
        (LONGER, (THIRD, STRICT), b"strict=Junk; third=Long Mail"),
        (LONGER, (ALICE, THIRD, STRICT), b"normal=-; strict=Junk; third=Long Mail"),
        (LONGER, ("y@third.example.net", THIRD), b"Long Mail"),
        (LONG, (STRICT, "postmaster@example.com"), b"postmaster=-; strict=Junk"),
        (LONG, (STRICT, "ABUSE@third.example.net", "postmaster"), b"postmaster=-; strict=Junk"),
        (LONG, ("postmaster", ALICE), b""),
    ],
)
@pytest.mark.parametrize("sender", ["a@example.org", ""])
async def test_who_differ_in_filing_alone_share_a_message(
    start: Start, octets: bytes, recipients: tuple[str, ...], said: bytes, sender: str
) -> None:
    """A bounce, from the null sender, likewise."""
    service = await start(policy(content=FILING))
    assert await send(service, octets, *recipients, sender=sender) == [TAKEN] * len(recipients)
    [got] = service.sink.messages
    assert len(got.rcpts) == len(recipients)
    assert folder(got.content) == said
    head = got.content.partition(b"\r\n\r\n")[0]
    assert not any(each.encode() in head.lower() for each in ("bob", "strict@", "@third", "abuse"))


async def test_who_may_be_refused_by_a_profile_waits(start: Start) -> None:
    service = await start(policy(content=REFUSING))
    before = waiting("block")
    with capture_logs() as lines:
        async with await service.connect() as client:
            outcome = await submit(client, LONG, ALICE, STRICT, BOB)
            again = await transaction(client, LONG, STRICT)
    assert [line[:9] for line in outcome.rcpt] == [TAKEN, WAITS, TAKEN]
    assert outcome.content.startswith(b"250 ")
    assert again.content.startswith(b"554 5.7.1 Too long")
    [got] = service.sink.messages
    assert len(got.rcpts) == 2
    assert waiting("block") == before + 1
    [line] = [line for line in lines if line["event"] == "recipient"]
    assert (line["recipient"], line["reply"][:9]) == (STRICT, WAITS.decode())
    assert line["cause"] == "the content's rules may refuse or defer for one and not for the other"


@pytest.mark.parametrize(
    ("envelope", "difference"),
    [
        ("{name: n, if: recipient.local == 'bob', then: file, folder: Box}", "folder"),
        ("{name: n, if: recipient.local == 'bob', then: tag, symbol: BOB}", "tags"),
    ],
)
async def test_what_no_header_can_tell_by_profile_waits(start: Start, envelope: str, difference: str) -> None:
    service = await start(policy(envelope, FILING))
    before = waiting(difference)
    assert await send(service, LONG, ALICE, BOB, STRICT) == [TAKEN, WAITS, TAKEN]
    assert await send(service, LONG, BOB) == [TAKEN]
    together, alone = service.sink.messages
    assert folder(together.content) == b"normal=-; strict=Junk"
    assert b"BOB" not in together.content
    assert folder(alone.content) == b"Box" or b"X-Mailguard-Tags: BOB\r\n" in alone.content
    assert waiting(difference) == before + 1


async def test_what_the_envelope_files_goes_by_profile_too(start: Start) -> None:
    service = await start(policy("{name: n, if: recipient.local == 'strict', then: file, folder: Box}", FILING))
    assert await send(service, LONG, ALICE, STRICT) == [TAKEN, TAKEN]
    assert folder(service.sink.messages[0].content) == b"normal=-; strict=Box"


async def test_a_recipient_refused_by_the_backend_sets_no_treatment(start: Start) -> None:
    service = await start(policy(content=REFUSING))
    service.sink.once("RCPT", b"550 5.1.1 nobody here")
    async with await service.connect() as client:
        outcome = await submit(client, mail().octets, "nobody@example.com", STRICT)
    assert outcome.rcpt[0].startswith(b"550 5.1.1 nobody here (")
    assert outcome.content.startswith(b"250 ")


async def test_the_line_and_the_counters_tell_of_each_verdict(start: Start) -> None:
    service = await start(policy(content=FILING))
    before = counted("messages_total")
    with capture_logs() as lines:
        await send(service, LONGER, ALICE, THIRD, STRICT, BOB, "z@third.example.net")
    [line] = [line for line in lines if line["event"] == "message"]
    assert (line["action"], "rule" in line, "folder" in line) == ("accept", False, False)
    assert line["others"] == [f"{THIRD}, z@third.example.net: file Long Mail, longer", f"{STRICT}: file Junk, long"]
    assert risen("messages_total", before) == {("accept", "none"), ("file", "longer"), ("file", "long")}


async def test_who_is_treated_alike_in_the_end_is_told_of_once(start: Start) -> None:
    service = await start(policy(content=FILING))
    before = counted("messages_total")
    with capture_logs() as lines:
        await send(service, mail().octets, ALICE, STRICT, THIRD)
    [line] = [line for line in lines if line["event"] == "message"]
    assert "others" not in line
    assert risen("messages_total", before) == {("accept", "none")}


async def test_what_is_only_observed_is_counted_for_each_and_files_nobody(start: Start) -> None:
    service = await start(policy(content=f"{FILING}, {REFUSING.replace('name: long', 'name: too long')}",
                                 more="mode: observe"))  # fmt: skip
    before = counted("policy_observed_total")
    assert await send(service, LONGER, ALICE, STRICT, THIRD) == [TAKEN, TAKEN, TAKEN]
    [got] = service.sink.messages
    assert folder(got.content) == b""
    assert risen("policy_observed_total", before) == {("file", "longer"), ("file", "long")}


async def test_the_journal_keeps_each_verdict(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    service = await start(policy(content=FILING))
    records: list[dict[str, Any]] = []
    monkeypatch.setattr(Recorder, "_write", lambda _, record: records.append(record))
    await send(service, LONG, ALICE, STRICT, BOB)
    [record] = [record for record in records if record["event"] == "message"]
    assert record["recipients"] == [ALICE, STRICT, BOB]
    assert (record["profile"], record["content"]["action"], record["verdict"]) == ("normal", "accept", "file")
    [other] = record["others"]
    assert (other["recipients"], other["profile"], other["content"]["folder"]) == ([STRICT], "strict", "Junk")
    told = letter(record | {"time": "2026-11-21T10:00:00Z"})
    assert f"and filed it in Junk for {STRICT}" in " ".join(told.split())
    assert f"{STRICT} (strict): file Junk, long" in notes(record)


async def test_a_verdict_that_parts_those_who_share_defers_all(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the compiler must have prevented is a bug, and a bug defers."""
    service = await start(policy(content=FILING))
    verdicts = iter([Verdict(Action.ACCEPT), Verdict(Action.REJECT, "r", reply("policy_reject"))])
    monkeypatch.setattr("mailguard.policy.engine.CompiledPolicy.content", lambda *_: next(verdicts))
    async with await service.connect() as client:
        outcome = await submit(client, LONG, ALICE, STRICT)
    assert outcome.content.startswith(b"451 ")
    assert service.sink.messages == []


def waiting(difference: str) -> float:
    """How many recipients were told to wait for that reason."""
    labels = {"difference": difference}
    return metrics.REGISTRY.get_sample_value("mailguard_recipients_waiting_total", labels) or 0.0


def counted(name: str) -> dict[tuple[str, str], float]:
    """A counter by action and rule."""
    found = next(family for family in metrics.REGISTRY.collect() if f"{family.name}_total" == f"mailguard_{name}")
    return {
        (sample.labels["action"], sample.labels["rule"]): sample.value
        for sample in found.samples
        if sample.name.endswith("_total")
    }


def risen(name: str, before: dict[tuple[str, str], float]) -> set[tuple[str, str]]:
    """What has risen since, by one each."""
    now = counted(name)
    more = {labels: now[labels] - before.get(labels, 0.0) for labels in now}
    assert set(more.values()) <= {0.0, 1.0}
    return {labels for labels, rise in more.items() if rise}
