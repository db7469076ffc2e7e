"""Pure code, timed alone in CPU time of this process: where the time of a message goes, what a change does to it."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import yaml

from mailguard.commands import Extensions
from mailguard.facts import (
    Client,
    ClientAddress,
    Codes,
    Envelope,
    Helo,
    Known,
    Mailbox,
    Message,
    ReverseDns,
    Stage,
)
from mailguard.message import Origin, Transmission, for_backend, parse_head, strip_forged
from mailguard.policy.conditions import Scope, parse_condition
from mailguard.policy.engine import CompiledPolicy
from mailguard.policy.expression import View
from mailguard.policy.lists import AddressList
from mailguard.policy.reading import Reading, Scales
from mailguard.policy.truth import EMPTY
from mailguard.policy_files import load
from mailguard.smtp.dotreader import DotReader
from mailguard.smtp.grammar import helo_name, mail_from, rcpt_to, split_command
from tests.bench.loads import HELO, RECIPIENT, SENDER, message
from tests.bench.subjects import small_policy

ROUNDS = 5
ROUND_SECONDS = 0.2
"""CPU time of one round, about."""
SEGMENT = 65_536
"""Octets that the dot reader is fed at once: what an event loop reads from a socket at the most."""
RULE_COUNTS = (1, 10, 100, 1000)
LIST_ENTRIES = 100_000


@dataclass(frozen=True)
class Micro:
    """How long one call took: the best and the median of some rounds, in seconds of CPU time.

    ``octets``: of one call, where a rate says more; else 0.
    """

    name: str
    best: float
    median: float
    octets: int = 0


def timed(name: str, call: Callable[[], object], octets: int = 0, seconds: float = ROUND_SECONDS) -> Micro:
    """Time ``call``, in rounds of about ``seconds``."""
    count = 1
    while (once := _spent(call, count)) * count < seconds / 8:
        count *= 2
    count = max(1, round(seconds / once))
    return Micro(name, *_best_and_median([_spent(call, count) for _ in range(ROUNDS)]), octets)


def _spent(call: Callable[[], object], count: int) -> float:
    """CPU seconds of one of ``count`` calls."""
    before = time.process_time()
    for _ in range(count):
        call()
    return (time.process_time() - before) / count


def _best_and_median(figures: list[float]) -> tuple[float, float]:
    return min(figures), statistics.median(figures)


def everything(seconds: float = ROUND_SECONDS) -> Iterator[Micro]:
    """All figures, one by one."""
    content = message(5_000_000) + b".\r\n"
    yield timed("content of 5 MB: end, stuffing, line ends", lambda: read_content(content), len(content), seconds)
    for name, call in commands().items():
        yield timed(f"command line: {name}", call, seconds=seconds)
    for rules in RULE_COUNTS:
        policy = policy_of(rules)
        yield timed(f"envelope rules: {rules}, none fires", lambda p=policy: decide(p), seconds=seconds)  # type: ignore[misc]
    for name, call in conditions().items():
        yield timed(f"condition: {name}", call, seconds=seconds)
    yield timed("header section of a 4 KB message: read, strip, put ours on top", head_surgery(), seconds=seconds)


def read_content(stuffed: bytes) -> int:
    """Read one message, segment by segment; its size."""
    reader = DotReader(65_536)
    for start in range(0, len(stuffed), SEGMENT):
        reader.feed(stuffed[start : start + SEGMENT])
    assert reader.ended
    return reader.size


def commands() -> dict[str, Callable[[], object]]:
    """Splitting and reading one command line of each kind."""
    offered = Extensions(52_428_800, eightbitmime=True, smtputf8=True)
    ehlo, rcpt = b"EHLO %b" % HELO, b"RCPT TO:<%b>" % RECIPIENT
    mail = b"MAIL FROM:<%b> SIZE=4096 BODY=8BITMIME" % SENDER
    return {
        "EHLO": lambda: helo_name(split_command(ehlo)[1], "EHLO"),
        "MAIL, two parameters": lambda: mail_from(split_command(mail)[1], offered),
        "RCPT": lambda: rcpt_to(split_command(rcpt)[1], offered, smtputf8=False),
        "DATA": lambda: split_command(b"DATA"),
    }


_CONDITIONS = (
    "dnsbl.score >= {0} and dnsbl.listed_by >= 2",
    "client.ip in ['10.{1}.{2}.0/24']",
    "sender.domain == 'bad-{0}.example'",
    "client.score >= {0} and not reverse_dns.missing",
)


def policy_text(rules: int) -> dict[str, Any]:
    """The default policy with ``rules`` envelope rules of four kinds instead of its own, none of which fires."""
    text = small_policy(names=True)
    text["cases"] = []
    text["rules"]["envelope"] = [
        {
            "name": f"rule {number}",
            "if": _CONDITIONS[number % len(_CONDITIONS)].format(100 + number, *divmod(number, 256)),
            "then": "reject",
        }
        for number in range(rules)
    ]
    return text


def policy_of(rules: int) -> CompiledPolicy:
    """:func:`policy_text`, compiled."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "policy.yaml"
        path.write_text(yaml.safe_dump(policy_text(rules), sort_keys=False))
        return load(path)


