"""Received evidence never blocks: not in a condition, not behind a rule, not behind a tag, however hidden."""

from __future__ import annotations

import pytest

from mailguard.positions import Problems
from tests.unit.policy.support import outcome, rules


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
    ],
)
def test_what_does_not_rest_on_received_evidence_loads(content: str) -> None:
    rules(content=content)


def test_a_decision_by_received_evidence_does_not_keep_a_deferral_away() -> None:
    """Else a low score would be filed and a lower one deferred, or the other way round: Received would decide it."""
    for condition in ("spam.score >= 5", "spam.score < 5"):
        compiled = rules(content=f"virus.kind == 'malware' => reject\n{condition} => file")
        assert outcome(compiled, virus__status="unknown", spam__score=9) == "defer 451"
        assert outcome(compiled, virus__status="unknown", spam__score=1) == "defer 451"


def test_a_decision_by_other_evidence_does_keep_it_away() -> None:
    compiled = rules(content="message.size < 100 => file\nvirus.kind == 'malware' => reject\nspam.score >= 5 => file")
    assert outcome(compiled, virus__status="unknown", message__size=10) == "file Junk"
