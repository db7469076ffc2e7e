"""Warnings about DNSBLs: out of reach, one alone, the same listings twice, observed while a rule is in force."""

from __future__ import annotations

import pytest

from mailguard.policy.analysis import Kind
from mailguard.policy.analysis.alone import MAX_PAIRED
from mailguard.policy.analysis.zones import COMPOSITIONS, plain
from tests.unit.policy.analysis.support import findings, of_rules
from tests.unit.policy.support import LISTS, UNAVAILABLE, policy, rules

WEIGHTS = "weights: {reverse_dns.missing: 1.5, early_talker: -1}\n"
PROFILES = (
    "profiles: {a: {x: 50}, b: {x: 6}}\nrecipients: [{match: ['a@b.c'], profile: a}, {match: ['*'], profile: b}]\n"
)


class TestOutOfReach:
    """With the lists of ``support``: 4 or 6, 2.5, and -1 or -4."""

    @pytest.mark.parametrize(
        ("condition", "message"),
        [
            ("dnsbl.score >= 9", "never holds: all lists together weigh -4 at the least and 8.5 at the most"),
            ("9 < dnsbl.score", "`9 < dnsbl.score` never holds"),
            ("dnsbl.score == 20", "`dnsbl.score == 20` never holds"),
            ("dnsbl.score < -4", "`dnsbl.score < -4` never holds"),
            ("not dnsbl.score < 9", "not `dnsbl.score < 9` never holds"),
            ("dnsbl.listed_by >= 3", "`dnsbl.listed_by >= 3` never holds: lists of positive weight: 2 at the most"),
            ("dnsbl.listed_by < 0", "`dnsbl.listed_by < 0` never holds"),
            ("client.score >= 10.5", "all lists and weights together come to -5 at the least and 10 at the most"),
            ("sender.is_null or dnsbl.score >= 9", "`dnsbl.score >= 9` never holds"),
            ("dnsbl.score > profile.x and profile.x > 8", "`dnsbl.score > profile.x` never holds"),
        ],
    )  # fmt: skip
    def test_a_threshold_that_no_sum_reaches(self, condition: str, message: str) -> None:
        (found,) = of_rules(Kind.OUT_OF_REACH, f"{condition} => file", more=LISTS + WEIGHTS + PROFILES)
        assert message in found

    @pytest.mark.parametrize(
        "condition",
        [
            "dnsbl.score >= 8.5",
            "dnsbl.score <= -4",
            "dnsbl.listed_by == 2",
            "client.score >= 10",
            "client.score <= -5",
            "dnsbl.score > profile.x",
            "not dnsbl.score >= 20",
        ],
    )
    def test_a_threshold_that_a_sum_reaches(self, condition: str) -> None:
        """What one profile has out of reach another may have within."""
        assert of_rules(Kind.OUT_OF_REACH, f"{condition} => file", more=LISTS + WEIGHTS + PROFILES) == []

    def test_it_is_told_once(self) -> None:
        found = rules("dnsbl.score >= 20 => file", more=UNAVAILABLE + LISTS).warnings
        assert [f.kind for f in found if f.kind in (Kind.OUT_OF_REACH, Kind.NEVER_MATCHES)] == [Kind.OUT_OF_REACH]

    def test_weights_of_more_digits_than_are_added(self) -> None:
        """Of 0.0000014 three times are 0.000003, each sum rounded to six digits; a bound allows for that."""
        answers = "answers: {127.0.0.2: {weight: 0.0000014}}"
        lists = "dnsbl:\n" + "".join(f"  l{n}: {{zone: l{n}.example, {answers}}}\n" for n in range(3))
        assert of_rules(Kind.OUT_OF_REACH, "dnsbl.score >= 0.0000042 => file", more=lists) == []
        assert of_rules(Kind.OUT_OF_REACH, "dnsbl.score >= 0.00001 => file", more=lists)

    def test_seven_tenths_and_one_are_eight(self) -> None:
        """Binary fractions do not keep 0.7 + 0.1 from 0.8."""
        lists = "dnsbl: {a: {zone: a.example, answers: {127.0.0.2: {weight: 0.7}}}}\nweights: {early_talker: 0.1}\n"
        assert of_rules(Kind.OUT_OF_REACH, "client.score >= 0.8 => file", more=lists) == []
        assert of_rules(Kind.OUT_OF_REACH, "client.score >= 0.81 => file", more=lists)


