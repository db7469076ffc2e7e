"""spamd's faults, and what is made of its answers. The rest of the tests has a real spamd."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from mailguard import config, metrics
from mailguard.facts import NOT_ASKED, Answer, Cause, ClientAddress, Known, SpamResult, Unknown
from mailguard.scanners.spam_output import Output
from mailguard.scanners.spamassassin import ENDED_EARLY, HEADERS_RETRY, Spamassassin, granted
from mailguard.spamrules.definitions import RuleFile
from mailguard.spamrules.evidence import Evidence
from mailguard.spamrules.taint import TaintList
from mailguard.spool import Content
from tests.unit.scanners.conftest import Fake, Script, deadline, hang_up, says

MakeContent = Callable[..., Content]
CLIENT = ClientAddress.parse("198.18.1.10")
RULES = RuleFile(
    "10.cf",
    "body FREE /x/\nheader RCVD Received =~ /x/\nheader ENV EnvelopeFrom =~ /x/\n"
    "header LAST eval:check_rbl('x-lastexternal', 'z.')\nbody LONG eval:check_body_length(1)\n",
)
LIVE = TaintList.derive([RULES])
PONG = says(b"SPAMD/1.5 0 PONG\r\n", after=b"\r\n\r\n")


def reply(body: str, score: float, required: float = 5.0) -> bytes:
    verdict = "True" if score >= required else "False"
    octets = body.encode()
    return (
        f"SPAMD/1.1 0 EX_OK\r\nContent-length: {len(octets)}\r\nSpam: {verdict} ; {score} / {required}\r\n\r\n"
    ).encode() + octets


def headers(scores: str, score: float, version: str = "4.0.1", rules: str = "", relay: str = str(CLIENT)) -> Script:
    body = (
        f"X-Spam-Tests-Scores: {scores}\r\nX-Spam-Lastexternal-IP: {relay}\r\n"
        f"X-Spam-Mailguard: 1 version={version} rules={rules}\r\n\r\n"
    )
    return says(reply(body, score), after=b"end")


def report(*rows: str, score: float) -> Script:
    table = "---- ---------------------- ------------\n" + "".join(f"{row}\n" for row in rows)
    return says(reply(table, score), after=b"end")


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def scorer(address: str | None, taint: TaintList = LIVE, clock: Clock | None = None, **more: object) -> Spamassassin:
    settings = config.Spamassassin.model_validate({"address": address, **more})
    return Spamassassin(settings, taint, clock or Clock())


async def ask(spamd: Spamassassin, message: Content, client: ClientAddress = CLIENT) -> Answer[SpamResult]:
    with message:
        return await spamd.score(message, deadline(), client)


async def known(spamd: Spamassassin, message: Content, client: ClientAddress = CLIENT) -> SpamResult:
    answer = await ask(spamd, message, client)
    assert isinstance(answer, Known), answer
    return answer.value


async def test_without_spamd_nothing_is_asked(content: MakeContent) -> None:
    assert await ask(scorer(None), content(b"end")) == NOT_ASKED
    assert not await scorer(None).alive()


async def test_exact_points(fake: Fake, content: MakeContent) -> None:
    server = await fake(headers("FREE=1.25,RCVD=2.5,ENV=1,LAST=0.5,LONG=0.1,NEW=3", 8.3))
    found = await known(scorer(server.address), content(b"end"))
    assert found.score == 8.3
    assert found.tainted == {"RCVD", "NEW"}
    assert found.content_score == 2.8
    assert found.rules == {"FREE": 1.25, "RCVD": 2.5, "ENV": 1.0, "LAST": 0.5, "LONG": 0.1, "NEW": 3.0}


async def test_the_client_is_evidence_only_where_spamassassin_saw_it(fake: Fake, content: MakeContent) -> None:
    server = await fake(headers("LAST=4", 4.0, relay="198.18.99.99"))
    found = await known(scorer(server.address), content(b"end"))
    assert (found.tainted, found.content_score) == ({"LAST"}, 0.0)


@pytest.mark.parametrize("private", ["10.1.2.3", "192.168.1.1", "100.64.0.9", "::1", "fe80::1", "fd00::1"])
async def test_a_private_client_makes_lists_ask_about_another_host(
    fake: Fake, content: MakeContent, private: str
) -> None:
    server = await fake(headers("LAST=4", 4.0, relay=private))
    found = await known(scorer(server.address), content(b"end"), ClientAddress.parse(private))
    assert found.tainted == {"LAST"}


@pytest.mark.parametrize(
    ("output", "body_cut", "expected"),
    [
        (Output((), True, relay=CLIENT), False, Evidence.CLIENT | Evidence.ENVELOPE | Evidence.WHOLE),
        (Output((), True, relay=CLIENT), True, Evidence.CLIENT | Evidence.ENVELOPE),
        (Output((), True, relay=None), False, Evidence.ENVELOPE | Evidence.WHOLE),
        (Output((), False, relay=CLIENT), False, Evidence.WHOLE),
    ],
)
def test_granted(output: Output, body_cut: bool, expected: Evidence) -> None:
    assert granted(output, CLIENT, body_cut) == expected


@pytest.mark.parametrize("versions", [("4.1.0", ""), ("4.0.1", "99")])
async def test_other_rules_than_the_lists_taint_everything(
    fake: Fake, content: MakeContent, versions: tuple[str, str]
) -> None:
    server = await fake(headers("FREE=6", 6.0, *versions), headers("FREE=6", 6.0))
    spamd = scorer(server.address)
    found = await known(spamd, content(b"end"))
    assert (found.score, found.content_score, found.tainted) == (6.0, 0.0, {"FREE"})
    assert metrics.REGISTRY.get_sample_value("mailguard_spam_rules_stale") == 1
    assert (await known(spamd, content(b"end"))).content_score == 6.0
    assert metrics.REGISTRY.get_sample_value("mailguard_spam_rules_stale") == 0


async def test_points_that_do_not_add_up_taint_everything(fake: Fake, content: MakeContent) -> None:
    server = await fake(headers("FREE=5,RCVD=-1", 9.0))
    found = await known(scorer(server.address), content(b"end"))
    assert (found.score, found.content_score, found.tainted) == (9.0, -1.0, {"FREE", "RCVD"})


async def test_a_rule_that_the_list_does_not_know_is_counted(fake: Fake, content: MakeContent) -> None:
    def count() -> float:
        return metrics.REGISTRY.get_sample_value("mailguard_spam_rules_unclassified_total") or 0.0

    before = count()
    server = await fake(headers("FREE=1,NEW=1,NEWER=1", 3.0))
    spamd = scorer(server.address)
    await known(spamd, content(b"end"))
    await known(spamd, content(b"end"))
    assert count() - before == 4


async def test_report_where_our_settings_are_missing(fake: Fake, content: MakeContent) -> None:
    bare = says(reply("X-Spam-Flag: NO\r\n\r\n", 6.5), after=b"end")
    rows = report(" 4.0 FREE   x", " 1.5 RCVD  x", " 1.0 ENV  x", score=6.5)
    server = await fake(bare, rows, rows, headers("FREE=6.5", 6.5))
    clock = Clock()
    spamd = scorer(server.address, clock=clock)
    found = await known(spamd, content(b"end"))
    assert found.tainted == {"RCVD", "ENV"}
    assert found.content_score == 3.85
    assert server.connections == 2
    await known(spamd, content(b"end"))
    assert server.connections == 3, "HEADERS is not tried each time"
    clock.now += HEADERS_RETRY
    assert (await known(spamd, content(b"end"))).content_score == 6.5


async def test_the_shipped_list_does_not_hold_where_no_version_is_known(fake: Fake, content: MakeContent) -> None:
    bare = says(reply("X-Spam-Flag: NO\r\n\r\n", 4.0), after=b"end")
    server = await fake(bare, report(" 4.0 FREE  x", score=4.0))
    found = await known(scorer(server.address, TaintList.derive([RULES], "4.0.1")), content(b"end"))
    assert found.tainted == {"FREE"}
    assert found.content_score <= 0


def scored(scores: str, total: float, received: bytearray) -> Script:
    """Read the whole request into ``received``, then answer with these points."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length:")[1].split()[0])
        received.extend(await reader.readexactly(length))
        body = f"X-Spam-Tests-Scores: {scores}\r\nX-Spam-Mailguard: 1 version=4.0.1 rules=\r\n\r\n"
        writer.write(reply(body, total))

    return script


