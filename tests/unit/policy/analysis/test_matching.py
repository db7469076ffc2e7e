"""Rules that never match or are never reached, and near misses; test_soundness holds them to what the engine does."""

from __future__ import annotations

import pytest

from mailguard.policy.analysis import Kind
from mailguard.policy.analysis.matching import MAX_COMPARED
from mailguard.policy.cases import decide
from tests.unit.policy.analysis.support import findings, of_rules, told
from tests.unit.policy.support import LISTS, UNAVAILABLE, rules

NORMAL = (
    "profiles: {a: {x: 5.0}, b: {x: 3.0}}\nrecipients: [{match: ['a@b.c'], profile: a}, {match: ['*'], profile: b}]\n"
)


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        ("spam.score >= 5 and spam.score < 3", "`spam.score >= 5` and `spam.score < 3` exclude one another"),
        ("spam.score > 5 and 5 >= spam.score", "`spam.score > 5` and `5 >= spam.score` exclude one another"),
        ("spam.score >= 5 and not spam.score > 2", "`spam.score >= 5` and not `spam.score > 2` exclude one another"),
        ("5 < spam.score < 5", "`5 < spam.score` and `spam.score < 5` exclude one another"),
        ("spam.score in [1, 2] and spam.score > 2", "`spam.score in [1, 2]` and `spam.score > 2` exclude one another"),
        ("spam.score == 1 and spam.score != 1", "`spam.score == 1` and `spam.score != 1` exclude one another"),
        ("message.size < 0", "`message.size < 0` never holds"),
        ("virus.kind == 'pua' and virus.kind == 'malware'", "exclude one another"),
        ("virus.status != 'clean' and virus.status != 'infected'", "exclude one another"),
        ("not virus.status in ['clean', 'infected']", "not `virus.status in ['clean', 'infected']` never holds"),
        ("sender.domain == 'a.example' and sender.domain == 'b.example'", "exclude one another"),
        ("sender.domain == 'a.example' and sender.domain != 'A.EXAMPLE'", "exclude one another"),
        ("sender.is_null and not sender.is_null", "`sender.is_null` and not `sender.is_null` exclude one another"),
        ("sender.is_null and sender.is_null == false", "exclude one another"),
        ("matches(helo.name, 'x') and not matches(helo.name, 'x')", "exclude one another"),
        ("helo.name == sender.domain and not helo.name == sender.domain", "exclude one another"),
        ("false", "its condition is false"),
        ("sender.is_null and false", "its condition is false"),
        ("profile.x > 7 and sender.is_null", "its condition is false"),
        ("spam.score < profile.x and spam.score > 6", "exclude one another"),
        ("(sender.is_null or spam.score > 9) and not (sender.is_null or spam.score > 9)", "none of its alternatives"),
    ],
)
def test_a_rule_that_never_matches(condition: str, why: str) -> None:
    (message,) = of_rules(Kind.NEVER_MATCHES, content=f"{condition} => tag symbol=A", more=LISTS + NORMAL)
    assert message.startswith("rule 'content 1' can never match: ")
    assert why in message


@pytest.mark.parametrize(
    "condition",
    [
        "spam.score >= 5 and spam.score <= 5",
        "spam.score > 5 and spam.score < 5.1",
        "spam.score < 3 or spam.score >= 5",
        "not (spam.score >= 5 and spam.score < 3)",
        "spam.score >= 5 and spam.content_score < 3",
        "spam.score in [1, 2] and spam.score >= 2",
        "message.size <= 0",
        "virus.kind != 'malware' and virus.kind != 'pua' and virus.kind != '' and virus.kind != 'heuristic'",
        "sender.local == 'a' and sender.local != 'b'",
        "sender.domain == 'a.example' and helo.name == 'b.example'",
        "matches(helo.name, 'x') and not matches(helo.name, 'y')",
        "matches(helo.name, 'x') and not matches(sender.domain, 'x')",
        "spam.score < profile.x and spam.score > 4",
        "profile.x > 4 and sender.is_null",
        "profile.x > 4 or spam.score > 9",
        "spam.score > spam.content_score and spam.content_score > spam.score",
    ],
)
def test_a_rule_that_may_match(condition: str) -> None:
    """The last never does, which is not seen: two facts are compared."""
    assert of_rules(Kind.NEVER_MATCHES, content=f"{condition} => tag symbol=A", more=LISTS + NORMAL) == []


