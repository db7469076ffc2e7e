"""What is said never to match, or never to be reached, no facts make decide: missing answers and observing included."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailguard.facts import (
    Answer,
    Client,
    ClientAddress,
    Codes,
    Envelope,
    Helo,
    Known,
    Mailbox,
    Message,
    ReverseDns,
    Unknown,
)
from mailguard.policy import CompiledPolicy
from mailguard.policy.analysis import Kind
from mailguard.policy.answers import IPv4Address
from mailguard.policy.cases import tried
from mailguard.positions import Problems
from tests.unit.policy.evidence import SPAM, VIRUS
from tests.unit.policy.support import LISTS, UNAVAILABLE, rules

pytestmark = pytest.mark.slow

ENVELOPE = [
    "dnsbl.score >= 4",
    "dnsbl.score >= 6",
    "dnsbl.score > 2",
    "dnsbl.score < 4",
    "dnsbl.score <= 0",
    "dnsbl.score == 6",
    "dnsbl.score != 4",
    "dnsbl.score >= 13",
    "dnsbl.score in [0, 4]",
    "1 < dnsbl.score < 5",
    "dnsbl.listed_by >= 2",
    "dnsbl.listed_by == 1",
    "dnsbl.listed_by >= 3",
    "client.score >= 5",
    "client.score < 3",
    "client.score <= -6",
    "'black/SPAM' in dnsbl.labels",
    "'grey.example' in dnsbl.zones",
    "early_talker",
    "early_talker == false",
    "reverse_dns.missing",
    "helo.is_address",
    "sender.is_null",
    "sender.domain == 'example.org'",
    "sender.domain != 'EXAMPLE.org'",
    "helo.unresolvable",
    "true",
]
CONTENT = [
    "spam.score >= 5",
    "spam.score >= profile.junk_at",
    "spam.score < profile.junk_at",
    "spam.content_score >= 5",
    "spam.content_score < 6",
    "virus.kind == 'malware'",
    "virus.kind in ['malware', 'pua']",
    "virus.kind != ''",
    "virus.status == 'infected'",
    "virus.status != 'clean'",
    "message.size > 1000",
    "message.size >= 3000",
]
MORE = (
    UNAVAILABLE.replace("down: deliver", "down: defer")
    + "weights: {reverse_dns.missing: 1.5, helo.unresolvable: 2, early_talker: -3}\n"
    + "profiles: {normal: {junk_at: 5.0}, strict: {junk_at: 3.0}}\n"
    + "recipients: [{match: ['a@example.com'], profile: strict}, {match: ['*'], profile: normal}]\n"
)
OBSERVED = LISTS.replace("zone: grey.example,", "zone: grey.example, mode: observe,")
MISSING = Unknown("a test says so")


def codes(*texts: str) -> Answer[Codes]:
    return Known(frozenset(IPv4Address(f"127.0.0.{text}") for text in texts))


CLIENTS = [
    Client(ClientAddress.parse("198.18.0.1"), talks, dns, {"black": black, "grey": grey, "white": white})
    for black in (codes(), codes("2"), codes("3"), MISSING)
    for grey in (codes(), codes("2"), MISSING)
    for white in (codes(), codes("1"), codes("2"), MISSING)
    for talks in (Known(True), Known(False), MISSING)
    for dns in (Known(ReverseDns("a.example", True)), Known(ReverseDns("", False)), MISSING)
]
ENVELOPES = [
    Envelope(Helo("a.example", address, resolves), sender, Mailbox(local, "example.com"), Known(True))
    for address in (True, False)
    for resolves in (Known(True), Known(False), MISSING)
    for sender in (Mailbox("", ""), Mailbox("a", "example.org"), Mailbox("a", "example.net"))
    for local in ("a", "b")
]
MESSAGES = [Message(size, virus, spam) for size in (0, 1000, 2048, 3000) for virus in VIRUS for spam in SPAM]


@cache
def conditions(*atoms: str) -> st.SearchStrategy[str]:
    one = st.sampled_from(atoms)
    negated = one | st.builds("not ({})".format, one)
    both, either = st.builds("{} and {}".format, negated, negated), st.builds("{} or {}".format, negated, negated)
    return st.one_of(negated, negated, both, both, either, st.builds("({}) and ({})".format, either, either))


@st.composite
def stage(draw: st.DrawFn, atoms: list[str]) -> str:
    """A few rules of few atoms, so that they have to do with one another."""
    few = draw(st.lists(st.sampled_from(atoms), min_size=2, max_size=4))
    lines = []
    for _ in range(draw(st.integers(2, 5))):
        action = draw(st.sampled_from(["accept", "accept", "reject", "defer", "file", "file", "tag symbol=A"]))
        mode = draw(st.sampled_from(["", "", "", " mode=observe"]))
        asked = [*few, "'A' in tags", "'A' not in tags"] if any("symbol=A" in line for line in lines) else few
        lines.append(f"{draw(conditions(*asked))} => {action}{mode}")
    return "\n".join(lines)


def fired(policy: CompiledPolicy, client: Client, envelope: Envelope, message: Message) -> set[str]:
    """The rules that fire."""
    before = policy.envelope(client, envelope)
    verdicts = [before]
    if not before.action.blocks:
        verdicts.append(policy.content(client, envelope, message, before))
    return {outcome.rule for verdict in verdicts for outcome in verdict.trace.rules if outcome.fired}


def idle(policy: CompiledPolicy) -> dict[str, Kind]:
    """The rules that are said to do nothing."""
    found = [f for f in policy.warnings if f.kind in (Kind.NEVER_MATCHES, Kind.NEVER_REACHED)]
    return {finding.problem.message.split("'")[1]: finding.kind for finding in found}


@pytest.mark.parametrize("lists", [LISTS, OBSERVED], ids=["in force", "one observed"])
@pytest.mark.parametrize("content", [False, True], ids=["envelope", "content"])
def test_what_is_said_to_do_nothing_never_fires(lists: str, content: bool) -> None:
    said: Counter[Kind] = Counter()
    others: Counter[bool] = Counter()

    @settings(max_examples=120)
    @given(lines=stage([*ENVELOPE, *CONTENT] if content else ENVELOPE), seed=st.integers(0, 10_000))
    def holds(lines: str, seed: int) -> None:
        try:
            policy = rules(**{"content" if content else "envelope": lines}, more=MORE + lists)
        except Problems:
            return  # refused for other reasons
        quiet = idle(policy)
        if not quiet:
            return
        said.update(quiet.values())
        random = Random(seed)
        worlds = [policy, *([tried(policy)] if policy.trial is not None else [])]
        messages = MESSAGES if content else MESSAGES[:1]
        for _ in range(60):
            facts = random.choice(CLIENTS), random.choice(ENVELOPES), random.choice(messages)
            for world in worlds:
                found = fired(world, *facts)
                assert not found & quiet.keys(), (lines, facts)
                others[bool(found)] += 1

    holds()
    assert said[Kind.NEVER_MATCHES] >= 5
    assert said[Kind.NEVER_REACHED] >= 20
    assert others[True] > 200


def test_every_client_is_tried_with_every_envelope_where_doubt_is_near() -> None:
    """Small policies in which a rule would be covered but for doubt, with all facts that there are."""
    pairs = [
        ("dnsbl.score >= 4 => reject", "dnsbl.score >= 6 => file"),
        ("dnsbl.score >= 4 => file", "dnsbl.score >= 6 => reject"),
        ("dnsbl.score >= 4 => accept", "dnsbl.score >= 6 => reject"),
        ("dnsbl.score >= 5 and dnsbl.score < 3 => accept", "dnsbl.listed_by >= 1 => reject"),
        ("dnsbl.score >= 4 => file", "dnsbl.score >= 6 => accept", "helo.is_address => reject"),
        ("early_talker => reject", "early_talker and helo.is_address => file"),
        ("early_talker => file mode=observe", "early_talker and helo.is_address => reject"),
    ]
    quiet = {}
    for pair in pairs:
        policy = rules("\n".join(pair), more=MORE + LISTS)
        quiet[pair] = set(idle(policy))
        for client, envelope in product(CLIENTS, ENVELOPES[::11]):
            for world in (policy, tried(policy)):
                assert not fired(world, client, envelope, MESSAGES[0]) & quiet[pair]
    assert [sorted(found) for found in quiet.values()] == [
        [],
        ["envelope 2"],
        ["envelope 2"],
        [],
        [],
        ["envelope 2"],
        [],
    ]


def test_the_facts_tried_are_of_every_kind() -> None:
    policy = rules("\n".join(f"{atom} => tag symbol=A" for atom in ENVELOPE), more=MORE + LISTS)
    seen = set().union(*(fired(policy, client, ENVELOPES[i % 36], MESSAGES[0]) for i, client in enumerate(CLIENTS)))
    assert len(seen) == len(ENVELOPE) - len(idle(policy)) - sum(f.kind is Kind.OUT_OF_REACH for f in policy.warnings)
    assert replace(policy, warnings=()) != policy
