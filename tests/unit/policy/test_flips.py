"""What would flip a verdict: each flip that is told does what it says, and none is larger than it need be."""

from __future__ import annotations

import re
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.facts import Client, Envelope, Known, Message, Unknown
from mailguard.policy import CompiledPolicy
from mailguard.policy.cases import facts_of_case, overlaid
from mailguard.policy.course import Course, Facts, course_of
from mailguard.policy.engine import Watch
from mailguard.policy.flips import after, flips, places
from mailguard.policy.reading import Reading
from mailguard.policy.schema import Given
from mailguard.policy.truth import Members, Range
from mailguard.positions import Problems
from tests.unit.policy.strategies import ENVELOPES, MESSAGES, clients, stages
from tests.unit.policy.support import policy, rules, told

REFUSES = """
    client.score < -3 => accept
    dnsbl.score >= 6 and dnsbl.listed_by >= 2 => reject
    client.score >= 3.5 => file
"""


_MOVED = re.compile(r"(?P<fact>[a-z_.]+) (?P<value>\S+) instead of \S+$")


def _parts(facts: Facts) -> tuple[Client, Envelope, Message | None]:
    return facts.client, facts.envelope, facts.message


def _facts(compiled: CompiledPolicy, **given: Given) -> Facts:
    return Facts(*facts_of_case(compiled, {name.replace("__", "."): value for name, value in given.items()}))


def _told(compiled: CompiledPolicy, facts: Facts) -> dict[str, str]:
    return {flip.change.what: told(flip.course.verdict) for flip in flips(compiled, facts)}


def test_a_listed_client_is_told_which_listing_to_lose() -> None:
    compiled = rules(REFUSES)
    found = _told(compiled, _facts(compiled, dnsbl__black="127.0.0.2", dnsbl__grey="127.0.0.2"))
    assert found["without grey/127.0.0.2"] == "file Junk"
    assert found["without black/SPAM"] == "accept"
    assert found["listed as white/127.0.0.1"] == "file Junk"
    assert found["with one list that speaks for the client, of -0.6: dnsbl.score 5.9 instead of 6.5"] == "file Junk"


def test_the_number_of_lists_is_moved_by_listings_and_by_nothing_else() -> None:
    compiled = rules("dnsbl.listed_by >= 2 => reject", "spam.score >= 5 => file")
    found = _told(compiled, _facts(compiled, dnsbl__black="127.0.0.2", spam__score=4.5))
    assert found == {"listed as grey/127.0.0.2": "reject 554", "with spam.score 5 instead of 4.5": "file Junk"}


def test_smallest_first() -> None:
    compiled = rules(REFUSES)
    sizes = [flip.change.size for flip in flips(compiled, _facts(compiled, dnsbl__black="127.0.0.3"))]
    assert sizes == sorted(sizes)
    assert len(sizes) > 2


def test_points_are_moved_to_just_beyond_the_threshold() -> None:
    compiled = rules(content="spam.content_score > 15 => reject\nspam.score >= 5 => file")
    assert _told(compiled, _facts(compiled, spam__score=4.1)) == {
        "with spam.score 5 instead of 4.1": "file Junk",
        "with spam.content_score 15.1 instead of 4.1": "reject 554",
    }
    assert _told(compiled, _facts(compiled, spam__score=7.0, spam__received_score=3.0)) == {
        "with spam.score 4.9 instead of 7": "accept",
        "with spam.content_score 15.1 instead of 4": "reject 554",
    }


def test_received_points_are_moved_with_the_total() -> None:
    compiled = rules(content="spam.received_score >= 2 => file")
    assert _told(compiled, _facts(compiled, spam__score=1.0)) == {
        "with spam.received_score 2 instead of 0": "file Junk",
    }


def test_sizes_are_whole_octets() -> None:
    compiled = rules(content="message.size > 4096 => file\n0 > message.size => file")
    assert _told(compiled, _facts(compiled, message__size=10)) == {
        "with message.size 4097 instead of 10": "file Junk",
    }


def test_a_fact_that_weighs_is_turned() -> None:
    compiled = policy(
        """
        weights: {reverse_dns.missing: 1.5, helo.is_address: 2}
        unavailable: {reverse_dns: ignore}
        rules:
          envelope:
            - {name: suspicious, if: client.score >= 3.5 or sender.is_null, then: file, folder: Junk}
        """
    )
    found = _told(compiled, _facts(compiled, reverse_dns__missing=True, helo__is_address=True))
    assert found["with reverse_dns.missing false instead of true"] == "accept"
    assert found["with helo.is_address false instead of true"] == "accept"
    assert _told(compiled, _facts(compiled))["with sender.is_null true instead of false"] == "file Junk"