def test_the_constants_of_a_profile_that_nobody_has_do_not_count() -> None:
    more = LISTS + NORMAL.replace("a: {x: 5.0}", "a: {x: 5.0}, idle: {x: 100}")
    assert of_rules(Kind.NEVER_MATCHES, content="profile.x > 50 and sender.is_null => accept", more=more)


def test_the_mark_is_under_what_excludes_the_rest() -> None:
    policy = """
        rules:
          content:
            - {name: odd, if: spam.score >= 5 and sender.is_null and spam.score < 3, then: file, folder: Junk}
    """
    (finding,) = findings(policy)
    assert str(finding).split("\n")[1:3] == [
        "  13 |     - {name: odd, if: spam.score >= 5 and sender.is_null and spam.score < 3, then: file, folder: Junk}",
        "     |                                                              ^^^^^^^^^^^^^^",
    ]
    assert told(policy, Kind.NEVER_MATCHES) == [
        "3: rule 'odd' can never match: `spam.score >= 5` and `spam.score < 3` exclude one another"
    ]


def test_each_alternative_is_told() -> None:
    compiled = rules(content="(spam.score > 4 and spam.score < 3) or (sender.is_null and not sender.is_null) => accept")
    (finding,) = [f for f in compiled.warnings if f.kind is Kind.NEVER_MATCHES]
    assert finding.problem.path == (
        "`spam.score > 4` and `spam.score < 3` exclude one another",
        "`sender.is_null` and not `sender.is_null` exclude one another",
    )


NEVER = "rule 'envelope 2' is never reached: rule 'envelope 1' above decides wherever it would match"


@pytest.mark.parametrize(
    ("above", "below"),
    [
        ("true => accept", "sender.is_null => file"),
        ("true => accept", "dnsbl.score >= 4 => reject"),
        ("sender.is_null => file", "sender.is_null => reject"),
        ("sender.is_null => reject", "sender.is_null => file"),
        ("sender.is_null => file", "sender.is_null and helo.is_address => reject"),
        ("sender.is_null or helo.is_address => file", "helo.is_address => reject"),
        ("sender.is_null or helo.is_address => file", "helo.is_address and early_talker => tag symbol=A"),
        ("sender.is_null or helo.is_address => file", "helo.is_address and early_talker or sender.is_null => defer"),
        ("dnsbl.score >= 4 => reject", "dnsbl.score >= 4 => reject"),
        ("dnsbl.score >= 4 => reject", "dnsbl.score > 5 => defer"),
        ("dnsbl.score >= 4 => file", "dnsbl.score > 5 => reject"),
        ("dnsbl.score >= 4 => accept", "dnsbl.score > 5 => reject"),
        ("dnsbl.score != 3 => file", "dnsbl.score > 5 => reject"),
        ("dnsbl.score < 20 => file", "dnsbl.score > 5 => file"),
        ("client.score >= 4 => file", "7 <= client.score => tag symbol=A"),
        ("dnsbl.listed_by in [1, 2] => file", "dnsbl.listed_by == 2 => file"),
        ("sender.domain in ['a.example', 'b.example'] => file", "sender.domain == 'B.example' => reject"),
        ("sender.domain != 'a.example' => file", "sender.domain == 'b.example' => reject"),
        ("in_network(client.ip, '198.18.0.0/15') => accept", "in_network(client.ip, '198.18.0.0/15') => reject"),
        ("sender.is_null => file mode=observe", "sender.is_null => file mode=observe"),
    ],
)
def test_a_rule_that_is_never_reached(above: str, below: str) -> None:
    assert of_rules(Kind.NEVER_REACHED, f"{above}\n{below}") == [NEVER]


@pytest.mark.parametrize(
    ("above", "below"),
    [
        ("sender.is_null => tag symbol=A", "sender.is_null => reject"),
        ("sender.is_null and helo.is_address => file", "sender.is_null => reject"),
        ("sender.is_null => file", "sender.is_null or helo.is_address => reject"),
        ("dnsbl.score > 4 => reject", "dnsbl.score >= 4 => reject"),
        ("dnsbl.score >= 4 => reject", "dnsbl.score >= 6 => file"),
        ("client.score >= 4 => file", "dnsbl.score >= 4 => file"),
        ("dnsbl.listed_by in [1, 2] => file", "dnsbl.listed_by <= 2 => file"),
        ("sender.domain in ['a.example', 'b.example'] => file", "sender.domain == 'c.example' => reject"),
        ("sender.is_null => file mode=observe", "sender.is_null => file"),
        ("in_network(client.ip, '198.18.0.0/15') => accept", "in_network(client.ip, '198.18.0.0/16') => reject"),
        ("helo.unresolvable or not helo.unresolvable => file", "true => reject"),
    ],
)
def test_a_rule_that_may_be_reached(above: str, below: str) -> None:
    """That a network is within another is not seen; the last is reached where the name's answer is missing."""
    assert of_rules(Kind.NEVER_REACHED, f"{above}\n{below}") == []