class TestOneList:
    @pytest.mark.parametrize(
        ("condition", "by"),
        [
            ("dnsbl.score >= 4", "`black` by 127.0.0.2"),
            ("dnsbl.score >= 5", "`black` by 127.0.0.3"),
            ("dnsbl.score >= 2", "`black` by 127.0.0.2, `grey` by 127.0.0.2"),
            ("client.score >= 6", "`black` by 127.0.0.3"),
            ("dnsbl.listed_by >= 1", "`black` by 127.0.0.2, `grey` by 127.0.0.2"),
            ("'black/SPAM' in dnsbl.labels", "`black` by 127.0.0.2"),
            ("'grey.example' in dnsbl.zones", "`grey` by 127.0.0.2"),
            ("'black/SPAM' in dnsbl.labels and dnsbl.score >= 6", "`black` by 127.0.0.2 and 127.0.0.3"),
            ("dnsbl.score >= 4 and not sender.is_null", "`black` by 127.0.0.2"),
            ("dnsbl.score >= 4 and sender.is_null", "`black` by 127.0.0.2"),
            ("dnsbl.score >= 4 and sender.domain == 'a.example'", "`black` by 127.0.0.2"),
            ("dnsbl.score >= 4 and client.ip != '198.18.7.7'", "`black` by 127.0.0.2"),
            ("dnsbl.score >= 4 and not early_talker", "`black` by 127.0.0.2"),
            ("dnsbl.score >= 4 or early_talker", "`black` by 127.0.0.2"),
            ("dnsbl.score >= profile.x", "`black` by 127.0.0.3"),
        ],
    )
    def test_a_list_that_gets_a_client_refused_alone(self, condition: str, by: str) -> None:
        found = of_rules(Kind.ONE_LIST, f"{condition} => reject", more=LISTS + WEIGHTS + PROFILES)
        assert found == [f"rule 'envelope 1' refuses where one list alone says so: {by}"]

    @pytest.mark.parametrize(
        "line",
        [
            "dnsbl.score >= 4 and dnsbl.listed_by >= 2 => reject",
            "dnsbl.score >= 6.5 => reject",
            "dnsbl.score >= 4 => file",
            "dnsbl.score >= 4 => defer",
            "dnsbl.score >= 4 and early_talker => reject",
            "dnsbl.score >= 4 and matches(reverse_dns.name, 'dsl') => reject",
            "dnsbl.score >= 4 and client.ip in ['198.18.7.0/24'] => reject",
            "dnsbl.score >= 4 and reverse_dns.missing => reject",
            "'black/SPAM' in dnsbl.labels and 'grey.example' in dnsbl.zones => reject",
            "client.score >= 6.5 => reject",
            "early_talker => reject",
            "client.ip == '198.18.7.7' => reject",
            "dnsbl.score <= 0 and sender.is_null => reject",
        ],
    )
    def test_a_list_that_does_not(self, line: str) -> None:
        assert of_rules(Kind.ONE_LIST, line, more=LISTS + WEIGHTS) == []

    def test_it_is_found_behind_a_tag(self) -> None:
        lines = "dnsbl.score >= 4 => tag symbol=A\n'A' in tags => tag symbol=B"
        assert of_rules(Kind.ONE_LIST, lines, "'B' in tags => reject")
        assert not of_rules(Kind.ONE_LIST, lines, "'B' in tags and spam.content_score >= 5 => reject")
        assert not of_rules(Kind.ONE_LIST, lines, "'B' not in tags and spam.content_score >= 5 => reject")

    def test_every_entry_of_a_table_is_tried(self) -> None:
        """Also one that hardly any code falls under, and one of a table that is too large for pairs."""
        answers = ", ".join(f"127.0.0.{n}: {{weight: 1, label: L{n}}}" for n in range(2, MAX_PAIRED + 3))
        lists = (
            f"dnsbl: {{a: {{zone: a.example, answers: {{{answers}, 127.0.0.0-255: {{weight: 6, label: REST}}, "
            '"127.0.*.1": {weight: 7, label: STAR}}}}\n'
        )
        for label in (f"L{MAX_PAIRED + 2}", "REST", "STAR"):
            assert of_rules(Kind.ONE_LIST, f"'a/{label}' in dnsbl.labels => reject", more=lists), label


ZONES = """
dnsbl:
  one: {{zone: {0}, answers: {{{1}: {{weight: 4}}}}}}
  other: {{zone: {2}, answers: {{{3}: {{weight: 3}}}}}}
rules: {{envelope: [{{name: a, if: dnsbl.score >= 3 and dnsbl.listed_by >= 1, then: file, folder: Junk}}]}}
"""


