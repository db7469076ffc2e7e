"""Which way Received lines move a condition: what ``policy.direction`` says, and that it holds for any condition."""

from __future__ import annotations

from functools import reduce
from itertools import product
from operator import or_
from typing import Final

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mailguard.facts import (
    FACTS,
    Client,
    ClientAddress,
    Direction,
    Envelope,
    FactSpec,
    FactType,
    Helo,
    Known,
    Mailbox,
    Message,
    Provenance,
    Stage,
)
from mailguard.policy.conditions import Scope, parse_condition
from mailguard.policy.direction import moves
from mailguard.policy.expression import Condition, Doubt, View
from mailguard.policy.reading import Reading, Scales
from mailguard.policy.truth import Members, Truth
from tests.unit.policy.evidence import SLOW, SPAM, VIRUS, spam_may_become, virus_may_become
from tests.unit.policy.strategies import CONTENT_ATOMS, conditions

FREE, FALLS, RISES, ANY = Direction.FREE, Direction.FALLS, Direction.RISES, Direction.ANY
TAG_DIRECTIONS: Final = {"FALLING": FALLS, "RISING": RISES, "LOOSE": ANY}
SCOPE = Scope(
    Stage.CONTENT,
    profile={"at": FactType.NUMBER, "strict": FactType.BOOLEAN, "kind": FactType.TEXT},
    tags=frozenset({*TAG_DIRECTIONS, "FIRM"}),
)
SCALES = Scales()
CLIENT = Client(ClientAddress.parse("198.18.0.1"), early_talker=Known(False))
ENVELOPE = Envelope(Helo("client.example.org"), Mailbox("a", "example.org"), Mailbox("b", "example.com"))


def direction(text: str) -> Direction:
    found = moves(parse_condition(text, SCOPE), TAG_DIRECTIONS)
    return reduce(or_, (move.direction for move in found), FREE)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("true", FREE),
        ("early_talker and not sender.is_null", FREE),
        ("message.size > 1000 or dnsbl.score <= 2 or profile.strict", FREE),
        ("spam.content_score >= 5", FALLS),
        ("spam.content_score > profile.at", FALLS),
        ("5 <= spam.content_score", FALLS),
        ("spam.content_score < 5", RISES),
        ("spam.content_score <= 5", RISES),
        ("5 > spam.content_score", RISES),
        ("not spam.content_score >= 5", RISES),
        ("not not spam.content_score >= 5", FALLS),
        ("not (early_talker or spam.content_score < 5)", FALLS),
        ("spam.content_score == 5", ANY),
        ("spam.content_score != 5", ANY),
        ("spam.content_score in [5, 6]", ANY),
        ("spam.content_score not in [5, 6]", ANY),
        ("2 < spam.content_score < 5", ANY),
        ("message.size > spam.content_score", RISES),
        ("spam.content_score >= message.size", FALLS),
        ("spam.content_score >= spam.score", ANY),
        ("spam.content_score >= 5 or spam.content_score < 1", ANY),
        ("spam.content_score >= 5 and early_talker", FALLS),
        ("spam.score >= 5", ANY),
        ("not spam.score >= 5", ANY),
        ("'X' in spam.rules", ANY),
        ("virus.name in spam.rules", ANY),
        ("virus.status == 'infected'", ANY),
        ("virus.status != 'clean'", ANY),
        ("virus.kind == 'malware'", FALLS),
        ("'pua' == virus.kind", FALLS),
        ("virus.kind in ('malware', 'pua')", FALLS),
        ("virus.kind in ('malware', 'heuristic')", ANY),
        ("virus.kind == 'heuristic'", ANY),
        ("virus.kind == ''", ANY),
        ("virus.kind == profile.kind", ANY),
        ("virus.kind != 'malware'", RISES),
        ("virus.kind not in ('malware', 'pua')", RISES),
        ("virus.kind != 'heuristic'", ANY),
        ("not (virus.kind == 'malware')", RISES),
        ("not (virus.kind != 'malware')", FALLS),
        ("virus.kind == 'malware' and virus.name != 'X'", FALLS),
        ("virus.status == 'infected' and virus.kind == 'malware'", FALLS),
        ("virus.kind == 'malware' and virus.kind in ('malware', 'pua')", FALLS),
        ("not (virus.kind == 'malware' and virus.name != 'X')", RISES),
        ("virus.kind != 'malware' or virus.name == 'X'", RISES),
        ("not (virus.kind != 'malware' or virus.name == 'X')", FALLS),
        ("not (not virus.kind == 'malware' or not virus.name == 'X')", FALLS),
        ("virus.kind == 'malware' or virus.name == 'X'", ANY),
        ("virus.kind != 'malware' and virus.name == 'X'", ANY),
        ("virus.name == 'X' and (virus.kind == 'malware' or virus.kind == 'pua')", FALLS),
        ("virus.name == 'X' and (virus.kind == 'malware' or early_talker)", ANY),
        ("virus.name == 'X' and not (virus.kind != 'malware' or early_talker)", FALLS),
        ("virus.name == 'X' and not (virus.kind != 'malware' and early_talker)", ANY),
        ("virus.kind == 'malware' and spam.content_score >= 5", FALLS),
        ("virus.kind == 'malware' and spam.content_score < 5", ANY),
        ("virus.kind == 'malware' and spam.score >= 5", ANY),
        ("(virus.kind == 'malware' and virus.name == 'X') or virus.status == 'infected'", ANY),
        ("virus.kind == 'pua' and (virus.kind != 'malware' or virus.name == 'X')", FALLS),
        ("matches(virus.name, 'X')", ANY),
        ("not matches(virus.name, 'X')", ANY),
        ("matches(virus.kind, '^malware$')", ANY),
        ("virus.kind == 'malware' and matches(virus.name, 'X')", FALLS),
        ("virus.kind == 'malware' and not matches(virus.name, 'X')", FALLS),
        ("virus.kind != 'malware' or matches(virus.name, 'X')", RISES),
        ("virus.kind == 'malware' or matches(virus.name, 'X')", ANY),
        ("matches(helo.name, 'x') and domain_of(sender.address) == recipient.domain", FREE),
        ("in_network(client.ip, '198.18.0.0/15') and spam.content_score >= 5", FALLS),
        ("domain_of(sender.address) in spam.rules", ANY),
        ("'FIRM' in tags", FREE),
        ("'FALLING' in tags", FALLS),
        ("'FALLING' not in tags", RISES),
        ("'RISING' not in tags and spam.content_score >= 5", FALLS),
        ("'FALLING' in tags and 'RISING' in tags", ANY),
        ("'LOOSE' not in tags", ANY),
    ],
)
def test_the_direction_of_a_condition(condition: str, expected: Direction) -> None:
    assert direction(condition) is expected


