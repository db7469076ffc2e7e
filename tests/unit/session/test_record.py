"""What the log tells of a refusal or a delivery: who decided, by which rule, on which facts; under the reference."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from mailguard import log
from mailguard.facts import Answer, Known, SpamResult, Unknown, VirusResult
from mailguard.log import FIELDS
from tests.support.mail import mail, submit
from tests.unit.session.conftest import POLICY, Service, Start

Lines = list[dict[str, Any]]

SPAM = SpamResult(
    score=6.25,
    content_score=4.05,
    rules={"BAYES_99": 3.5, "HTML_MESSAGE": 0.001, "RCVD_IN_X": 2.2, "GOOD": -0.5},
    tainted=frozenset({"RCVD_IN_X", "GOOD"}),
)


@pytest.fixture
def scanners(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """``scanners(virus, spam)``: what clamd and spamd answer."""

    def answer(virus: Answer[VirusResult], spam: Answer[SpamResult]) -> None:
        async def scan(*_: object) -> Answer[VirusResult]:
            return virus

        async def score(*_: object) -> Answer[SpamResult]:
            return spam

        for scanner, asked, answers in (("clamav.Clamav", "scan", scan), ("spamassassin.Spamassassin", "score", score)):
            monkeypatch.setattr(f"mailguard.scanners.{scanner}.{asked}", answers)
            monkeypatch.setattr(f"mailguard.scanners.{scanner}.configured", True)

    return answer


def of(lines: Lines, event: str) -> Lines:
    return [line for line in lines if line["event"] == event]


async def logged(service: Service, *recipients: str, sender: str = "sender@example.org") -> Lines:
    with capture_logs() as lines:
        async with await service.connect() as client:
            await submit(client, mail().octets, *recipients, sender=sender)
    assert {key for line in lines for key in line} - {"log_level"} <= set(FIELDS)
    return list(lines)


async def test_a_refusal_by_policy_bears_what_decided(start: Start) -> None:
    [line] = of(await logged(await start(), sender="a@unwanted.example"), "recipient")
    assert (line["refused_by"], line["action"], line["rule"]) == ("policy", "reject", "an unwanted sender")
    assert line["facts"] == ["sender.domain=unwanted.example"]


async def test_a_refusal_by_the_backend_is_told_from_the_policys_verdict(start: Start) -> None:
    service = await start()
    service.sink.once("RCPT", b"550 5.1.1 nobody here")
    [line] = of(await logged(service), "recipient")
    assert (line["refused_by"], line["action"], line["reply"]) == ("backend", "accept", "550 5.1.1 nobody here")


async def test_refusals_of_our_own_are_told_as_such(start: Start) -> None:
    [line] = of(await logged(await start(), "user@elsewhere.example"), "recipient")
    assert line["refused_by"] == "mailguard"


async def test_each_refused_recipient_of_a_transaction_has_its_line(start: Start) -> None:
    lines = of(await logged(await start(), "a@elsewhere.example", "b@elsewhere.example"), "recipient")
    assert [line["recipient"] for line in lines] == ["a@elsewhere.example", "b@elsewhere.example"]
    assert len({line["ref"] for line in lines}) == 1


async def test_a_message_bears_what_the_scanners_said(start: Start, scanners: Callable[..., None]) -> None:
    scanners(Known(VirusResult("PUA.Win.Tool.X-1")), Known(SPAM))
    [line] = of(await logged(await start()), "message")
    assert (line["virus"], line["virus_kind"]) == ("PUA.Win.Tool.X-1", "pua")
    assert (line["spam"], line["spam_content"], line["spam_received"]) == (6.25, 4.05, 2.2)
    assert line["spam_rules"] == ["BAYES_99=3.5", "RCVD_IN_X=2.2/received", "GOOD=-0.5/received", "HTML_MESSAGE=0.001"]
    assert (line["action"], line["folder"], "refused_by" in line) == ("file", "Junk", False)
    assert line["facts"] == ["sender.domain=example.org", "spam.score=6.25"]


async def test_a_scanner_without_an_answer_says_why(start: Start, scanners: Callable[..., None]) -> None:
    scanners(Unknown("timeout"), Unknown("no route"))
    [line] = of(await logged(await start()), "message")
    assert (line["virus"], line["spam"]) == ("unknown(timeout)", "unknown(no route)")
    assert "virus_kind" not in line
    assert "spam.score=unknown" in line["facts"]


async def test_a_line_is_bounded_whatever_hits(start: Start, scanners: Callable[..., None]) -> None:
    rules = {f"RULE_{number}": number / 100 for number in range(500)} | {"Z" * 1000: 99.0}
    scanners(Known(VirusResult()), Known(SpamResult(1.0, 1.0, rules=rules)))
    policy = POLICY.replace("spam.score >= profile.junk_at", "\"'RULE_1' in spam.rules\"")
    [line] = of(await logged(await start(policy_text=policy)), "message")
    assert len(line["spam_rules"]) == 40
    assert line["spam_rules"][:2] == ["Z" * 200 + "=99", "RULE_499=4.99"]
    [fact] = [fact for fact in line["facts"] if fact.startswith("spam.rules=")]
    assert len(fact) < 220
    assert fact.startswith('spam.rules="RULE_0,')


async def test_what_is_only_observed_is_explained_too(start: Start) -> None:
    policy = POLICY.replace("description:", "mode: observe\ndescription:")
    [line] = of(await logged(await start(policy_text=policy), sender="a@dull.example"), "message")
    assert (line["action"], line["observed"]) == ("accept", "file a sender to file")
    assert "sender.domain=dull.example" in line["facts"]


async def test_a_message_tells_that_the_envelope_would_have_been_refused(start: Start) -> None:
    policy = POLICY.replace("description:", "mode: observe\ndescription:")
    [line] = of(await logged(await start(policy), sender="a@unwanted.example"), "message")
    assert (line["action"], line["observed"]) == ("accept", "reject an unwanted sender")


async def test_addresses_are_logged_as_they_are_written(start: Start) -> None:
    [line] = of(await logged(await start(), '"a,b"@example.com', "c@example.com", sender=""), "message")
    assert (line["sender"], line["recipients"]) == ("<>", ['"a,b"@example.com', "c@example.com"])


HOSTILE = "\u202ex\u2028\u2029\ufeff\u2066\u200f"
RAW = f"\x1b]0;x\x07\x00\x85{HOSTILE}"


@pytest.mark.parametrize("format_", ["json", "logfmt"])
async def test_lines_are_lines_whatever_strangers_write(
    start: Start, scanners: Callable[..., None], capsys: pytest.CaptureFixture[str], format_: str
) -> None:
    """In the EHLO name, sender, recipient, header, in replies of the backend, and in names that the scanners give."""
    scanners(Known(VirusResult(f"PUA.{RAW}")), Known(SpamResult(1.0, 1.0, rules={f"RULE{RAW}": 1.0})))
    service = await start()
    capsys.readouterr()
    log.configure(format_)
    try:
        await _say_it_everywhere(service)
    finally:
        structlog.reset_defaults()
    *lines, last = capsys.readouterr().out.split("\n")
    assert last == ""
    assert all(line.isprintable() and line.isascii() for line in lines)
    values = [value for line in lines for value in _values(line, format_)]
    assert {f"a{HOSTILE}@example.org", f"b{HOSTILE}@example.com", f"c{HOSTILE}@example.com"} <= set(values)
    assert any(f"PUA.{RAW}" in value for value in values)
    assert any(f"RULE{RAW}" in value for value in values)
    assert {"command refused", "recipient", "message"} <= set(values)


async def _say_it_everywhere(service: Service) -> None:
    hostile = HOSTILE.encode()
    async with await service.connect() as client:
        await client.reply()
        assert await client.code(b"EHLO x" + RAW.encode()) == 500
        assert await client.code(b"EHLO x.example") == 250
        assert await client.code(b"MAIL FROM:<a%b@example.org> SMTPUTF8" % hostile) == 250
        service.sink.once("RCPT", b"550 5.1.1 no " + RAW.encode())
        assert await client.code(b"RCPT TO:<b%b@example.com>" % hostile) == 550
        assert await client.code(b"RCPT TO:<c%b@example.com>" % hostile) == 250
        assert await client.code(b"DATA") == 354
        await client.send(b"Message-ID: <%b@x>\r\nSubject: %b\r\n\r\n.\r\n" % (hostile, hostile))
        assert (await client.reply())[0].startswith(b"250")


def _values(line: str, format_: str) -> list[str]:
    """The values of a line; those of a list one by one."""
    if format_ == "json":
        return [
            str(each) for value in json.loads(line).values() for each in (value if isinstance(value, list) else [value])
        ]
    words = re.findall(r' [a-z_]+=("(?:[^"\\]|\\.)*"|\S+)', line)
    return [json.loads(word) if word.startswith('"') else word for word in words]
