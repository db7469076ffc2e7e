"""Random facts and random policies, for properties that hold for all of them."""

from __future__ import annotations

from functools import cache
from ipaddress import IPv4Address

from hypothesis import strategies as st

from mailguard.facts import (
    Answer,
    Cause,
    Client,
    ClientAddress,
    Envelope,
    Helo,
    Known,
    Mailbox,
    Message,
    ReverseDns,
    SpamResult,
    Unknown,
    VirusResult,
)

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
        st.just(0),
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
]
_CONTENT_ATOMS = [
    "early_talker",
    "dnsbl.score >= 4",
    "client.score <= 0",
    "spam.score >= 5",
    "spam.received_score <= 0",
    "'RCVD_IN_PBL' in spam.rules",
    "spam.content_score >= 5",
    "spam.content_score >= 5",
    "virus.status == 'infected'",
    "virus.status == 'clean'",
    "virus.kind == 'malware'",
    "virus.kind == 'malware'",
    "virus.kind != 'heuristic'",
    "(virus.kind == 'pua' and virus.name != 'PUA.Y')",
]
_SYMBOLS = st.sampled_from(["A", "B"])
_ACTIONS = st.sampled_from(["accept", "reject", "defer", "file", "tag"])
_LENGTHS = st.integers(0, 4)


@cache
def _conditions(atoms: tuple[str, ...]) -> st.SearchStrategy[str]:
    return st.recursive(
        st.sampled_from(atoms),
        lambda inner: st.one_of(
            st.builds("({} and {})".format, inner, inner),
            st.builds("({} or {})".format, inner, inner),
            st.builds("(not {})".format, inner),
        ),
        max_leaves=2,
    )


@st.composite
def rule_lines(draw: st.DrawFn, content: bool, tags: set[str]) -> str:
    """Some rules of one stage, for ``support.rules``; ``tags``: those given so far, added to."""
    lines = []
    for _ in range(draw(_LENGTHS)):
        asked = [f"'{tag}' in tags" for tag in sorted(tags)] * 4
        condition = draw(_conditions((*(_CONTENT_ATOMS if content else _ENVELOPE_ATOMS), *asked)))
        action = draw(_ACTIONS)
        if action == "tag":
            symbol = draw(_SYMBOLS)
            tags.add(symbol)
            action = f"tag symbol={symbol}"
        lines.append(f"{condition} => {action}")
    return "\n".join(lines)


@st.composite
def stages(draw: st.DrawFn) -> tuple[str, str]:
    """The rules of both stages."""
    tags: set[str] = set()
    return draw(rule_lines(False, tags)), draw(rule_lines(True, tags))