async def test_a_long_body_is_cut(fake: Fake, content: MakeContent) -> None:
    received = bytearray()
    server = await fake(scored("LONG=1,ENV=0.5,FREE=1,BACK=-2", 0.5, received))
    head = b"Received: " + b"r" * 2000 + b"\r\nSubject: s\r\n\r\n"
    taint = TaintList.derive([RULES, RuleFile("20.cf", "full BACK eval:check_dkim_valid_author_sig()\n")])
    message = content(head + b"0123456789\r\n" * 1000)
    found = await known(scorer(server.address, taint, max_size=1024), message)
    assert found.truncated
    assert found.tainted == {"LONG", "BACK"}, "the cut alone changes a length"
    assert found.content_score == -0.5, "what acquits stays"
    assert bytes(received) == head + b"0123456789\r\n" * 85


async def test_a_header_section_is_shown_whole_and_taints_nothing(fake: Fake, content: MakeContent) -> None:
    received = bytearray()
    server = await fake(scored("FREE=6,LONG=1", 7.0, received))
    message = b"Received: r\r\n" * ((1 << 20) // 13) + b"\r\nend"
    found = await known(scorer(server.address, max_size=1024), content(message))
    assert bytes(received) == message
    assert not found.truncated
    assert (found.tainted, found.content_score) == (frozenset(), 7.0)


@pytest.mark.parametrize("sign", sorted(ENDED_EARLY))
async def test_a_scan_that_ended_early_taints_everything(fake: Fake, content: MakeContent, sign: str) -> None:
    server = await fake(headers(f"FREE=6,{sign}=0.001", 6.0))
    found = await known(scorer(server.address), content(b"end"))
    assert found.tainted == {"FREE", sign}
    assert found.content_score <= 0


@pytest.mark.parametrize(
    "script",
    [
        hang_up,
        says(b"SPAMD/1.1 0 EX_OK\r\n", after=b"end"),
        says(b"SPAMD/1.0 76 Bad header line: x\r\n", after=b"end"),
        says(reply("x", 1.0)[:-1], after=b"end"),
        says(b"x" * 1_000_000, after=b"end"),
    ],
)
async def test_faults(fake: Fake, content: MakeContent, script: Script) -> None:
    server = await fake(script)
    answer = await ask(scorer(server.address), content(b"end"))
    assert isinstance(answer, Unknown)
    assert answer.cause is Cause.DOWN


async def test_a_reply_in_segments(fake: Fake, content: MakeContent) -> None:
    whole = reply("X-Spam-Tests-Scores: none\r\nX-Spam-Mailguard: 1 version=4.0.1 rules=\r\n\r\n", 0.0)
    server = await fake(says(whole[:7], whole[7:60], whole[60:], after=b"end"))
    assert (await known(scorer(server.address), content(b"end"))).score == 0.0


async def test_spamds_own_timeout_is_about_this_message(fake: Fake, content: MakeContent) -> None:
    server = await fake(says(b"SPAMD/1.0 79 Timeout: x\r\n", after=b"end"))
    answer = await ask(scorer(server.address), content(b"end"))
    assert isinstance(answer, Unknown)
    assert answer.cause is Cause.UNSCANNABLE


async def test_live_rules_are_followed(fake: Fake, content: MakeContent, tmp_path: Path) -> None:
    rules = tmp_path / "10.cf"
    rules.write_text("header NEW Received =~ /x/\n")
    server = await fake(headers("NEW=3", 3.0))
    spamd = scorer(server.address, rule_dirs=[tmp_path], rules_interval=0.01)
    watching = asyncio.create_task(spamd.watch())

    async def until(expected: float) -> None:
        async with asyncio.timeout(20):
            while (await known(spamd, content(b"end"))).content_score != expected:
                pass  # each question is a wait of its own

    await until(0.0)
    rules.write_text("body NEW /x/\n")
    await until(3.0)
    rules.unlink()
    await until(0.0)
    rules.write_text("body NEW /x/\n")
    await until(3.0)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


async def test_watching_nothing_ends() -> None:
    await scorer(None).watch()
