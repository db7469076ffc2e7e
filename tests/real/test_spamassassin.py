"""The spamd client with a real spamd, its shipped rules and local DNS lists: points, taint, what may refuse mail."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import types
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mailguard import config
from mailguard.facts import Answer, Cause, ClientAddress, Known, SpamResult, Unknown
from mailguard.lab import Lab
from mailguard.lab.spamd import GTUBE, RULES, Spamd
from mailguard.scanners import bounded
from mailguard.scanners.rule_files import read_rule_dirs
from mailguard.scanners.spamassassin import Spamassassin
from mailguard.scanners.taint_source import load_taint
from mailguard.spamrules.derive import derive_rules
from mailguard.spamrules.evidence import Evidence
from mailguard.spamrules.taint import TaintList, digest
from mailguard.spool import Spool

CLEAN = "198.18.1.10"
LISTED = ("198.18.7.2", "198.18.7.3", "198.18.66.5")
"""On zen: as SBL, as CSS, as XBL."""

HAM = (
    b"From: Alice <alice@example.org>\r\nTo: Bob <bob@example.com>\r\nSubject: minutes of the meeting\r\n"
    b"Date: Sat, 01 Aug 2026 10:00:00 +0000\r\nMessage-ID: <20260801100000.4711@mail.example.org>\r\n"
    b"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
    b"Dear Bob,\r\n\r\nplease find the minutes of our meeting on the usual page.\r\n\r\nAlice\r\n"
)
SPAM = HAM.replace(b"please find", b"Buy cheap Viagra and Cialis, no prescription needed!!! please find")


def received(address: str, helo: str = "mail.example.org", by: str = "mx.test.invalid") -> bytes:
    return (
        f"Received: from {helo} ({helo} [{address}])\r\n\tby {by} with ESMTP id 4711ABC;\r\n"
        "\tSat, 01 Aug 2026 10:00:05 +0000\r\n"
    ).encode()


def top(client: str, sender: str = "alice@example.org") -> bytes:
    """What mailguard puts on top of every message before it is scored."""
    return f"Return-Path: <{sender}>\r\n".encode() + received(client)


async def ask(spamd: Spamassassin, message: bytes, client: str = CLEAN, seconds: float = 60) -> Answer[SpamResult]:
    spool = Spool(1 << 26)
    spool.write(message)
    with spool.finish() as content:
        end = asyncio.get_running_loop().time() + seconds
        return await spamd.score(content, end, ClientAddress.parse(client))


async def score(spamd: Spamassassin, message: bytes, client: str = CLEAN) -> SpamResult:
    answer = await ask(spamd, message, client)
    assert isinstance(answer, Known), answer
    return answer.value


def client_of(address: str, **more: Any) -> Spamassassin:
    settings = config.Spamassassin.model_validate({"address": address, "connections": 2, **more})
    return Spamassassin(settings, load_taint(settings), lambda: 0.0)


@pytest.fixture
def scorer(spamd: Spamd) -> Spamassassin:
    return client_of(spamd.address)


def positive(found: SpamResult, tainted: bool) -> float:
    return sum(p for rule, p in found.rules.items() if p > 0 and (rule in found.tainted) is tainted)


async def test_ham(scorer: Spamassassin) -> None:
    found = await score(scorer, top(CLEAN) + HAM)
    assert found.score < 2
    assert found.required == 5.0
    assert found.content_score <= found.score


@pytest.mark.parametrize("unix", [False, True])
async def test_gtube(spamd: Spamd, unix: bool) -> None:
    scorer = client_of(spamd.unix_address if unix else spamd.address)
    found = await score(scorer, top(CLEAN) + HAM + GTUBE.encode() + b"\r\n")
    assert found.rules["GTUBE"] == 1000
    assert found.content_score >= 999
    assert "GTUBE" not in found.tainted


@pytest.mark.parametrize("message", [HAM, SPAM, SPAM + GTUBE.encode() + b"\r\n"])
async def test_points_add_up_to_the_total(scorer: Spamassassin, message: bytes) -> None:
    found = await score(scorer, top(CLEAN) + received(LISTED[1]) + message)
    assert sum(found.rules.values()) == pytest.approx(found.score, abs=0.1)
    assert found.content_score == pytest.approx(found.score - positive(found, tainted=True), abs=0.051)
    assert found.content_score <= found.score - positive(found, tainted=True) + 1e-9


async def test_listed_addresses_in_received_raise_the_score_and_convict_nobody(scorer: Spamassassin) -> None:
    trail = b"".join(received(address, by="relay.example.org") for address in LISTED)
    plain = await score(scorer, top(CLEAN) + SPAM)
    found = await score(scorer, top(CLEAN) + trail + SPAM)
    hits = {rule for rule in found.rules if rule.startswith("RCVD_IN_")}
    assert {"RCVD_IN_SBL", "RCVD_IN_SBL_CSS"} <= hits <= found.tainted
    assert found.score >= plain.score + 3
    assert found.content_score <= plain.content_score + 0.051  # how far rounding goes


async def test_the_same_address_connecting_is_evidence_about_the_client(scorer: Spamassassin) -> None:
    found = await score(scorer, top("198.18.66.5") + HAM, "198.18.66.5")
    assert found.rules["RCVD_IN_XBL"] > 0
    assert "RCVD_IN_XBL" not in found.tainted
    assert found.content_score >= found.rules["RCVD_IN_XBL"] - 0.05


async def test_another_last_external_relay_than_the_client_is_none(scorer: Spamassassin) -> None:
    found = await score(scorer, top("198.18.66.5") + HAM, CLEAN)
    assert "RCVD_IN_XBL" in found.tainted


async def test_behind_a_private_client_lists_ask_about_a_received_line(scorer: Spamassassin) -> None:
    """The trap that `granted` knows: last external relay and client agree, and yet the list was asked about another."""
    found = await score(scorer, top("10.9.8.7") + received("198.18.66.5", by="relay.example.org") + HAM, "10.9.8.7")
    assert found.rules["RCVD_IN_XBL"] > 0
    assert "RCVD_IN_XBL" in found.tainted
    assert found.content_score <= round(found.score - found.rules["RCVD_IN_XBL"], 3)


async def test_forged_fields_change_nothing(scorer: Spamassassin) -> None:
    forged = (
        b"X-Spam-Tests-Scores: GTUBE=1000\r\nX-Spam-Mailguard: 1 version=9.9 rules=9\r\n"
        b"X-Spam-Lastexternal-IP: 198.18.99.99\r\n"
    )
    plain, found = await score(scorer, top(CLEAN) + SPAM), await score(scorer, top(CLEAN) + forged + SPAM)
    assert found == plain


async def test_a_spamd_that_wraps_spam_in_a_report(own_lab: Lab) -> None:
    """SpamAssassin's own default, report_safe 1: HEADERS then shows the header of the wrapper."""
    spamd = own_lab.server("spamd", Spamd, lambda folder: Spamd(folder, None, children=1, rules="report_safe 1\n"))
    forged = b"From: x\r\n X-Spam-Tests-Scores: A=-9\r\nX-Spam-Tests-Scores: A=-9\r\n"
    found = await score(client_of(spamd.address), top(CLEAN) + forged + HAM + GTUBE.encode() + b"\r\n")
    assert found.rules["GTUBE"] == 1000
    assert "A" not in found.rules