def test_rules_above_may_cover_each_its_alternative() -> None:
    lines = "sender.is_null => file\nhelo.is_address => accept\nsender.is_null or helo.is_address => file"
    (message,) = of_rules(Kind.NEVER_REACHED, lines)
    assert message.endswith(": rule 'envelope 1' and rule 'envelope 2' above decide wherever it would match")


def test_a_rule_of_the_envelope_covers_none_of_the_content() -> None:
    assert of_rules(Kind.NEVER_REACHED, "sender.is_null => accept", "sender.is_null => file") == []


def test_thresholds_are_compared_in_each_profile() -> None:
    more = LISTS + NORMAL
    assert of_rules(Kind.NEVER_REACHED, "", "spam.score >= profile.x => file\nspam.score >= 5 => file", more)
    assert not of_rules(Kind.NEVER_REACHED, "", "spam.score >= profile.x => file\nspam.score >= 4 => file", more)


def test_what_is_said_above_is_shown() -> None:
    compiled = rules("sender.is_null => accept\nsender.is_null and early_talker => file")
    (finding,) = [f for f in compiled.warnings if f.kind is Kind.NEVER_REACHED]
    (step,) = finding.problem.path
    assert step.endswith("rule 'envelope 1' says accept if sender.is_null")


def test_a_block_that_received_evidence_may_spare_covers_only_blocks() -> None:
    """A scanner that cannot judge the message keeps the reject from firing, and the rule below it fires."""
    lines = "spam.content_score < 1 => accept\nhelo.is_address => reject\nhelo.is_address => file"
    compiled = rules("", lines)
    assert not [f for f in compiled.warnings if f.kind is Kind.NEVER_REACHED]
    spared = decide(compiled, {"helo.is_address": True, "spam.score": "unscannable"})
    assert spared.rule == "content 3"
    assert of_rules(Kind.NEVER_REACHED, "", lines.replace("=> file", "=> defer"))
    assert of_rules(Kind.NEVER_REACHED, "", "\n".join(lines.split("\n")[1:]))


def test_a_rule_that_received_evidence_moves_covers_none_that_is_free_of_it() -> None:
    """Who is deferred is decided without that evidence: there the rule below lets through, the one above does not."""
    lines = "virus.kind == 'malware' => reject\nearly_talker or spam.score >= 5 => file\nearly_talker => file"
    missing = UNAVAILABLE + LISTS
    without = rules("", lines.rpartition("\n")[0], missing)
    given = {"early_talker": True, "virus.status": "unknown"}
    assert decide(rules("", lines, missing), given).rule == "content 2"
    assert decide(without, given).rule == "unavailable: clamav"
    assert of_rules(Kind.NEVER_REACHED, "", lines) == []
    assert of_rules(Kind.NEVER_REACHED, "", lines.replace("early_talker => file", "spam.score >= 6 => file"))


def test_a_condition_of_too_many_alternatives_is_left_alone() -> None:
    wide = " and ".join(f"(spam.score > {n} or message.size > {n})" for n in range(7))
    assert of_rules(Kind.NEVER_MATCHES, "", f"{wide} and sender.is_null and not sender.is_null => file") == []


def test_there_is_a_bound_on_the_work() -> None:
    """Each rule is compared with all above it, until the steps are used up: the others are not looked at."""
    number = 600
    assert number * (number - 1) / 2 > MAX_COMPARED
    lines = "\n".join(f"spam.score > {number - n} and message.size > {n} => file" for n in range(number))
    found = of_rules(Kind.NEVER_REACHED, "", f"{lines}\nspam.score > 700 and message.size > 700 => file")
    assert found == []
    few = "\n".join(lines.split("\n")[:50])
    assert of_rules(Kind.NEVER_REACHED, "", f"{few}\nspam.score > 700 and message.size > 700 => file")
