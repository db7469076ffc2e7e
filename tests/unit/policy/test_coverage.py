"""What cases exercise: rules that fire, thresholds from both sides where they settle the outcome."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent, indent

import pytest

from mailguard.policy.compiler import draft_policy
from mailguard.policy.coverage import Coverage, Threshold, cover
from mailguard.policy_files import draft
from mailguard.positions import Text, parse
from tests.unit.policy.support import LISTS, UNAVAILABLE, no_files

SHIPPED = sorted((Path(__file__).parents[3] / "policies").glob("*.yaml"))
RULES = """
rules:
  envelope:
    - {name: friends, if: client.ip == '198.18.9.9', then: accept}
    - {name: several, if: dnsbl.score >= 6 and dnsbl.listed_by >= 2, then: reject}
    - {name: dial-up, if: helo.is_address, then: tag, symbol: DIALUP}
  content:
    - {name: large, if: "'DIALUP' in tags and 1000 < message.size", then: file, folder: Large}
    - {name: spam, if: spam.score >= profile.junk_at, then: file, folder: Junk}
profiles: {normal: {junk_at: 5.0}, strict: {junk_at: 3.0}, idle: {junk_at: 9.0}}
recipients:
  - {match: ["@kids.example.com"], profile: strict}
  - {match: ["*"], profile: normal}
"""


def covered(*cases: str, text: str = RULES) -> Coverage:
    """What cases cover, each written ``given => expect`` in YAML's flow style, without its braces."""
    entries = [case.split(" => ") for case in cases]
    given = [f"- {{name: case {i}, given: {{{g}}}, expect: {{{e}}}}}" for i, (g, e) in enumerate(entries, 1)]
    whole = f"mailguard_policy: 1{dedent(LISTS + UNAVAILABLE)}{text}cases:\n{indent(chr(10).join(given), '  ')}\n"
    found = draft_policy(parse(Text("policy.yaml", whole)), no_files)
    found.tested()
    return cover(found.policy, found.document, found.suites)


def threshold(found: Coverage, comparison: str, profile: str = "") -> Threshold:
    (one,) = [t for t in found.thresholds if t.comparison == comparison and t.profile == profile]
    return one


def test_a_rule_is_exercised_where_it_fires() -> None:
    found = covered(
        "client.ip: 198.18.9.9 => accept: true", "spam.score: 5 => file: Junk", "spam.score: 7 => file: Junk"
    )
    assert {rule.rule: rule.cases for rule in found.rules} == {
        "friends": ["case 1"],
        "several": [],
        "dial-up": [],
        "large": [],
        "spam": ["case 2", "case 3"],
    }
    assert [rule.rule for rule in found.idle] == ["several", "dial-up", "large"]


def test_a_rule_is_told_with_its_line() -> None:
    found = covered("spam.score: 5 => file: Junk")
    lines = ("mailguard_policy: 1" + dedent(LISTS + UNAVAILABLE) + RULES).split("\n")
    for rule in found.rules:
        assert f"name: {rule.rule}," in lines[rule.line - 1]
        assert rule.file == "policy.yaml"


def test_what_is_spared_as_postmaster_exercises_nothing() -> None:
    found = covered("recipient.local: postmaster, spam.score: 9 => accept: true")
    assert "spam" in [rule.rule for rule in found.idle]
    assert threshold(found, "spam.score >= profile.junk_at", "normal").nearest(True) is None


def test_a_rule_of_the_content_is_not_reached_where_the_envelope_refuses() -> None:
    found = covered("dnsbl.black: 127.0.0.3, dnsbl.grey: 127.0.0.2, spam.score: 9 => reject: 554")
    assert [rule.rule for rule in found.rules if rule.cases] == ["several"]


def test_only_observed_rules_are_exercised_by_what_would_have_been() -> None:
    found = covered("spam.score: 5 => accept: true", text="mode: observe" + RULES)
    assert [rule.rule for rule in found.rules if rule.cases] == ["spam"]