@pytest.mark.parametrize(
    ("type_", "declared", "condition", "expected"),
    [
        (FactType.NUMBER, RISES, "test.fact >= 5", RISES),
        (FactType.NUMBER, RISES, "test.fact < 5", FALLS),
        (FactType.NUMBER, RISES, "spam.content_score < test.fact", RISES),
        (FactType.NUMBER, RISES, "spam.content_score > test.fact", FALLS),
        (FactType.NUMBER, RISES, "test.fact == 5", ANY),
        (FactType.BOOLEAN, RISES, "test.fact", RISES),
        (FactType.BOOLEAN, RISES, "not test.fact", FALLS),
        (FactType.BOOLEAN, FALLS, "test.fact", FALLS),
        (FactType.BOOLEAN, RISES, "test.fact == true", ANY),
        (FactType.TEXTS, RISES, "'x' in test.fact", RISES),
        (FactType.TEXTS, RISES, "'x' not in test.fact", FALLS),
        (FactType.TEXTS, RISES, "virus.name in test.fact", ANY),
        (FactType.TEXTS, FALLS, "sender.local in test.fact", FALLS),
    ],
)
def test_facts_of_every_direction(
    monkeypatch: pytest.MonkeyPatch, type_: FactType, declared: Direction, condition: str, expected: Direction
) -> None:
    """No fact rises today; the rules do not know that."""
    spec = FactSpec("test.fact", type_, Stage.CONTENT, Provenance.CONTENT, 0.0, "of a test", moves=declared)
    monkeypatch.setitem(FACTS, "test.fact", spec)  # type: ignore[arg-type]
    assert direction(condition) is expected


ORDER: Final = {False: 0, None: 1, True: 2}
TAGS: Final = st.fixed_dictionaries(dict.fromkeys(TAG_DIRECTIONS, st.booleans()))
ATOMS: Final = (*CONTENT_ATOMS, *(f"'{tag}' in tags" for tag in TAG_DIRECTIONS), "sender.is_null")


def truths(condition: Condition, tags: dict[str, bool], doubt: Doubt) -> dict[tuple[int, int], Truth]:
    """What ``condition`` comes to with each answer of spamd and clamd, by their numbers in SPAM and VIRUS."""
    given_ = Members.exactly(tag for tag, there in tags.items() if there)
    found = {}
    for (s, spam), (v, virus) in product(enumerate(SPAM), enumerate(VIRUS)):
        reading = Reading(SCALES, CLIENT, ENVELOPE, Message(2048, virus, spam), given_)
        found[s, v] = condition.evaluate(View(reading, {}, doubt))
    return found


SPAM_MOVES: Final = [(a, b) for a, b in product(range(len(SPAM)), repeat=2) if spam_may_become(SPAM[a], SPAM[b])]
VIRUS_MOVES: Final = [(a, b) for a, b in product(range(len(VIRUS)), repeat=2) if virus_may_become(VIRUS[a], VIRUS[b])]


def may_become(before: dict[str, bool], after: dict[str, bool]) -> bool:
    """Whether Received lines may make ``after`` of the tags ``before``."""
    way = {(True, False): FALLS, (False, True): RISES}
    return all(way.get((before[t], after[t]), FREE) in TAG_DIRECTIONS[t] for t in TAG_DIRECTIONS)


@settings(max_examples=300)
@given(text=conditions(ATOMS, 4), before=TAGS, after=TAGS, doubt=st.sampled_from(Doubt))
def test_no_condition_moves_where_it_does_not(
    text: str, before: dict[str, bool], after: dict[str, bool], doubt: Doubt
) -> None:
    """Where it falls it never rises, in the order false, unknown, true, and the other way round.

    Where Received lines made a scanner too slow, unknown is no word on either side: then it is never true with the
    lines where it was not, nor false.
    """
    assume(may_become(before, after))
    condition, way = parse_condition(text, SCOPE), direction(text)
    without, with_ = truths(condition, before, doubt), truths(condition, after, doubt)
    for (s, t), (v, w) in product(SPAM_MOVES, VIRUS_MOVES):
        first, second = without[s, v], with_[t, w]
        slowed = (SPAM[t] == SLOW) is not (SPAM[s] == SLOW) or (VIRUS[w] == SLOW) is not (VIRUS[v] == SLOW)
        if not way & RISES:
            assert second is not True or first is True
            assert slowed or ORDER[second] <= ORDER[first]
        if not way & FALLS:
            assert second is not False or first is False
            assert slowed or ORDER[second] >= ORDER[first]
