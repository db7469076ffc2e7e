"""Random facts and random policies, for properties that hold for all of them."""

from __future__ import annotations

from functools import cache
from ipaddress import IPv4Address

from hypothesis import strategies as st

from mailguard.facts import (
    FACTS,
    Answer,
    Cause,
    Client,
    ClientAddress,
    Envelope,
    FactType,
    Helo,
    Known,
    Mailbox,
    Message,
    ReverseDns,
    SpamResult,
    Unknown,
    VirusResult,
)
from mailguard.policy.conditions import LISTABLE
from mailguard.policy.functions import FUNCTIONS
from mailguard.policy.lists import Kind

UNKNOWN = st.builds(Unknown, st.text(max_size=20), st.sampled_from(Cause))
SCORES = st.sampled_from([-3.0, 0.0, 1.0, 2.9, 3.0, 4.9, 5.0, 7.5, 15.0, 1000.0])
SIGNATURES = ["Win.Trojan.X", "PUA.Win.X", "Heuristics.X", "Vendor.X.UNOFFICIAL", ""]


def answers(values: st.SearchStrategy) -> st.SearchStrategy[Answer]:
    return UNKNOWN | st.builds(Known, values)


CODES = st.frozensets(
    st.sampled_from(["127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.9"]).map(IPv4Address), max_size=2
)
ANY_CODES = st.frozensets(st.builds(IPv4Address, st.integers(0, 2**32 - 1)), max_size=4)
NAMES = st.text(max_size=30)
MAILBOXES = st.builds(Mailbox, NAMES, NAMES) | st.just(Mailbox("", "")) | st.just(Mailbox("user", "example.com"))


def clients(codes: st.SearchStrategy = CODES) -> st.SearchStrategy[Client]:
    return st.builds(
        Client,
        st.ip_addresses().map(ClientAddress),
        answers(st.booleans()),
        answers(st.builds(ReverseDns, NAMES, st.booleans())),
        st.dictionaries(st.sampled_from(["black", "grey", "white"]), answers(codes)),
    )


ENVELOPES = st.builds(
    Envelope,
    st.builds(Helo, NAMES, st.booleans(), answers(st.booleans())),
    MAILBOXES,
    MAILBOXES,
    answers(st.booleans()),
)
SPAM = st.builds(
    SpamResult,
    SCORES,
    SCORES,
    rules=st.dictionaries(st.sampled_from(["RCVD_IN_PBL", "BODY"]), st.just(1.0)),
)
MESSAGES = st.builds(
    Message, st.integers(0, 200_000), answers(st.builds(VirusResult, st.sampled_from(SIGNATURES))), answers(SPAM)
)

_ENVELOPE_ATOMS = [
    "early_talker",
    "dnsbl.score >= 4",
    "dnsbl.score < 0",
    "dnsbl.listed_by != 1",
    "'black/SPAM' in dnsbl.labels",
    "'black.example' not in dnsbl.zones",
    "client.score >= 3",
    "client.score <= 0",
    "matches(helo.name, '^client[.]')",
    "in_network(client.ip, '198.18.0.1')",
]
CONTENT_ATOMS = [
    "early_talker",
    "dnsbl.score >= 4",
    "client.score <= 0",
    "spam.score >= 5",
    "spam.received_score <= 0",
    "'RCVD_IN_PBL' in spam.rules",
    "spam.content_score >= 5",
    "spam.content_score >= 5",
    "spam.content_score < 5",
    "spam.content_score < 5",
    "1 > spam.content_score",
    "spam.content_score == 6",
    "spam.content_score in [0, 6]",
    "virus.status == 'infected'",
    "virus.status == 'clean'",
    "virus.kind == 'malware'",
    "virus.kind == 'malware'",
    "virus.kind != 'malware'",
    "virus.kind != 'heuristic'",
    "virus.kind in ('malware', 'pua')",
    "virus.name == 'Win.X'",
    "matches(virus.name, '^Win')",
    "matches(virus.kind, 'malware')",
    "(virus.kind == 'malware' and not matches(virus.name, 'Y$'))",
    "domain_matches(sender.domain, '.example.org')",
    "(virus.kind == 'malware' and virus.name != 'Win.X')",
    "(virus.kind != 'malware' or virus.name == 'Win.X')",
]
EVERY_ATOM = sorted(
    {
        *_ENVELOPE_ATOMS,
        *CONTENT_ATOMS,
        *(function.example for function in FUNCTIONS.values()),
        *(f"matches({name}, '[a-z]$')" for name, spec in FACTS.items() if spec.type is FactType.TEXT),
        *(f"{name} in lists.some" for name in LISTABLE),
        *(f"domain_matches({name}, 'a.b', '.b')" for name, kind in LISTABLE.items() if kind is Kind.DOMAIN),
        *(f"domain_of({name}) in lists.some" for name, kind in LISTABLE.items() if kind is Kind.MAILBOX),
        *(f"{name} == profile.word" for name, spec in FACTS.items() if spec.type is FactType.TEXT),
    }
)
"""Conditions of every form: each function and each list over each fact that it takes."""
LOOSE_ATOMS = [
    "spam.score >= 5",
    "profile.junk_at > spam.score",
    "spam.received_score != 0",
    "'BODY' in spam.rules",
    "virus.name in spam.rules",
    "virus.status == 'infected'",
    "virus.name == 'Win.X'",
    "matches(virus.name, 'Phish')",
    "matches(virus.name, 'Phish') == early_talker",
    "matches(virus.status, '^infected$')",
    "matches(virus.kind, '^malware$')",
    "virus.kind == profile.word",
]
"""Conditions that Received lines may make true and false."""
HIDING = [
    "({})",
    "not {}",
    "{} and not early_talker",
    "early_talker or {}",
    "(dnsbl.score >= 4 and {}) or dnsbl.listed_by >= 2",
    "not (domain_matches(sender.domain, '.example') or {})",
    "in_network(client.ip, '198.18.0.0/15') and ({} or sender.domain in lists.some)",
    "{} and spam.content_score >= 5",
]
"""Where a condition may be hidden; none of it settles what the whole comes to."""
_SYMBOLS = st.sampled_from(["A", "B"])
_ACTIONS = st.sampled_from(["accept", "reject", "defer", "file", "tag"])
_PASSING = st.sampled_from(["accept", "file", "tag", "tag"])
_BLOCKING = st.sampled_from(["reject", "defer"])
_LENGTHS = st.integers(0, 4)
_FEW = st.integers(0, 2)


