"""Records judged again: nothing changes under the same policy, and exactly what must under another."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mailguard.facts import (
    NOT_ASKED,
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
    SpamResult,
    Unknown,
    VirusResult,
)
from mailguard.hindsight.judging import Compared, Judge, Judged
from mailguard.hindsight.recorded import facts_of
from mailguard.journal.form import Record
from mailguard.journal.pseudonyms import Pseudonyms
from mailguard.policy.engine import CompiledPolicy
from tests.unit.hindsight.records import recorded
from tests.unit.policy.strategies import ENVELOPES, MESSAGES, clients, stages
from tests.unit.policy.support import LISTS, UNAVAILABLE, policy, rules
from tests.unit.policy.test_properties import compiled

pytestmark = pytest.mark.slow

NONE: Known[Codes] = Known(frozenset())
CLEAN = Message(2048, Known(VirusResult()), Known(SpamResult(1.0, 1.0)))
EXAMPLES = settings(max_examples=60)


def listed(*last_octets: int) -> Answer[Codes]:
    return Known(frozenset(IPv4Address(f"127.0.0.{octet}") for octet in last_octets))


def client(address: str = "198.18.7.7", **lists: Answer[Codes]) -> Client:
    return Client(
        ClientAddress.parse(address),
        Known(False),
        Known(ReverseDns("mail.example.org", confirmed=True)),
        {"black": NONE, "grey": NONE, "white": NONE} | lists,
    )


def envelope(recipient: str = "user@example.com", sender: str = "sender@example.org") -> Envelope:
    helo = Helo("mail.example.org", resolves=Known(True))
    return Envelope(helo, Mailbox.parse(sender), Mailbox.parse(recipient), Known(True))


def compared(record: Record, now: CompiledPolicy, enforced: bool = False) -> Compared:
    found = Judge(now, enforced).compare(record)
    assert found is not None
    return found


# --- under the same policy --------------------------------------------------------------------------------------------


@EXAMPLES
@given(stages_=stages(), who=clients(), envelope_=ENVELOPES, message=MESSAGES, observe=st.booleans())
def test_under_the_same_policy_nothing_changes_whatever_the_facts(
    stages_: tuple[str, str], who: Client, envelope_: Envelope, message: Message, observe: bool
) -> None:
    ours = compiled(stages_, f"mode: {'observe' if observe else 'enforce'}\n" + UNAVAILABLE)
    failed = dict.fromkeys(("black", "grey", "white"), Unknown("timeout: no answer by the deadline"))
    record = recorded(ours, replace(who, dnsbl={**failed, **who.dnsbl}), envelope_, message)
    assert compared(record, ours).judged is Judged.SAME
    # What was observed is not written down where it would have come to the same by another rule.
    assert compared(record, ours, True).judged in (Judged.SAME, Judged.OTHER_RULE)


@EXAMPLES
@given(stages_=stages(), who=clients(), envelope_=ENVELOPES, message=MESSAGES)
def test_a_record_holds_every_fact(
    stages_: tuple[str, str], who: Client, envelope_: Envelope, message: Message
) -> None:
    ours = compiled(stages_, UNAVAILABLE)
    zones = [table.zone for table in ours.force.scales.lists]
    [facts] = facts_of(recorded(ours, who, envelope_, message), zones)
    assert facts.client.address == who.address
    assert (facts.client.early_talker, facts.client.reverse_dns) == (who.early_talker, who.reverse_dns)
    assert facts.envelope.helo == envelope_.helo
    assert (facts.envelope.sender, facts.envelope.recipient) == (envelope_.sender, envelope_.recipient)
    if facts.message is not None:
        assert facts.message == message


@EXAMPLES
@given(
    stages_=stages(),
    evidence=st.lists(st.tuples(clients(), ENVELOPES, st.none() | MESSAGES), min_size=2, max_size=6),
)
def test_what_looks_the_same_to_a_policy_is_decided_the_same(
    stages_: tuple[str, str], evidence: list[tuple[Client, Envelope, Message | None]]
) -> None:
    ours = compiled(stages_, UNAVAILABLE)
    judge = Judge(ours)
    for each in evidence:
        [facts] = judge.facts(recorded(ours, *each))
        assert judge._seen.of(facts) == judge.again(facts)


def test_of_what_looks_the_same_each_kind_is_judged_once() -> None:
    ours = rules(
        "client.ip in ['198.18.0.0/24'] => reject\ndnsbl.score >= 4 => file folder=Junk",
        "spam.score >= 5 => file folder=Junk",
    )
    judge = Judge(ours)
    keys = set()
    for number in range(40):
        spam = Message(number, Known(VirusResult()), Known(SpamResult(number / 4, 0.0)))
        record = recorded(ours, client(f"198.18.{number % 2}.{number}"), envelope(f"user{number}@example.com"), spam)
        [facts] = judge.facts(record)
        keys.add(judge._seen.key(facts))
    assert len(keys) == 3  # in the network, which is refused; else below the threshold, or not


# --- under another ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "now", "answers", "became"),
    [
        ("dnsbl.score >= 6 => reject", "dnsbl.score >= 4 => reject", {"black": listed(2)}, ("accept", "reject")),
        ("dnsbl.score >= 4 => reject", "dnsbl.score >= 6 => reject", {"black": listed(2)}, ("reject", "accept")),
        ("dnsbl.score >= 4 => reject", "dnsbl.score >= 4 => defer", {"black": listed(2)}, ("reject", "defer")),
        (
            "dnsbl.score >= 4 => file folder=Junk",
            "dnsbl.score >= 4 => file folder=Quarantine",
            {"black": listed(2)},
            ("file", "file"),
        ),
    ],
)
def test_another_threshold_or_action(
    before: str, now: str, answers: dict[str, Answer[Codes]], became: tuple[str, str]
) -> None:
    record = recorded(rules(before), client(**answers), envelope(), CLEAN)
    found = compared(record, rules(now))
    assert found.judged is Judged.CHANGED
    assert found.before is not None
    assert found.now is not None
    assert (found.before.action, found.now.action) == became
    assert found.recipient == "user@example.com"
    assert compared(record, rules(before)).judged is Judged.SAME


def test_raw_answers_are_weighed_anew() -> None:
    """The old table does not know 127.0.0.9 at all: what the list said is in the record all the same."""
    record = recorded(rules("dnsbl.score >= 4 => reject"), client(black=listed(9)), envelope(), CLEAN)
    heavier = LISTS.replace("127.0.0.3: {weight: 6}", "127.0.0.3: {weight: 6}, 127.0.0.9: {weight: 5}")
    assert compared(record, rules("dnsbl.score >= 4 => reject", more=UNAVAILABLE + heavier)).judged is Judged.CHANGED


def test_what_was_refused_at_the_envelope_would_be_taken_and_its_content_is_unknown() -> None:
    record = recorded(rules("dnsbl.score >= 4 => reject"), client(black=listed(2)), envelope(), CLEAN)
    found = compared(record, rules("dnsbl.score >= 9 => reject", "spam.score >= 0 => file folder=Junk"))
    assert (found.judged, found.now and found.now.action, found.now and found.now.whole) == (
        Judged.CHANGED,
        "accept",
        False,
    )


def test_the_same_by_another_rule_is_told_apart() -> None:
    record = recorded(rules("dnsbl.score >= 4 => reject"), client(black=listed(2)), envelope(), CLEAN)
    other = rules("early_talker => reject\ndnsbl.score >= 4 => reject")
    assert compared(record, other).judged is Judged.OTHER_RULE


def test_a_list_that_nobody_asked_leaves_open_what_hangs_on_it_and_nothing_else() -> None:
    record = recorded(rules("dnsbl.score >= 6 => reject"), client(black=listed(2)), envelope(), CLEAN)
    grown = UNAVAILABLE + LISTS + "  new: {zone: new.example, answers: {127.0.0.2: {weight: 3}}}\n"
    found = compared(record, rules("dnsbl.score >= 6 => reject", more=grown))
    assert (found.judged, found.lacking) == (Judged.UNKNOWN, ("the list new was not asked",))
    out_of_reach = compared(record, rules("dnsbl.score >= 8 => reject", more=grown))
    assert out_of_reach.judged is Judged.SAME


def test_a_list_is_known_by_its_zone_whatever_it_is_called() -> None:
    record = recorded(rules("dnsbl.score >= 4 => reject"), client(black=listed(2)), envelope(), CLEAN)
    renamed = UNAVAILABLE + LISTS.replace("black:", "first:")
    assert compared(record, rules("dnsbl.score >= 4 => reject", more=renamed)).judged is Judged.SAME
    another = UNAVAILABLE + LISTS.replace("black.example", "another.example")
    assert compared(record, rules("dnsbl.score >= 4 => reject", more=another)).lacking == (
        "the list black was not asked",
    )


def test_an_ipv6_client_that_a_list_was_not_asked_about_is_not_taken_for_unlisted() -> None:
    record = recorded(rules("dnsbl.score >= 4 => reject"), client("2001:db8::1"), envelope(), CLEAN)
    knowing = UNAVAILABLE + LISTS.replace("zone: black.example,", "zone: black.example, ipv6: true,")
    assert compared(record, rules("dnsbl.score >= 4 => reject", more=knowing)).judged is Judged.UNKNOWN
    record["client"]["dnsbl_seconds"]["black"] = 0.01
    assert compared(record, rules("dnsbl.score >= 4 => reject", more=knowing)).judged is Judged.SAME


def test_a_relay_of_ours_is_on_no_list_whatever_the_policy_asks() -> None:
    record = recorded(rules("dnsbl.score >= 4 => reject"), client(), envelope(), CLEAN)
    record["client"]["own_relay"] = True
    grown = UNAVAILABLE + LISTS + "  new: {zone: new.example, answers: {127.0.0.2: {weight: 9}}}\n"
    assert compared(record, rules("dnsbl.score >= 4 => reject", more=grown)).judged is Judged.SAME


def test_questions_that_were_not_asked_are_told_as_such() -> None:
    unasked = replace(envelope(), helo=Helo("mail.example.org"), sender_resolves=NOT_ASKED)
    record = recorded(rules(), replace(client(), early_talker=NOT_ASKED, reverse_dns=NOT_ASKED), unasked, CLEAN)
    now = rules("early_talker => reject\nhelo.unresolvable or sender.unresolvable or reverse_dns.missing => reject")
    assert compared(record, now).lacking == (
        "helo was not asked",
        "reverse_dns was not asked",
        "sender was not asked",
        "early_talker was not looked at",
    )


def test_an_answer_that_failed_then_fails_again() -> None:
    """A timeout is no gap in the record: it is what the policy would have had to live with."""
    record = recorded(rules("dnsbl.score >= 9 => reject"), client(black=Unknown("timeout: none")), envelope(), CLEAN)
    assert compared(record, rules("dnsbl.score >= 4 => reject")).judged is Judged.SAME
    deferring = UNAVAILABLE.replace("dnsbl: ignore", "dnsbl: defer") + LISTS
    found = compared(record, rules("dnsbl.score >= 4 => reject", more=deferring))
    assert found.now is not None
    assert (found.now.action, found.now.rule) == ("defer", "unavailable: dnsbl")


@pytest.mark.parametrize("by", ["backend", "mailguard"])
def test_what_others_refused_is_left_out(by: str) -> None:
    record = recorded(rules(), client(black=listed(2)), envelope(), CLEAN)
    record["reply"] = {"code": 550, "enhanced": "5.1.1", "text": "no", "by": by, "cause": ""}
    assert compared(record, rules("dnsbl.score >= 4 => reject")).judged is Judged.ELSEWHERE


def test_what_is_no_mail_is_not_counted() -> None:
    judge = Judge(rules())
    for event in ("connection", "command refused", "internal error"):
        assert judge.compare({"v": 1, "time": "", "event": event, "ref": "R"}) is None


def test_a_record_of_another_form_is_told_and_harms_nothing() -> None:
    record = recorded(rules(), client(), envelope(), CLEAN)
    for name in ("client", "helo", "sender", "recipients", "spam"):
        assert compared(record | {name: 7}, rules("early_talker => reject")).judged is Judged.UNREADABLE
    assert compared(record | {"content": {}}, rules()).judged is Judged.UNREADABLE


def test_each_recipient_is_judged_by_its_own_profile() -> None:
    text = """
    profiles: {normal: {junk_at: 5}, strict: {junk_at: 1}}
    recipients: [{match: ["strict@example.com"], profile: strict}, {match: ["*"], profile: normal}]
    unavailable: {spamassassin: {down: deliver, unscannable: deliver}}
    rules:
      content:
      - {name: spam, if: spam.score >= profile.junk_at, then: file, folder: Junk}
    """
    record = recorded(rules(), client(), envelope(), CLEAN)
    record["recipients"] = ["user@example.com", "strict@example.com"]
    found = compared(record, policy(text))
    assert (found.judged, found.recipient) == (Judged.CHANGED, "strict@example.com")
    record["others"] = [{"recipients": ["strict@example.com"], "envelope": record["envelope"]}]
    record["others"][0]["content"] = record["content"] | {"action": "file", "folder": "Junk", "rule": "spam"}
    assert compared(record, policy(text)).judged is Judged.SAME


# --- observe mode, the sample -----------------------------------------------------------------------------------------


def test_what_was_only_observed_counts_where_that_is_asked_for() -> None:
    observing = "mode: observe\n" + UNAVAILABLE + LISTS
    record = recorded(rules("dnsbl.score >= 4 => reject", more=observing), client(black=listed(2)), envelope(), CLEAN)
    lax, strict = rules("dnsbl.score >= 9 => reject"), rules("dnsbl.score >= 4 => reject")
    assert [compared(record, each).judged for each in (lax, strict)] == [Judged.SAME, Judged.CHANGED]
    assert [compared(record, each, True).judged for each in (lax, strict)] == [Judged.CHANGED, Judged.SAME]


# --- pseudonyms -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "fact"),
    [
        ("client.ip in ['198.18.0.0/15'] => reject", "client.ip"),
        ("matches(helo.name, '^mail') => reject", "helo.name"),
        ("sender.domain == 'example.org' => reject", "sender.domain"),
        ("recipient.local == 'user' => reject", "recipient.local"),
    ],
)
def test_what_hangs_on_an_address_under_a_pseudonym_cannot_be_judged(rule: str, fact: str) -> None:
    covering = Pseudonyms(b"k" * 32, ["client", "sender", "recipient"])
    record = recorded(rules(), client(black=listed(2)), envelope(), CLEAN)
    assert compared(record, rules(rule)).judged is Judged.CHANGED
    covered = covering.cover(record)
    assert compared(covered, rules(rule)).lacking == (f"{fact} is under a pseudonym",)
    assert compared(covered, rules("dnsbl.score >= 4 => reject")).judged is Judged.CHANGED
    assert compared(covered, rules("sender.is_null or helo.is_address => reject")).judged is Judged.SAME


def test_a_profile_cannot_be_told_of_a_recipient_under_a_pseudonym() -> None:
    text = """
    profiles: {normal: {junk_at: 5}, strict: {junk_at: 1}}
    recipients: [{match: ["strict@example.com"], profile: strict}, {match: ["*"], profile: normal}]
    unavailable: {spamassassin: {down: deliver, unscannable: deliver}}
    rules:
      content:
      - {name: spam, if: spam.score >= profile.junk_at, then: file, folder: Junk}
    """
    covered = Pseudonyms(b"k" * 32, ["recipient"]).cover(recorded(rules(), client(), envelope(), CLEAN))
    assert compared(covered, policy(text)).lacking == ("recipient.address is under a pseudonym",)
