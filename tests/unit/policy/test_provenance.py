"""Received evidence never blocks: not in a condition, not behind a rule, not behind a tag, however hidden."""

from __future__ import annotations

import pytest

from mailguard.positions import Problems
from tests.unit.policy.support import UNAVAILABLE, outcome, rules


def _refused(content: str) -> str:
    with pytest.raises(Problems) as found:
        rules(content=content)
    return str(found.value)


def test_a_reject_on_spam_score_does_not_load() -> None:
    message = _refused("spam.score >= 15 => reject")
    assert "rule 'content 1' may not reject by `spam.score`" in message
    assert "policy.yaml:18:30" in message  # where the name stands
    assert "holds the points of SpamAssassin rules that look at Received headers" in message


def test_a_reject_behind_an_accept_on_spam_score_does_not_load() -> None:
    message = _refused("spam.score < 3 => accept\nspam.content_score >= 5 => reject")
    assert "rule 'content 1' decides by `spam.score`" in message
    assert "line 19: rule 'content 2' says reject where that did not hold" in message


def test_a_reject_behind_a_tag_on_spam_score_does_not_load() -> None:
    message = _refused("spam.score >= 5 => tag symbol=SPAMMY\n'SPAMMY' in tags => reject")
    assert "rule 'content 2' may not reject by the tag SPAMMY" in message
    assert "line 18: rule 'content 1' gives the tag SPAMMY by `spam.score`" in message
    assert "line 18, column 30: `spam.score` holds" in message


def test_a_reject_on_spam_content_score_loads() -> None:
    compiled = rules(content="spam.content_score >= 15 => reject")
    assert outcome(compiled, spam__score=15) == "reject 554"
    assert outcome(compiled, spam__score=30, spam__received_score=16) == "accept"


@pytest.mark.parametrize(
    "content",
    [
        "not spam.score < 15 => reject",
        "spam.content_score >= 15 or spam.score >= 20 => reject",
        "sender.is_null and (early_talker or not (spam.score < 15)) => defer",
        "5 < spam.score < 100 => reject",
        "spam.score == 1000 => reject",
        "spam.received_score >= 1 => defer",
        "'RCVD_IN_PBL' in spam.rules => reject",
        "'RCVD_IN_PBL' not in spam.rules => reject",
        "virus.status == 'infected' => reject",
        "virus.name == 'Heuristics.Phishing' => reject",
        "virus.kind == 'heuristic' => reject",
        "virus.kind != 'malware' => reject",
        "virus.kind in ('malware', 'heuristic') => reject",
        "virus.status == 'infected' or virus.kind == 'malware' => reject",
        "virus.status == 'infected' and not (virus.kind == 'malware') => reject",
        "virus.status == 'infected' and (virus.kind == 'pua' or early_talker) => reject",
        "virus.kind == 'malware' and spam.score >= 5 => reject",
        "early_talker => tag symbol=A\nspam.score >= 5 => tag symbol=A\n'A' in tags => reject",
        "spam.score >= 5 => tag symbol=A\n'A' not in tags => reject",
        "spam.score >= 5 => tag symbol=A\n'A' in tags => tag symbol=B\n'B' in tags or early_talker => defer",
        "spam.score >= 5 => tag symbol=A\n'A' in tags => accept\nearly_talker => reject",
        "virus.status == 'clean' => accept\nvirus.kind == 'malware' => reject",
        "spam.score >= 5 => file\nmessage.size > 1 => defer",
        "spam.score >= 5 => file\nearly_talker => accept\nmessage.size > 1 => defer",
        "spam.content_score < 1 => reject",
        "not (spam.content_score >= 8) => reject",
        "5 > spam.content_score => defer",
        "spam.content_score == 6 => reject",
        "spam.content_score != 0 => reject",
        "spam.content_score in [0, 6] => reject",
        "3 <= spam.content_score < 8 => reject",
        "spam.content_score >= 8 and spam.content_score < 20 => reject",
        "spam.content_score >= 5 => accept\nearly_talker => reject",
        "spam.content_score >= 5 => file\nspam.content_score >= 2 => reject",
        "not spam.content_score < 5 => accept\nearly_talker => reject",
        "spam.content_score >= 5 => tag symbol=A\n'A' not in tags => reject",
        "spam.content_score >= 5 => tag symbol=A\n'A' in tags => accept\nearly_talker => reject",
        "spam.content_score < 5 => tag symbol=A\n'A' in tags => reject",
        "spam.content_score < 5 => tag symbol=A\n'A' not in tags => tag symbol=B\n'B' not in tags => reject",
        "spam.content_score >= 5 => tag symbol=A\nspam.content_score < 1 => tag symbol=A\n'A' in tags => reject",
        "not (virus.kind == 'malware') => reject",
        "virus.kind != 'heuristic' => reject",
        "virus.kind not in ('malware', 'pua') => reject",
        "not (virus.kind == 'malware' and virus.name != 'X') => reject",
        "virus.kind == 'malware' or virus.name == 'X' => reject",
        "virus.kind != 'malware' and virus.status == 'infected' => reject",
        "virus.kind == 'malware' => accept\nearly_talker => reject",
        "virus.kind == 'malware' => file\nvirus.kind in ('malware', 'pua') => reject",
        "virus.kind == 'malware' => tag symbol=A\n'A' not in tags => reject",
        "virus.kind == 'malware' => tag symbol=A\n'A' not in tags and early_talker => reject",
        "virus.kind != 'malware' => tag symbol=A\n'A' in tags => reject",
        "virus.status == 'infected' => tag symbol=A\n'A' in tags and virus.kind == 'malware' => reject",
    ],
)
def test_no_way_around_loads(content: str) -> None:
    assert "Received headers" in _refused(content)


