"""The sample: who is let in, that it is the same clients every time, and that nothing but a refusal is touched."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mailguard.facts import Client, ClientAddress, Known, Message, SpamResult, VirusResult
from mailguard.policy.sample import Sample
from mailguard.positions import Problems
from mailguard.verdict import Action
from tests.unit.hindsight.test_judging import CLEAN, client, envelope, listed
from tests.unit.policy.support import LISTS, UNAVAILABLE, rules

SAMPLING = "sample: {share: 1, folder: Suspect}\n" + UNAVAILABLE + LISTS
REFUSE = "dnsbl.score >= 4 => reject"


def clients(count: int) -> list[ClientAddress]:
    return [ClientAddress.parse(f"198.18.{number // 250}.{number % 250}") for number in range(count)]


def test_a_share_of_the_clients_is_held_and_the_same_ones_always() -> None:
    sample = Sample(0.1)
    held = [sample.holds(each, "a" * 64) for each in clients(2000)]
    assert 150 < sum(held) < 250
    assert held == [sample.holds(each, "a" * 64) for each in clients(2000)]
    assert held != [sample.holds(each, "b" * 64) for each in clients(2000)]


def test_none_and_all() -> None:
    assert not any(Sample(0.0).holds(each, "k") for each in clients(500))
    assert all(Sample(1.0).holds(each, "k") for each in clients(500))


def test_an_ipv6_customer_is_one_client() -> None:
    sample = Sample(0.5)
    for number in range(50):
        one, other = (ClientAddress.parse(f"2001:db8:{number}::{last}") for last in ("1", "ffff:2"))
        assert sample.holds(one, "k") == sample.holds(other, "k")


def test_what_would_be_refused_is_filed_and_says_so() -> None:
    ours = rules(REFUSE, more=SAMPLING)
    who = client(black=listed(2))
    refused = ours.envelope(who, envelope())
    spared = ours.sampled(who, refused)
    assert refused.action is Action.REJECT
    assert (spared.action, spared.folder, spared.reply, spared.sampled) == (Action.FILE, "Suspect", None, True)
    assert (spared.observed, spared.rule, spared.trace) == (refused, refused.rule, refused.trace)


@pytest.mark.parametrize("rule", ["dnsbl.score >= 4 => defer", "dnsbl.score >= 4 => file folder=Junk"])
def test_nothing_but_a_refusal_is_sampled(rule: str) -> None:
    ours = rules(f"{rule}\nearly_talker => reject", more=SAMPLING)
    who = client(black=listed(2))
    verdict = ours.envelope(who, envelope())
    assert ours.sampled(who, verdict) is verdict
    postmaster = ours.envelope(replace(who, early_talker=Known(True)), envelope("postmaster@example.com"))
    assert ours.sampled(who, postmaster) is postmaster


def content(who: Client, message: Message) -> Action:
    ours = rules(REFUSE, "virus.kind == 'malware' => reject\nspam.score >= 5 => file folder=Junk", more=SAMPLING)
    return ours.content(who, envelope(), message, ours.sampled(who, ours.envelope(who, envelope()))).action


def test_malware_is_refused_all_the_same() -> None:
    who = client(black=listed(2))
    infected = Message(2048, Known(VirusResult("Win.X")), Known(SpamResult(0.0, 0.0)))
    assert (content(who, infected), content(who, CLEAN)) == (Action.REJECT, Action.FILE)


@pytest.mark.parametrize(
    ("sample", "error"),
    [
        ("{share: 1.5}", "share"),
        ("{share: -0.1}", "share"),
        ("{folder: Junk}", "share"),
        ("{share: 0.1, folder: ../x}", "can't be a folder"),
        ("{share: 0.1}", "none of them does"),
    ],
)
def test_a_sample_that_means_nothing_does_not_load(sample: str, error: str) -> None:
    with pytest.raises(Problems, match=error):
        rules("dnsbl.score >= 4 => defer", more=f"sample: {sample}\n" + UNAVAILABLE + LISTS)


def test_there_is_none_unless_the_policy_says_so() -> None:
    ours, who = rules(REFUSE), client(black=listed(2))
    assert ours.sample.share == 0
    assert ours.sampled(who, ours.envelope(who, envelope())).action is Action.REJECT
