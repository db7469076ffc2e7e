"""What is counted of lists, against records whose numbers are known."""

from __future__ import annotations

from typing import Any

import pytest

from mailguard.facts import Answer, Codes, Message
from mailguard.hindsight.judging import Judged
from mailguard.hindsight.worth import Lists, Needs, as_json, weighed
from mailguard.journal.form import Record
from mailguard.policy.engine import CompiledPolicy
from tests.unit.hindsight.records import recorded
from tests.unit.hindsight.test_judging import CLEAN, client, compared, envelope, listed
from tests.unit.journal.conftest import reference
from tests.unit.policy.support import LISTS, UNAVAILABLE, rules

TWO = "dnsbl.score >= 6 and dnsbl.listed_by >= 2 => reject"
OBSERVING = rules(TWO, "spam.score >= 5 => file folder=Junk", more="mode: observe\n" + UNAVAILABLE + LISTS)
REFUSING = rules(TWO)


def record(
    number: int, policy: CompiledPolicy = REFUSING, message: Message = CLEAN, **answers: Answer[Codes]
) -> Record:
    """The record of a connection of its own."""
    made = recorded(policy, client(**answers), envelope(), message, number)
    made["client"]["dnsbl_seconds"] = dict.fromkeys(("black", "grey", "white"), number / 1000)
    return made


def counted(*records: Record, needs: CompiledPolicy | None = None) -> Lists:
    return weighed(records, Needs(needs) if needs else None)


def test_hits_are_counted_alone_and_together_once_a_connection() -> None:
    both = record(3, black=listed(2), grey=listed(2))
    again = both | {"ref": f"{reference(3)}-2"}
    found = counted(record(1), record(2, black=listed(2)), both, again, record(4, grey=listed(2)), needs=REFUSING)
    black, grey, white = (found.of(name) for name in ("black", "grey", "white"))
    assert [(w.asked, w.listed, w.alone) for w in (black, grey, white)] == [(4, 2, 1), (4, 2, 1), (4, 0, 0)]
    assert (found.overlap("grey", "black"), found.overlap("black", "white")) == (1, 0)
    assert black.zone == "black.example"


def test_who_is_welcome_elsewhere_is_listed_alone_all_the_same() -> None:
    found = counted(record(1, black=listed(2), white=listed(1)), needs=REFUSING)
    assert found.of("black").alone == 1
    assert counted(record(1, black=listed(2), white=listed(1))).of("black").alone == 0  # no policy says which is which


def test_unknown_answers_are_counted_by_kind_and_those_of_who_was_not_asked_are_none() -> None:
    made = record(1)
    unknown = {"cause": "down"}
    made["client"]["dnsbl"] = {
        "black": {"unknown": "timeout: no answer by the deadline", **unknown},
        "grey": {"unknown": "bad answer: 1.2.3.4 is outside 127.0.0.0/8", **unknown},
        "white": {"unknown": "ill: it lists everybody", **unknown},
        "new": {"unknown": "not asked", **unknown},
    }
    del made["client"]["dnsbl_seconds"]["white"]
    found = counted(made)
    assert {name: dict(worth.unknown) for name, worth in found.worth.items()} == {
        "black": {"timeout": 1},
        "grey": {"bad_answer": 1},
        "white": {"ill": 1},
    }
    assert [found.of(name).asked for name in ("black", "grey", "white")] == [1, 1, 0]


def test_latency_is_told_by_percentiles_to_the_millisecond() -> None:
    found = counted(*(record(number) for number in range(1, 101)))
    assert (found.of("black").seconds(0.5), found.of("black").seconds(0.95)) == (0.05, 0.095)
    old = record(1)
    del old["client"]["dnsbl_seconds"]
    assert counted(old).of("black").seconds(0.5) is None
    assert counted(old).of("black").asked == 1


def test_a_list_was_needed_where_there_is_no_refusal_without_it() -> None:
    found = counted(
        record(1, black=listed(2), grey=listed(2)),  # 4 + 2.5: both needed
        record(2, black=listed(3), grey=listed(2)),  # 6 + 2.5: both needed, for two must agree
        record(3, black=listed(3)),  # alone: not refused
        needs=REFUSING,
    )
    assert (found.refusals, found.of("black").needed, found.of("grey").needed) == (2, 2, 2)
    one = rules("dnsbl.score >= 4 => reject")
    spare = counted(record(1, black=listed(3), grey=listed(2)), needs=one)
    assert (spare.refusals, spare.of("black").needed, spare.of("grey").needed) == (1, 1, 0)
    assert counted(record(1, black=listed(3))).refusals is None


def spam(score: float) -> dict[str, Any]:
    return {"score": score, "content_score": score, "required": 5.0, "rules": {}, "tainted": [], "truncated": False}


@pytest.mark.parametrize(
    ("changes", "clean"),
    [
        ({}, 1),
        ({"spam": spam(4.99)}, 1),
        ({"spam": spam(5.0)}, 0),
        ({"virus": {"name": "X", "kind": "malware"}}, 0),
        ({"spam": {"unknown": "down", "cause": "down"}}, 0),
        ({"virus": {"unknown": "down", "cause": "down"}}, 0),
    ],
)
def test_false_positives_are_told_of_what_observe_mode_let_in(changes: dict[str, Any], clean: int) -> None:
    found = counted(record(1, OBSERVING, black=listed(2), grey=listed(2)) | changes)
    black = found.of("black")
    assert (black.measured, black.clean, found.of("white").measured) == (1, clean, 0)


def test_what_was_refused_or_was_never_to_be_says_nothing_of_false_positives() -> None:
    found = counted(record(1, black=listed(2), grey=listed(2)), record(2, OBSERVING, black=listed(2)))
    assert found.of("black").measured == 0
    assert as_json(found)["lists"]["black"]["false_positives"] is None


def test_relays_of_ours_and_records_without_a_client_are_left_out() -> None:
    ours = record(1, black=listed(2))
    ours["client"]["own_relay"] = True
    assert counted(ours, {"v": 1, "time": "", "event": "command refused", "ref": "R"}).worth == {}


def test_a_record_of_another_form_is_counted_as_such() -> None:
    assert counted(record(1) | {"client": 7}, record(2)).unreadable == 1


def test_what_two_segments_say_is_added_up() -> None:
    one, other = counted(record(1, black=listed(2))), counted(record(2, black=listed(2), grey=listed(2)))
    whole = Lists()
    whole.take(one)
    whole.take(other)
    assert as_json(whole) == as_json(counted(record(1, black=listed(2)), record(2, black=listed(2), grey=listed(2))))


def test_false_positives_are_told_of_what_the_sample_let_in_and_a_replay_takes_it_for_refused() -> None:
    sampling = rules(TWO, more="sample: {share: 1}\n" + UNAVAILABLE + LISTS)
    made = record(1, sampling, black=listed(2), grey=listed(2))
    assert (made["event"], made["envelope"]["sampled"], made["content"]["folder"]) == ("message", True, "Junk")
    black = counted(made).of("black")
    assert (black.measured, black.clean) == (1, 1)
    assert compared(made, sampling).judged is Judged.SAME
    assert compared(made, rules("dnsbl.score >= 9 => reject")).judged is Judged.CHANGED