@pytest.mark.parametrize(
    "content",
    [
        "virus.kind == 'malware' => reject",
        "'malware' == virus.kind => reject",
        "virus.kind in ('malware', 'pua') => reject",
        "virus.status == 'infected' and virus.kind == 'malware' => reject",
        "virus.status == 'infected' and (virus.kind == 'malware' or virus.kind == 'pua') => reject",
        "virus.kind == 'malware' and not virus.name == 'Win.Known' => reject",
        "(virus.kind == 'malware' and virus.name != 'X') or spam.content_score >= 20 => reject",
        "spam.content_score >= 15 => reject\nspam.score >= 5 => file",
        "spam.score >= 5 => tag symbol=A\n'A' in tags => file\nspam.score >= 3 => accept",
        "spam.content_score >= 5 => tag symbol=A\n'A' in tags => reject",
        "spam.score >= 5 => tag symbol=A\nearly_talker => reject",
        "message.size > 1000000 => accept\nspam.content_score >= 15 => reject",
        "message.size > 1000000 => reject",
        "not (spam.content_score < 15) => reject",
        "15 <= spam.content_score => reject",
        "spam.content_score >= 15 => reject\nspam.content_score >= 5 and early_talker => defer",
        "spam.content_score < 1 => accept\nearly_talker => reject",
        "not (spam.content_score >= 1) => file\nmessage.size > 1000000 => reject",
        "spam.content_score < 5 => tag symbol=A\n'A' not in tags => reject",
        "spam.content_score < 5 => tag symbol=A\n'A' in tags => accept\nearly_talker => reject",
        "spam.content_score >= 5 => tag symbol=A\nspam.content_score >= 9 => tag symbol=A\n'A' in tags => reject",
        "spam.score >= 5 => tag symbol=A\nspam.score >= 5 => tag symbol=B\nearly_talker => reject",
        "virus.kind != 'malware' => accept\nearly_talker => reject",
        "not (virus.kind == 'malware' or virus.kind == 'pua') => accept\nspam.content_score >= 5 => reject",
        "not (virus.kind != 'malware' or virus.name == 'X') => reject",
        "virus.kind == 'malware' => tag symbol=A\n'A' in tags and virus.kind == 'malware' => reject",
        "virus.kind == 'malware' => reject\nearly_talker => reject\nvirus.status == 'infected' => file",
    ],
)
def test_what_does_not_rest_on_received_evidence_loads(content: str) -> None:
    rules(content=content)