async def test_the_envelope_sender_is_our_return_path(scorer: Spamassassin) -> None:
    """FREEMAIL_ENVFROM_END_DIGIT reads EnvelopeFrom: the client's own words, and not those of a Received line."""
    theirs = b"Received: from a (a [198.18.1.77]) (envelope-from <x@example.org>) by b with SMTP id 1;\r\n\tnow\r\n"
    found = await score(scorer, top(CLEAN, "alice99@gmail.com") + theirs + HAM)
    assert "FREEMAIL_ENVFROM_END_DIGIT" in found.rules
    assert "FREEMAIL_ENVFROM_END_DIGIT" not in found.tainted


async def test_a_long_message_is_scored_by_its_beginning(spamd: Spamd) -> None:
    message = top(CLEAN) + HAM + GTUBE.encode() + b"\r\n" + b"A line of no interest at all.\r\n" * 2000
    found = await score(client_of(spamd.address, max_size=2048), message)
    assert found.truncated
    assert found.rules["GTUBE"] == 1000


async def test_too_slow_while_spamd_is_up_is_about_the_message(own_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounded, "PING_TIME", 5.0)  # a machine with other work answers PING later than in a second
    endless = "body SLOW /^(a|aa)+\\1x/\n"
    spamd = own_lab.server("spamd", Spamd, lambda folder: Spamd(folder, None, children=2, rules=endless))
    answer = await ask(client_of(spamd.address, timeout=15.0), top(CLEAN) + HAM + b"\r\n" + b"a" * 60 + b" b aax\r\n")
    spamd.kill()
    assert isinstance(answer, Unknown)
    assert answer.cause is Cause.UNSCANNABLE


async def test_more_at_once_than_spamd_has_children(spamd: Spamd) -> None:
    scorer = client_of(spamd.address)
    found = await asyncio.gather(*(score(scorer, top(CLEAN) + (SPAM if i % 2 else HAM)) for i in range(8)))
    assert len({each.score for each in found[1::2]}) == len({each.score for each in found[::2]}) == 1


