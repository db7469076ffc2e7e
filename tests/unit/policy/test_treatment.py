"""Which recipients share a transaction, and that nothing parts those who do but the folder of their label."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailguard.facts import Client, Envelope, Helo, Known, Mailbox, Message
from mailguard.policy import CompiledPolicy
from mailguard.policy.cases import facts_of_case
from mailguard.policy.treatment import Difference, Treatment
from mailguard.positions import Problems
from mailguard.verdict import Verdict
from tests.unit.policy.strategies import CONTENT_ATOMS, MESSAGES, clients
from tests.unit.policy.support import LISTS, UNAVAILABLE, rules

pytestmark = pytest.mark.slow

PROFILES = """
profiles:
  normal: {at: 5, flag: true, word: a}
  strict: {at: 3, flag: true, word: b}
  same: {at: 5, flag: true, word: c}
recipients:
  - {match: [strict@example.com, postmaster@example.com, "@strict.example.com"], profile: strict}
  - {match: ["@same.example.com"], profile: same}
  - {match: ["*"], profile: normal}
"""
QUIET = """
unavailable:
  clamav: {down: deliver, unscannable: file}
  spamassassin: {down: deliver, unscannable: deliver}
"""
SPAM_DEFERS = QUIET.replace("spamassassin: {down: deliver", "spamassassin: {down: defer")
FILES = "spam.score >= profile.at => file"
REFUSES = "spam.content_score >= profile.at => reject"
MALWARE = "virus.kind == 'malware' => reject"

BLOCK, TAGS, FOLDER = Difference.BLOCK, Difference.TAGS, Difference.FOLDER


def apart(compiled: CompiledPolicy, one: str, other: str) -> Difference | None:
    """Why ``one`` and ``other`` do not share a transaction; it is the same the other way round."""

    def treatment(recipient: str) -> Treatment:
        client, envelope, _ = facts_of_case(compiled, {"recipient.address": recipient})
        return compiled.treatment(envelope.recipient, compiled.envelope(client, envelope))

    first, second = treatment(one), treatment(other)
    difference = first.apart(second)
    assert second.apart(first) is difference
    return difference


@pytest.mark.parametrize(
    ("envelope", "content", "more", "difference"),
    [
        pytest.param("", FILES, QUIET, None, id="filed by what a profile says"),
        pytest.param("", REFUSES, QUIET, BLOCK, id="refused by what a profile says"),
        pytest.param("", REFUSES.replace("reject", "defer"), QUIET, BLOCK, id="deferred by it"),
        pytest.param("", f"{MALWARE}\n{FILES}", UNAVAILABLE, None, id="refused alike, then filed by it"),
        pytest.param("", FILES, SPAM_DEFERS, None, id="deferred alike without an answer"),
        pytest.param("", "message.size > profile.at => accept\nvirus.status == 'infected' => file", UNAVAILABLE, BLOCK,
                     id="an accept by profile spares one from being deferred"),
        pytest.param("", "message.size > profile.at => accept\nvirus.status == 'infected' => file", QUIET, None,
                     id="an accept by profile where nothing defers"),
        pytest.param("", f"message.size > profile.at => accept\n{MALWARE}", QUIET, BLOCK, id="an accept above a block"),
        pytest.param("", f"{MALWARE}\nmessage.size > profile.at => accept\n{FILES}", QUIET, None, id="below a block"),
        pytest.param("", "message.size > profile.at => tag symbol=BIG\n" + MALWARE, QUIET, BLOCK,
                     id="a tag by profile above a block"),
        pytest.param("", "spam.score > profile.at => tag symbol=BIG", QUIET, TAGS, id="a tag by profile"),
        pytest.param("", "spam.score > profile.at => file\nearly_talker => tag symbol=FAST", QUIET, TAGS,
                     id="a tag that a file by profile keeps from one"),
        pytest.param("recipient.domain == 'example.com' => tag symbol=HERE", FILES, QUIET, None, id="tagged alike"),
        pytest.param("recipient.local == 'strict' => tag symbol=HERE", "", QUIET, TAGS, id="a tag by recipient"),
        pytest.param("recipient.local == 'strict' => file", "", QUIET, None, id="filed at the envelope, two profiles"),
        pytest.param("", "matches(recipient.local, '^str') and virus.kind == 'malware' => reject", QUIET, BLOCK,
                     id="refused by a function of the recipient"),
        pytest.param("", "matches(recipient.local, '^zzz') and virus.kind == 'malware' => reject", QUIET, None,
                     id="the function says the same of both"),
        pytest.param("", "recipient.local == sender.local and virus.kind == 'malware' => reject", QUIET, BLOCK,
                     id="refused by a comparison with another fact"),
        pytest.param("", "(profile.flag and virus.kind == 'malware') => reject", QUIET, None, id="an equal constant"),
    ],
)  # fmt: skip
def test_what_parts_two_profiles(envelope: str, content: str, more: str, difference: Difference | None) -> None:
    compiled = rules(envelope, content, more=more + PROFILES)
    assert apart(compiled, "alice@example.com", "strict@example.com") is difference
    assert apart(compiled, "x@strict.example.com", "X@STRICT.example.com") is None


@pytest.mark.parametrize(
    ("envelope", "content", "difference"),
    [
        ("recipient.local == 'bob' => file", "", FOLDER),
        ("recipient.local in ('alice', 'bob') => file", "", None),
        ("recipient.local == 'bob' => tag symbol=BOB", "'BOB' in tags => file", TAGS),
        ("", "recipient.local == 'bob' => file", FOLDER),
        ("", "recipient.local == 'bob' => accept\nspam.score > 5 => file", FOLDER),
        ("", "recipient.local == 'BOB' => defer", BLOCK),
        ("", f"recipient.local == 'Alice' => accept\n{MALWARE}", BLOCK),
    ],
)
def test_what_parts_two_of_one_profile(envelope: str, content: str, difference: Difference | None) -> None:
    assert apart(rules(envelope, content, more=QUIET + PROFILES), "alice@example.com", "bob@example.com") is difference


@pytest.mark.parametrize(
    ("content", "more", "difference"),
    [
        (FILES, QUIET, None),
        (f"{FILES}\n{MALWARE}", QUIET, BLOCK),
        (FILES, SPAM_DEFERS, BLOCK),
        ("", QUIET, None),
    ],
)
@pytest.mark.parametrize("spared", ["postmaster@example.com", "ABUSE@example.com", "Postmaster"])
def test_what_parts_a_postmaster(content: str, more: str, difference: Difference | None, spared: str) -> None:
    """Who is always reachable and never filed has a label of its own, and shares where nothing can be blocked."""
    try:
        compiled = rules("", content, more=more + PROFILES)
    except Problems:
        compiled = rules("", "\n".join(reversed(content.split("\n"))), more=more + PROFILES)
    assert apart(compiled, "alice@example.com", spared) is difference
    assert apart(compiled, "abuse@same.example.com", spared) is None


def test_what_is_only_observed_parts_nobody_and_is_judged_apart() -> None:
    compiled = rules("", REFUSES, more="mode: observe\n" + QUIET + PROFILES)
    assert apart(compiled, "alice@example.com", "strict@example.com") is None
    one, other = (
        compiled.treatment(envelope.recipient, compiled.envelope(client, envelope))
        for recipient in ("alice@example.com", "strict@example.com")
        for client, envelope, _ in [facts_of_case(compiled, {"recipient.address": recipient})]
    )
    assert one != other


# -- for every policy


BY_RECIPIENT = [
    "spam.score >= profile.at",
    "spam.content_score >= profile.at",
    "message.size > profile.at",
    "profile.word == 'b'",
    "virus.kind == 'malware' and profile.at < 4",
    "recipient.local == 'alice'",
    "matches(recipient.local, '^[ab]')",
    "recipient.domain == sender.domain",
    "domain_matches(recipient.domain, '.example.com')",
    "recipient.address in lists.some",
]
_RECIPIENTS = [
    Mailbox("alice", "example.com"),
    Mailbox("ALICE", "Example.COM"),
    Mailbox("bob", "example.com"),
    Mailbox("carol", "example.com"),
    Mailbox("strict", "example.com"),
    Mailbox("bob", "strict.example.com"),
    Mailbox("carol", "same.example.com"),
    Mailbox("postmaster", "example.com"),
    Mailbox("abuse", "same.example.com"),
]
_CONDITIONS = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "", "not "]),
    st.sampled_from(BY_RECIPIENT).map("({})".format),
    st.sampled_from(["", *(f" {joint} {atom}" for joint in ("and", "or") for atom in sorted(set(CONTENT_ATOMS)))]),
)
_ENVELOPE = st.builds(
    "{} => {}".format,
    st.sampled_from([*BY_RECIPIENT[3:4], *BY_RECIPIENT[5:], "dnsbl.score >= 4", "early_talker"]),
    st.sampled_from(["accept", "file", "file folder=Box", "tag symbol=A", "tag symbol=B"]),
)
_CONTENT = st.builds(
    "{} => {}".format,
    _CONDITIONS | st.sampled_from(["'A' in tags", "'B' not in tags", *CONTENT_ATOMS]),
    st.sampled_from(["accept", "file", "file folder=Box", "tag symbol=A", "tag symbol=B", "reject", "defer", "reject"]),
)
_MODES = st.sampled_from(["", "", "mode: observe\n"])
_UNAVAILABLE = st.sampled_from(
    [UNAVAILABLE, UNAVAILABLE.replace("defer", "deliver"), UNAVAILABLE.replace("{down: deliver", "{down: defer")]
)
_SOME = "lists: {some: [alice@example.com, strict.example.com]}\n"
GIVES_TAGS = "early_talker => tag symbol=A\nearly_talker => tag symbol=B\n"


def _short(verdict: Verdict) -> tuple[object, ...]:
    observed = verdict.observed and _short(verdict.observed)
    return verdict.action, verdict.rule, verdict.folder, verdict.tags, observed


@settings(max_examples=600)
@given(
    envelope_rules=st.lists(_ENVELOPE, max_size=3),
    content_rules=st.lists(_CONTENT, min_size=1, max_size=4),
    mode=_MODES,
    unavailable=_UNAVAILABLE,
    client=clients(),
    talks=st.booleans(),
    sender=st.sampled_from([Mailbox("a", "example.org"), Mailbox("", ""), Mailbox("alice", "example.com")]),
    messages=st.lists(MESSAGES, min_size=1, max_size=3),
)
def test_who_shares_a_transaction_is_parted_by_nothing_but_the_folder_of_a_label(
    envelope_rules: list[str],
    content_rules: list[str],
    mode: str,
    unavailable: str,
    client: Client,
    talks: bool,
    sender: Mailbox,
    messages: list[Message],
) -> None:
    """Of every policy that loads. And where the whole treatment is equal, so is everything that is told of it."""
    try:
        policy = rules(
            GIVES_TAGS + "\n".join(envelope_rules),
            "\n".join(content_rules),
            more=mode + unavailable + LISTS + _SOME + PROFILES,
        )
    except Problems:
        return  # many: what would convict by Received evidence is refused
    helo = Helo("client.example.org", False, Known(talks))
    envelopes = [Envelope(helo, sender, recipient, Known(True)) for recipient in _RECIPIENTS]
    before = [policy.envelope(client, envelope) for envelope in envelopes]
    treatments = [policy.treatment(envelope.recipient, v) for envelope, v in zip(envelopes, before, strict=True)]
    for message in messages:
        verdicts = [policy.content(client, e, message, v) for e, v in zip(envelopes, before, strict=True)]
        for (one, first), (other, second) in combinations(zip(treatments, verdicts, strict=True), 2):
            if one == other:
                assert _short(first) == _short(second)
            if one.apart(other) is None:
                assert (first.reply and first.reply.code) == (second.reply and second.reply.code)
                assert first.tags == second.tags
                assert one.label != other.label or first.folder == second.folder