def test_the_message_says_which_way_is_wrong() -> None:
    message = _refused("spam.content_score >= 15 or spam.content_score < 1 => reject")
    assert message.count("policy.yaml:") == 1
    assert "policy.yaml:18:58: rule 'content 1' may not reject by `spam.content_score` as it is used here" in message
    assert (
        "keeps the negative points of SpamAssassin rules that look at Received headers, which can lower it" in message
    )
    assert "hint: ask for more of it, by `>=` or `>` and without `not`" in message


def test_a_tag_that_moves_two_ways_is_told_by_the_rule_that_matters() -> None:
    content = "spam.content_score >= 5 => tag symbol=A\nspam.content_score < 1 => tag symbol=A\n'A' in tags => reject"
    message = _refused(content)
    assert "line 20: rule 'content 3' says reject if 'A' in tags" in message
    assert "line 19: rule 'content 2' gives the tag A by `spam.content_score`" in message
    assert "line 18" not in message


def test_a_rule_of_the_envelope_never_moves() -> None:
    """What let the message through the envelope is the same with Received lines and without."""
    rules("helo.is_address => accept\nsender.is_null => tag symbol=A", "'A' not in tags and early_talker => reject")


class TestAScannerThatReceivedLinesSlowDown:
    """Up, but without an answer for this message: asking again later is no better."""

    def test_does_not_take_away_what_would_have_let_the_message_through(self) -> None:
        compiled = rules(content="spam.content_score < 1 => accept\nearly_talker => reject")
        assert outcome(compiled, early_talker=True, spam__score=0) == "accept"
        assert outcome(compiled, early_talker=True, spam__score="unscannable") == "accept"
        assert outcome(compiled, early_talker=True, spam__score=1) == "reject 554"

    def test_and_one_that_is_down_defers_both(self) -> None:
        compiled = rules(content="spam.content_score < 1 => accept\nearly_talker => reject")
        assert outcome(compiled, early_talker=True, spam__score="unknown") == "defer 451"

    def test_does_so_by_way_of_a_tag_too(self) -> None:
        compiled = rules(
            content="spam.content_score < 1 => tag symbol=A\n'A' in tags => file folder=Box\nearly_talker => reject"
        )
        assert outcome(compiled, early_talker=True, spam__score=0) == "file Box"
        assert outcome(compiled, early_talker=True, spam__score="unscannable") == "accept"

    def test_is_no_excuse_where_nothing_was_to_let_it_through(self) -> None:
        compiled = rules(content="early_talker => reject\nspam.content_score < 1 => accept")
        assert outcome(compiled, early_talker=True, spam__score="unscannable") == "reject 554"
        compiled = rules(content="sender.is_null => accept\nearly_talker => reject\nspam.score >= 5 => file")
        assert outcome(compiled, early_talker=True, spam__score="unscannable") == "reject 554"


def test_a_rule_that_received_lines_only_switch_off_is_not_asked_who_is_deferred() -> None:
    """The same is deferred whether the rule fires, does not, or cannot be told."""
    compiled = rules(
        content="spam.content_score < 5 => file folder=Box\nvirus.kind == 'malware' and early_talker => reject",
        more=UNAVAILABLE.replace("spamassassin: {down: deliver", "spamassassin: {down: defer"),
    )
    for score in (0, 9, "unscannable"):
        assert outcome(compiled, spam__score=score, virus__status="unknown", early_talker=True) == "defer 451"
    assert outcome(compiled, spam__score=9) == "accept"


def test_a_decision_by_received_evidence_does_not_keep_a_deferral_away() -> None:
    """Else a low score would be filed and a lower one deferred, or the other way round: Received would decide it."""
    for condition in ("spam.score >= 5", "spam.score < 5"):
        compiled = rules(content=f"virus.kind == 'malware' => reject\n{condition} => file")
        assert outcome(compiled, virus__status="unknown", spam__score=9) == "defer 451"
        assert outcome(compiled, virus__status="unknown", spam__score=1) == "defer 451"


def test_a_decision_by_other_evidence_does_keep_it_away() -> None:
    compiled = rules(content="message.size < 100 => file\nvirus.kind == 'malware' => reject\nspam.score >= 5 => file")
    assert outcome(compiled, virus__status="unknown", message__size=10) == "file Junk"