def long_list() -> AddressList:
    """Addresses and networks of 12 lengths in both versions, domains, what is below domains, and mailboxes."""
    fifth = LIST_ENTRIES // 5
    lengths = (16, 20, 22, 24, 26, 28, 30, 32)
    found = AddressList()
    for number in range(fifth):
        length = lengths[number % len(lengths)]
        found.add(str(IPv4Network((number << 16 >> (32 - length) << (32 - length), length))))
        length = (32, 48, 64, 128)[number % 4]
        found.add(str(IPv6Network(((0x20010DB8 << 96) + (number << 64) >> (128 - length) << (128 - length), length))))
        found.add(f"domain-{number}.example")
        found.add(f".parent-{number}.example")
        found.add(f"user-{number}@mail-{number % 100}.example")
    return found


def conditions() -> dict[str, Callable[[], object]]:
    """One condition each, that does not hold."""
    scope = Scope(Stage.ENVELOPE, lists={"long": long_list()})
    view = View(Reading(Scales(), _CLIENT, _ENVELOPE, None, EMPTY), {})
    of_list = f"list of {LIST_ENTRIES:,} entries"
    told = {
        f"address, {of_list}": "client.ip in lists.long",
        f"domain, {of_list}": "helo.name in lists.long",
        f"mailbox, {of_list}": "sender.address in lists.long",
        "a domain and those below it": "domain_matches(sender.domain, 'example.com', '.example.com')",
        "a regular expression": "matches(reverse_dns.name, '(^|[.-])(dsl|dyn|pool)[0-9]*[.-]')",
    }
    found = {name: parse_condition(text, scope) for name, text in told.items()}
    assert not any(condition.evaluate(view) for condition in found.values())
    return {name: lambda c=condition: c.evaluate(view) for name, condition in found.items()}  # type: ignore[misc]


_NOT_LISTED: Codes = frozenset()
_CLIENT = Client(
    ClientAddress.parse("198.19.1.10"),
    reverse_dns=Known(ReverseDns("mail.example.org", confirmed=True)),
    dnsbl={
        "zen": Known(frozenset({IPv4Address("127.0.0.10")})),
        "spamcop": Known(_NOT_LISTED),
        "dnswl": Known(_NOT_LISTED),
    },
)
_ENVELOPE = Envelope(
    Helo("mail.example.org", resolves=Known(True)),
    Mailbox("sender", "example.org"),
    Mailbox("alice", "example.com"),
    Known(True),
)


def decide(policy: CompiledPolicy) -> object:
    """One recipient's verdict."""
    return policy.envelope(_CLIENT, _ENVELOPE)


def head_surgery() -> Callable[[], object]:
    """What is done to the header section of one message on its way to the backend."""
    octets = message(4096)
    transmission = Transmission(
        Origin("mx.test.invalid", _CLIENT.address, "mail.example.org", _CLIENT.reverse_dns),
        "0000-bench",
        "ESMTP",
        datetime(2026, 11, 21, 10, 0, tzinfo=UTC),
    )
    return lambda: for_backend(
        strip_forged(parse_head(octets), "mx.test.invalid"), transmission, Message(len(octets)), tags=()
    )