class TestOverlap:
    @pytest.mark.parametrize(
        ("one", "codes", "other", "others", "shared"),
        [
            ("zen.spamhaus.org", "127.0.0.2-11", "xbl.spamhaus.org", "127.0.0.4", "Spamhaus XBL"),
            ("pbl.spamhaus.org", "127.0.0.10-11", "zen.spamhaus.org", "127.0.0.11", "Spamhaus PBL"),
            ("zen.spamhaus.org", "127.0.0.2-11", "sbl.spamhaus.org", "127.0.0.2-3", "Spamhaus CSS, Spamhaus SBL"),
            ("zen.spamhaus.org", "127.0.0.4", "cbl.abuseat.org", "127.0.0.2", "Spamhaus XBL"),
            ("Zen.Spamhaus.org", "127.0.0.4", "abc123.xbl.dq.spamhaus.net", "127.0.0.4", "Spamhaus XBL"),
            ("k.zen.dq.spamhaus.net", "127.0.0.2", "zen.spamhaus.org", "127.0.0.2", "Spamhaus SBL"),
            ("k.combined.mail.abusix.zone", "127.0.0.4", "k.exploit.mail.abusix.zone", "127.0.0.4", "Abusix exploit"),
            ("all.spamrats.com", "127.0.0.36-38", "noptr.spamrats.com", "127.0.0.37", "SpamRATS noptr"),
            ("bl.mailspike.net", "127.0.0.2", "z.mailspike.net", "127.0.0.2", "Mailspike Z"),
            ("b.barracudacentral.org", "127.0.0.2", "bb.barracudacentral.org", "127.0.0.2", "Barracuda reputation"),
        ],
    )
    def test_two_that_hold_the_same(self, one: str, codes: str, other: str, others: str, shared: str) -> None:
        (found,) = [f for f in findings(ZONES.format(one, codes, other, others)) if f.kind is Kind.OVERLAP]
        assert found.problem.message == f"the lists `one` and `other` both hold {shared}: one listing counts twice"
        assert found.problem.source_line.startswith("  other:")

    @pytest.mark.parametrize(
        ("one", "codes", "other", "others"),
        [
            ("zen.spamhaus.org", "127.0.0.2-3", "xbl.spamhaus.org", "127.0.0.4"),
            ("sbl.spamhaus.org", "127.0.0.2", "xbl.spamhaus.org", "127.0.0.4"),
            ("zen.spamhaus.org", "127.0.0.2-11", "bl.spamcop.net", "127.0.0.2"),
            ("zen.spamhaus.org", "127.0.0.2-11", "xbl.spamhaus.org.example", "127.0.0.4"),
            ("zen.spamhaus.org", "127.0.0.2-11", "dbl.spamhaus.org", "127.0.1.2"),
            ("k.black.mail.abusix.zone", "127.0.0.2", "k.dynamic.mail.abusix.zone", "127.0.0.11"),
        ],
    )
    def test_two_that_do_not(self, one: str, codes: str, other: str, others: str) -> None:
        text = ZONES.format(one, codes, other, others)
        assert [f for f in findings(text) if f.kind is Kind.OVERLAP] == []

    def test_what_speaks_for_a_client_does_not_count(self) -> None:
        text = ZONES.format("zen.spamhaus.org", "127.0.0.4", "xbl.spamhaus.org", "127.0.0.4")
        assert [f for f in findings(text.replace("weight: 3", "weight: -3")) if f.kind is Kind.OVERLAP] == []

    def test_zones_are_written_as_they_are_looked_up(self) -> None:
        assert all(zone == zone.lower() and plain(zone) == zone for zone in COMPOSITIONS)
        assert plain("k.sbl-xbl.dq.spamhaus.net") == "sbl-xbl.spamhaus.org"


OBSERVED = LISTS.replace("zone: grey.example,", "zone: grey.example, mode: observe,")


class TestObserved:
    @pytest.mark.parametrize(
        "line",
        [
            "'grey/127.0.0.2' in dnsbl.labels => reject",
            "'grey.example' in dnsbl.zones => reject",
            "dnsbl.listed_by >= 2 => reject",
            "dnsbl.score >= 8 => reject",
            "'black/SPAM' in dnsbl.labels or 'grey/127.0.0.2' in dnsbl.labels => reject",
        ],
    )
    def test_a_rule_in_force_that_refuses_by_it(self, line: str) -> None:
        found = of_rules(Kind.OBSERVED, line, more=OBSERVED)
        assert found == ["rule 'envelope 1' is in force and refuses by a list that is only observed: `grey`"]

    @pytest.mark.parametrize(
        "line",
        [
            "'grey/127.0.0.2' in dnsbl.labels => reject mode=observe",
            "'grey/127.0.0.2' in dnsbl.labels => file",
            "'grey/127.0.0.2' not in dnsbl.labels and early_talker => reject",
            "dnsbl.listed_by >= 1 => reject",
            "dnsbl.score >= 6 => reject",
            "'black/SPAM' in dnsbl.labels => reject",
        ],
    )
    def test_one_that_others_make_refuse_or_that_is_observed_too(self, line: str) -> None:
        assert of_rules(Kind.OBSERVED, line, more=OBSERVED) == []

    def test_none_is_observed(self) -> None:
        assert of_rules(Kind.OBSERVED, "'grey/127.0.0.2' in dnsbl.labels => reject", more=LISTS) == []

    def test_in_a_policy_that_is_observed_a_rule_may_be_in_force(self) -> None:
        text = "mode: observe\n" + OBSERVED + "unavailable: {dnsbl: ignore}\nrules: {envelope: [{name: a, if: "
        text += "dnsbl.listed_by >= 2, then: reject"
        assert [f.kind for f in policy(text + ", mode: enforce}]}").warnings if f.kind is Kind.OBSERVED]
        assert not [f.kind for f in policy(text + "}]}").warnings if f.kind is Kind.OBSERVED]
