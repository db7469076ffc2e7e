"""Explanations: the verdict told is the engine's own, with every part of every condition that was tried."""

from __future__ import annotations

from ipaddress import IPv4Address

from hypothesis import given
from hypothesis import strategies as st

from mailguard.facts import Client, Envelope, Known, Message, Stage, Unknown
from mailguard.policy import CompiledPolicy
from mailguard.policy.cases import facts_of_case, overlaid
from mailguard.policy.course import Facts, course_of
from mailguard.policy.explanation import Explanation, Tried, explain
from mailguard.policy.schema import Given
from mailguard.policy.truth import Range
from mailguard.positions import Problems
from mailguard.verdict import Action
from tests.unit.policy.strategies import ENVELOPES, MESSAGES, clients, stages
from tests.unit.policy.support import policy, rules


def _explained(compiled: CompiledPolicy, **given: Given) -> Explanation:
    named = {name.replace("__", "."): value for name, value in given.items()}
    return explain(compiled, Facts(*facts_of_case(compiled, named)))


def _parts(tried: Tried) -> list[tuple[object, list[str]]]:
    return [(part.truth, [f"{fact.name}={fact.value}" for fact in part.facts]) for part in tried.parts]


def test_each_part_of_a_condition_has_its_truth_and_its_facts() -> None:
    compiled = rules("dnsbl.score >= 6 and (dnsbl.listed_by >= 2 or not early_talker) => reject")
    [stage, _] = _explained(compiled, dnsbl__black="127.0.0.2").stages
    [tried] = stage.tried
    assert (tried.truth, tried.fired) == (False, False)
    assert _parts(tried) == [
        (False, ["dnsbl.score=4"]),
        (False, ["dnsbl.listed_by=1"]),
        (False, ["early_talker=false"]),
    ]


def test_doubt_is_told_apart_from_what_fires_all_the_same() -> None:
    compiled = rules("dnsbl.score >= 4 => reject\ndnsbl.score >= 4 => file")
    [stage, _] = _explained(compiled, dnsbl__black="127.0.0.2", dnsbl__white="unknown").stages
    assert [(tried.truth, tried.fired) for tried in stage.tried] == [(None, None), (None, True)]
    assert _parts(stage.tried[0]) == [(None, ["dnsbl.score=4 (0 to 4)"])]


def test_a_tag_is_seen_as_it_stood_when_the_rule_was_tried() -> None:
    compiled = rules(
        "early_talker => tag symbol=A\n'A' in tags => file\ndnsbl.score >= 4 => tag symbol=A\n'A' in tags => reject"
    )
    [stage, *_] = _explained(compiled, dnsbl__black="127.0.0.2").stages
    assert [tried.fired for tried in stage.tried] == [False, False, True, True]
    assert [part.truth for tried in stage.tried for part in tried.parts] == [False, False, True, True]


def test_what_was_not_tried_is_told() -> None:
    compiled = rules("early_talker => accept\ndnsbl.score >= 4 => reject\nearly_talker => file")
    [envelope, content] = _explained(compiled, early_talker=True).stages
    assert [rule.name for rule in envelope.untried] == ["envelope 2", "envelope 3"]
    assert (content.stage, content.tried, content.untried) == (Stage.CONTENT, (), ())


def test_a_refusal_at_the_envelope_leaves_the_content_untold_but_its_facts_are_there() -> None:
    compiled = rules("dnsbl.score >= 4 => reject", "spam.score >= 5 => file")
    found = _explained(compiled, dnsbl__black="127.0.0.2", spam__score=9)
    assert [stage.stage for stage in found.stages] == [Stage.ENVELOPE]
    assert [shown.evidence.name for shown in found.shown] == ["dnsbl.score", "spam.score"]


def test_every_answer_of_a_list_is_told_with_what_it_counts_for() -> None:
    compiled = rules("dnsbl.score >= 6 => reject")
    client, envelope, _ = facts_of_case(compiled, {"dnsbl.black": ["127.0.0.2", "127.0.0.3", "127.0.0.99"]})
    void = Known(frozenset({IPv4Address("127.255.255.254")}))
    facts = Facts(Client(client.address, dnsbl={**client.dnsbl, "grey": void, "white": Unknown("silent")}), envelope)
    black, grey, white = explain(compiled, facts).counted
    assert [(str(code), label) for code, label in black.codes] == [
        ("127.0.0.2", "SPAM"),
        ("127.0.0.3", "127.0.0.3"),
        ("127.0.0.99", ""),
    ]
    assert (black.zone, black.unknown, black.weight) == ("black.example", "", Range.exactly(6.0))
    assert (grey.unknown, grey.weight) == ("answered 127.255.255.254", Range(0.0, 2.5, 0.0))
    assert (white.unknown, white.weight) == ("silent", Range(-4.0, 0.0, 0.0))