@cache
def conditions(atoms: tuple[str, ...], leaves: int = 2) -> st.SearchStrategy[str]:
    """Conditions made of ``atoms`` with ``and``, ``or``, ``not``."""
    return st.recursive(
        st.sampled_from(atoms),
        lambda inner: st.one_of(
            st.builds("({} and {})".format, inner, inner),
            st.builds("({} or {})".format, inner, inner),
            st.builds("(not {})".format, inner),
        ),
        max_leaves=leaves,
    )


@cache
def _asking(atoms: tuple[str, ...], tags: tuple[str, ...]) -> st.SearchStrategy[str]:
    """Conditions made of ``atoms``, and as often of ``tags``: made once, for hypothesis checks each that is new."""
    atoms = (*atoms, *[f"'{tag}' in tags" for tag in tags] * (len(atoms) // 2))
    return st.sampled_from([*atoms, *(f"not {atom}" for atom in atoms)]) | conditions(atoms)


def _rule(draw: st.DrawFn, atoms: list[str], actions: st.SearchStrategy[str], tags: set[str]) -> str:
    """One rule for ``support.rules``; ``tags``: those given so far, added to, and often asked for."""
    condition, action = draw(_asking(tuple(atoms), tuple(sorted(tags)))), draw(actions)
    if action == "tag":
        symbol = draw(_SYMBOLS)
        tags.add(symbol)
        action = f"tag symbol={symbol}"
    return f"{condition} => {action}"


@st.composite
def rule_lines(draw: st.DrawFn, content: bool, tags: set[str]) -> str:
    """Some rules of one stage; ``tags``: those given so far, added to."""
    atoms = CONTENT_ATOMS if content else _ENVELOPE_ATOMS
    return "\n".join(_rule(draw, atoms, _ACTIONS, tags) for _ in range(draw(_LENGTHS)))


@st.composite
def blocking_stages(draw: st.DrawFn) -> tuple[str, str]:
    """The rules of both stages, in which a rule of the content blocks below others that do not."""
    tags: set[str] = set()
    envelope = [_rule(draw, _ENVELOPE_ATOMS, _PASSING, tags) for _ in range(draw(_FEW))]
    content = [_rule(draw, CONTENT_ATOMS, _PASSING, tags) for _ in range(draw(_FEW))]
    last = [_rule(draw, CONTENT_ATOMS, actions, tags) for actions in (_BLOCKING, _ACTIONS)]
    return "\n".join(envelope), "\n".join([*content, *last])


@st.composite
def stages(draw: st.DrawFn) -> tuple[str, str]:
    """The rules of both stages."""
    tags: set[str] = set()
    return draw(rule_lines(False, tags)), draw(rule_lines(True, tags))