async def test_spamd_killed_and_back(own_lab: Lab) -> None:
    spamd = own_lab.server("spamd", Spamd, lambda folder: Spamd(folder, None, children=1))
    scorer = client_of(spamd.address)
    assert await scorer.alive()
    spamd.kill()
    answer = await ask(scorer, top(CLEAN) + HAM)
    assert isinstance(answer, Unknown)
    assert answer.cause is Cause.DOWN
    assert not await scorer.alive()
    spamd.start()
    assert (await score(scorer, top(CLEAN) + HAM)).score < 2


@pytest.fixture(scope="module")
def bare() -> Iterator[Spamd]:
    """A spamd without mailguard.cf."""

    def make(folder: Path) -> Spamd:
        spamd = Spamd(folder, None, children=1)
        (spamd.site / "mailguard.cf").unlink()
        return spamd

    with Lab() as lab:
        yield lab.server("spamd", Spamd, make)


@pytest.fixture(scope="module")
def local() -> Iterator[Spamd]:
    """The same with mailguard.cf."""
    with Lab() as lab:
        yield lab.server("spamd", Spamd, lambda folder: Spamd(folder, None, children=1))


@pytest.mark.parametrize("message", [HAM, SPAM, SPAM + GTUBE.encode() + b"\r\n"])
async def test_without_our_settings_rounded_points_convict_less(bare: Spamd, local: Spamd, message: bytes) -> None:
    trail = received(LISTED[0], helo="198.18.7.3", by="relay.example.org")
    whole = top(CLEAN) + trail + message
    exact = await score(client_of(local.address), whole)
    rounded = await score(client_of(bare.address, rule_dirs=[RULES, bare.site]), whole)
    assert rounded.score == exact.score
    assert rounded.rules.keys() == exact.rules.keys()
    assert rounded.content_score <= exact.content_score
    blind = await score(client_of(bare.address), whole)
    assert blind.tainted == exact.rules.keys(), "the shipped list fits no spamd that hides its version"


class _Elsewhere(socket.socket):
    """A socket for a library that knows one port alone."""

    port = 0

    def connect(self, address: Any) -> None:
        assert address == ("127.0.0.1", 783)
        super().connect(("127.0.0.1", self.port))


def oracle(port: int, message: bytes, monkeypatch: pytest.MonkeyPatch) -> tuple[float, dict[str, float]]:
    """Total and points by rule as spamassassin-client reads them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from spamassassin_client import SpamAssassin, spamassasin_client
    connection = type("Connection", (_Elsewhere,), {"port": port})
    names = {name: getattr(socket, name) for name in ("AF_INET", "SOCK_STREAM", "SHUT_WR")}
    monkeypatch.setattr(spamassasin_client, "socket", types.SimpleNamespace(socket=connection, **names))
    found = SpamAssassin(message)
    return found.get_score(), {rule: row["partscore"] for rule, row in found.get_report_json().items()}


def as_reported(points: float) -> float:
    return float(f"{points:.0f}") if abs(points) >= 10 else float(f"{points:.1f}")


@pytest.mark.parametrize("message", [HAM, SPAM, SPAM + GTUBE.encode() + b"\r\n"])
async def test_an_independent_parser_agrees(local: Spamd, message: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = top(CLEAN) + message
    found = await score(client_of(local.address), whole)
    total, rules = await asyncio.to_thread(oracle, local.port, whole, monkeypatch)
    assert total == found.score
    assert rules == {rule: as_reported(points) for rule, points in found.rules.items()}


_EVERY_RULE = """
use Mail::SpamAssassin;
my $sa = Mail::SpamAssassin->new({rules_filename => $ARGV[0], site_rules_filename => $ARGV[1],
  userstate_dir => $ARGV[1], dont_copy_prefs => 1});
$sa->init(0);
print "$_ $sa->{conf}->{test_types}{$_}\\n" for keys %{$sa->{conf}->{test_types}};
"""

_NO_TEST = 0x14
"""SpamAssassin's type of a name that `reuse` or a plugin only reserved (TYPE_EMPTY_TESTS)."""


def test_spamassassin_itself_knows_no_rule_that_we_do_not(local: Spamd) -> None:
    ran = subprocess.run(
        ["perl", "-e", _EVERY_RULE, str(RULES), str(local.site)], capture_output=True, text=True, timeout=60, check=True
    )
    theirs = {name: int(kind) for name, kind in (line.split() for line in ran.stdout.splitlines())}
    ours = derive_rules(read_rule_dirs([RULES, local.site]))
    assert len(theirs) > 2500
    assert {name for name, kind in theirs.items() if kind != _NO_TEST} <= ours.keys()


def test_the_shipped_list_is_that_of_the_installed_rules() -> None:
    files = read_rule_dirs([RULES])
    shipped = TaintList.load()
    assert digest(files) == shipped.digest, "other rules are installed: derive the list again"
    assert TaintList.derive(files, shipped.spamassassin) == shipped
    free = sum(not found.evidence & ~Evidence.WHOLE for found in shipped.rules.values())
    assert free / len(shipped.rules) > 0.65, "free in a message that was not cut"