def test_a_fact_with_a_weight_is_told_with_what_it_counts_for() -> None:
    compiled = policy(
        """
        weights: {reverse_dns.missing: 1.5, helo.unresolvable: 2, early_talker: 3}
        unavailable: {reverse_dns: ignore, helo: ignore}
        rules:
          envelope:
            - {name: suspicious, if: client.score >= 3.5, then: file, folder: Junk}
        """
    )
    found = {c.name: c for c in _explained(compiled, reverse_dns__missing=True, helo__unresolvable="unknown").counted}
    assert found["reverse_dns.missing"].weight == Range.exactly(1.5)
    assert found["helo.unresolvable"].weight == Range(0.0, 2.0, 0.0)
    assert found["helo.unresolvable"].unknown == "a case says so"
    assert found["early_talker"].weight == Range.exactly(0.0)


def test_what_is_only_observed_is_explained_beside() -> None:
    compiled = policy(
        """
        mode: observe
        unavailable: {spamassassin: {down: deliver, unscannable: deliver}}
        rules:
          content:
            - {name: spam, if: spam.score >= 5, then: file, folder: Junk}
        """
    )
    found = _explained(compiled, spam__score=9)
    assert (found.course.verdict.action, [stage.tried for stage in found.stages]) == (Action.ACCEPT, [(), ()])
    assert found.observed is not None
    assert found.observed.course.verdict.action is Action.FILE
    assert [tried.fired for tried in found.observed.stages[1].tried] == [True]
    assert _explained(compiled, spam__score=1).observed is None


def _all(found: Explanation) -> list[Explanation]:
    return [found] + ([found.observed] if found.observed else [])


@given(stages(), clients(), ENVELOPES, st.none() | MESSAGES)
def test_the_verdict_told_is_the_engines(
    written: tuple[str, str], client: Client, envelope: Envelope, message: Message | None
) -> None:
    try:
        compiled = rules(*written)
    except Problems:
        return
    facts = Facts(client, envelope, message)
    found = explain(compiled, facts)
    assert found.course == course_of(compiled, facts)
    for stage in found.stages:
        outcomes = [(tried.rule.name, tried.fired) for tried in stage.tried]
        assert outcomes == [(each.rule, each.fired) for each in stage.verdict.trace.rules]
        for tried in stage.tried:
            assert tried.fired is True or tried.fired is tried.truth


def test_what_is_given_lies_over_what_is_known() -> None:
    compiled = rules("dnsbl.score >= 6 => reject")
    facts = Facts(*facts_of_case(compiled, {"dnsbl.black": "127.0.0.2", "reverse_dns.name": "a.example"}))
    same = overlaid(facts, {})
    assert (same.envelope, same.message, same.client.dnsbl) == (facts.envelope, facts.message, facts.client.dnsbl)
    assert (same.client.address, same.client.reverse_dns) == (facts.client.address, facts.client.reverse_dns)
    over = overlaid(facts, {"dnsbl.grey": "127.0.0.2", "spam.score": 9.0, "reverse_dns.unconfirmed": True})
    assert over.client.dnsbl["black"] == facts.client.dnsbl["black"]
    assert over.client.dnsbl["grey"] == Known(frozenset({IPv4Address("127.0.0.2")}))
    assert isinstance(over.client.reverse_dns, Known)
    assert (over.client.reverse_dns.value.name, over.client.reverse_dns.value.confirmed) == ("a.example", False)
    assert over.message is not None and facts.message is not None
    assert isinstance(over.message.spam, Known) and over.message.spam.value.score == 9.0
    assert (over.message.virus, over.envelope) == (facts.message.virus, facts.envelope)


def test_what_is_given_of_a_message_makes_one() -> None:
    client, envelope, _ = facts_of_case(rules(), {})
    assert overlaid(Facts(client, envelope), {"helo.name": "x"}).message is None
    made = overlaid(Facts(client, envelope), {"virus.kind": "malware"}).message
    assert made is not None and isinstance(made.virus, Known) and made.virus.value.infected