def test_an_enforced_rule_is_exercised_where_one_that_is_observed_would_hide_it() -> None:
    rules = """
rules:
  content:
    - {name: watched, if: virus.kind == 'malware', then: reject, mode: observe}
    - {name: malware, if: virus.kind == 'malware', then: reject}
"""
    found = covered("virus.kind: malware => reject: 554", text=rules)
    assert [rule.rule for rule in found.rules if rule.cases] == ["watched", "malware"]


def test_a_side_counts_only_where_the_comparison_settles_the_condition() -> None:
    """Below 6 and on no list the outcome would be the same, whatever the threshold."""
    found = covered(" => accept: true", "dnsbl.black: 127.0.0.3, dnsbl.grey: 127.0.0.2 => reject: 554")
    score = threshold(found, "dnsbl.score >= 6")
    assert (score.nearest(True), score.nearest(False), score.held) == (8.5, None, False)
    found = covered("dnsbl.black: 127.0.0.3, dnsbl.grey: 127.0.0.2, dnsbl.white: 127.0.0.2 => accept: true")
    score = threshold(found, "dnsbl.score >= 6")
    assert (score.nearest(True), score.nearest(False)) == (None, 4.5)


def test_the_nearest_values_are_kept() -> None:
    found = covered(*(f"spam.score: {score} => accept: true" for score in (0, 4.5, 2)))
    assert threshold(found, "spam.score >= profile.junk_at", "normal").nearest(False) == 4.5
    found = covered(*(f"spam.score: {score} => file: Junk" for score in (9, 5.5, 1000)))
    assert threshold(found, "spam.score >= profile.junk_at", "normal").nearest(True) == 5.5


def test_each_profile_that_recipients_have_has_a_threshold() -> None:
    found = covered(
        "spam.score: 4.9 => accept: true",
        "spam.score: 5 => file: Junk",
        "spam.score: 3, recipient.domain: kids.example.com => file: Junk",
    )
    of = [(t.profile, t.limit, t.held) for t in found.thresholds if t.comparison == "spam.score >= profile.junk_at"]
    assert sorted(of) == [("normal", 5.0, True), ("strict", 3.0, False)]
    assert [t.profile for t in found.loose if "spam" in t.comparison] == ["strict"]


def test_a_tag_counts_as_it_stood_where_the_rule_was_tried() -> None:
    found = covered("message.size: 2000 => accept: true", "message.size: 1000, helo.is_address: true => accept: true")
    size = threshold(found, "1000 < message.size")
    assert (size.nearest(True), size.nearest(False), size.limit) == (None, 1000.0, 1000.0)
    found = covered("message.size: 2000, helo.is_address: true => file: Large")
    assert threshold(found, "1000 < message.size").nearest(True) == 2000.0


def test_a_tag_given_below_is_none_yet() -> None:
    rules = """
rules:
  envelope:
    - {name: first, if: helo.is_address, then: tag, symbol: A}
    - {name: asks, if: "'A' in tags and dnsbl.score >= 4", then: reject}
    - {name: second, if: 'true', then: tag, symbol: A}
"""
    found = covered("dnsbl.black: 127.0.0.2 => accept: true", text=rules)
    assert threshold(found, "dnsbl.score >= 4").nearest(True) is None


def test_a_value_that_is_not_known_shows_nothing() -> None:
    found = covered("spam.score: unknown => accept: true", "dnsbl.black: unknown => accept: true")
    assert not any(t.settled for t in found.thresholds if t.comparison.startswith("dnsbl.score"))
    spam = threshold(found, "spam.score >= profile.junk_at", "normal")
    assert spam.settled == {False: 0.0}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_cases_of_a_shipped_policy_exercise_all_of_it(path: Path) -> None:
    """Every rule, and every threshold from both sides."""
    found = draft(path)
    assert found.tested().cases >= 12
    coverage = cover(found.policy, found.document, found.suites)
    assert coverage.rules
    assert len(coverage.thresholds) >= 4
    assert ([rule.rule for rule in coverage.idle], coverage.loose) == ([], [])