def test_an_answer_that_is_missing_is_given() -> None:
    compiled = rules("dnsbl.score >= 6 => reject", "virus.status == 'infected' => file")
    found = _told(compiled, _facts(compiled, virus__status="unknown"))
    assert found["had clamav found nothing"] == "accept"
    found = _told(compiled, _facts(compiled, dnsbl__black="127.0.0.3", dnsbl__white="unknown"))
    assert found["had white answered that it does not list the client"] == "reject 554"


def test_a_signature_is_taken_away() -> None:
    compiled = rules(content="virus.kind == 'malware' => reject")
    assert _told(compiled, _facts(compiled, virus__name="Win.X")) == {"without Win.X": "accept"}


def test_what_is_only_observed_flips_too() -> None:
    compiled = policy(
        """
        mode: observe
        unavailable: {spamassassin: {down: deliver, unscannable: deliver}}
        rules:
          content:
            - {name: spam, if: spam.score >= 5, then: file, folder: Junk}
        """
    )
    [flip] = flips(compiled, _facts(compiled, spam__score=9))
    assert flip.change.what == "with spam.score 4.9 instead of 9"
    assert flip.course.verdict.observed is None


def test_a_code_is_found_for_each_entry_of_a_list() -> None:
    """127.0.0.4 is another entry, and 127.255.255.x is none: the first code of a range may not do."""
    compiled = policy(
        """
        dnsbl:
          l: {zone: l.example, answers: {127.0.0.4: {weight: 1}, 127.0.0.4-7: {weight: 6}, "127.*.*.9": {weight: 7}}}
        unavailable: {dnsbl: ignore}
        rules:
          envelope:
            - {name: heavy, if: dnsbl.score == 6, then: file, folder: Heavy}
            - {name: heavier, if: dnsbl.score > 6, then: file, folder: Heavier}
        """
    )
    found = _told(compiled, _facts(compiled))
    assert found["listed as l/127.0.0.4-7"] == "file Heavy"
    assert found["listed as l/127.*.*.9"] == "file Heavier"


def test_without_content_there_is_nothing_of_it_to_change() -> None:
    compiled = rules(REFUSES, "spam.score >= 5 => file")
    client, envelope, _ = facts_of_case(compiled, {})
    assert not [flip for flip in flips(compiled, Facts(client, envelope)) if "spam" in flip.change.what]


@pytest.mark.slow
@given(stages(), clients(), ENVELOPES, st.none() | MESSAGES)
def test_each_flip_does_what_it_says(
    written: tuple[str, str], client: Client, envelope: Envelope, message: Message | None
) -> None:
    try:
        compiled = rules(*written)
    except Problems:
        return
    facts = Facts(client, envelope, message)
    before = course_of(compiled, facts)
    for flip in flips(compiled, facts):
        assert places(after(compiled, facts, flip.change)) == places(flip.course) != places(before)
        if said := _MOVED.search(flip.change.what):
            changed = facts if flip.change.weight else overlaid(facts, flip.change.given)
            value = Reading(compiled.force.scales, *_parts(changed), Members()).value(said["fact"])
            shown = value.settled + flip.change.weight if isinstance(value, Range) else value
            assert (f"{shown:g}" if isinstance(shown, float) else str(shown).lower()) == said["value"]


def test_the_number_of_evaluations_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = rules(REFUSES)
    asked: list[Facts] = []

    def counting(compiled: CompiledPolicy, facts: Facts, *watch: Watch) -> Course:
        asked.append(facts)
        return course_of(compiled, facts, *watch)

    monkeypatch.setattr("mailguard.policy.flips.course_of", counting)
    flips(compiled, _facts(compiled))
    unbounded = len(asked)
    monkeypatch.setattr("mailguard.policy.flips.MAX_CHANGES", 3)
    asked.clear()
    flips(compiled, _facts(compiled))
    assert len(asked) < unbounded
    assert len(asked) == 3 + 3, "as it is, the rules tried in both worlds, and three changes"


def test_a_void_reply_is_no_listing_to_lose() -> None:
    compiled = rules("dnsbl.score >= 6 => reject")
    client, envelope, message = facts_of_case(compiled, {})
    void = {**client.dnsbl, "black": Known(frozenset({IPv4Address("127.255.255.254")})), "grey": Unknown("silent")}
    facts = Facts(Client(client.address, dnsbl=void), envelope, message)
    assert {flip.change.what for flip in flips(compiled, facts)} == {"had black answered black/127.0.0.3"}
