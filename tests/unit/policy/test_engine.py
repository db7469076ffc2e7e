"""How rules decide: order, doubt, tags, observing, missing answers, recipients."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from mailguard.facts import Client, ClientAddress, DnsblZone, Known, Mailbox, Source, Unknown
from mailguard.policy.cases import decide, facts_of_case
from mailguard.policy.engine import POSTMASTER
from mailguard.policy.treatment import Treatment
from mailguard.verdict import Action, RuleOutcome, Verdict, Weight
from tests.unit.policy.support import LISTS, UNAVAILABLE, outcome, policy, rules, told


def test_the_first_rule_that_decides_decides() -> None:
    compiled = rules("sender.is_null => accept\nhelo.is_address => file folder=A\nhelo.is_address => defer")
    assert outcome(compiled, helo__is_address=True) == "file A"
    assert outcome(compiled, helo__is_address=True, sender__is_null=True) == "accept"
    assert outcome(compiled) == "accept"


def test_accept_ends_its_own_stage_only() -> None:
    compiled = rules("true => accept", "virus.kind == 'malware' => reject")
    assert outcome(compiled, virus__kind="malware") == "reject 554"


def test_what_the_envelope_filed_stays_filed_unless_the_content_is_refused() -> None:
    compiled = rules(
        "helo.is_address => file folder=First",
        "virus.kind == 'malware' => reject\nmessage.size > 9000 => accept\nspam.score >= 5 => file folder=Second",
    )
    given = {"helo__is_address": True}
    assert outcome(compiled, **given) == "file First"
    assert outcome(compiled, **given, spam__score=9) == "file First"
    assert outcome(compiled, **given, message__size=10_000) == "file First"
    assert outcome(compiled, **given, virus__kind="malware") == "reject 554"
    assert outcome(compiled, spam__score=9) == "file Second"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"dnsbl.black": "127.0.0.3"}, "reject 554"),
        ({"dnsbl.black": "127.0.0.2"}, "accept"),
        ({"dnsbl.black": "127.0.0.2", "dnsbl.grey": "127.0.0.2"}, "reject 554"),
        ({"dnsbl.black": ["127.0.0.2", "127.0.0.3"]}, "reject 554"),
        ({"dnsbl.black": "127.0.0.3", "dnsbl.white": "127.0.0.1"}, "accept"),
        ({"dnsbl.black": "127.0.0.3", "dnsbl.white": "unknown"}, "accept"),
        ({"dnsbl.black": "127.0.0.3", "dnsbl.grey": "unknown"}, "reject 554"),
        ({"dnsbl.black": "unknown", "dnsbl.grey": "unknown"}, "accept"),
        ({"dnsbl.black": "127.0.0.3", "dnsbl.white": "127.0.0.77"}, "reject 554"),
        ({"dnsbl.black": "127.255.255.254"}, "accept"),
        ({"dnsbl.black": ["127.0.0.3", "127.255.255.254"]}, "accept"),
        ({"dnsbl.black": ["127.0.0.3", "192.0.2.1"]}, "accept"),
    ],
)
def test_a_score_blocks_only_where_it_does_whatever_the_missing_lists_say(given: dict, expected: str) -> None:
    assert told(decide(rules("dnsbl.score >= 6 => reject"), given)) == expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("dnsbl.score < 7", "reject 554"),
        ("dnsbl.score < 6.5", "accept"),
        ("dnsbl.score <= 6.5", "reject 554"),
        ("dnsbl.score != 9", "reject 554"),
        ("dnsbl.score != 5", "accept"),
        ("dnsbl.score == 4", "accept"),
        ("not dnsbl.score >= 7", "reject 554"),
        ("dnsbl.score >= 0", "reject 554"),
        ("dnsbl.listed_by >= 2", "accept"),
        ("dnsbl.listed_by <= 2", "reject 554"),
        ("dnsbl.listed_by >= 1", "reject 554"),
        ("'black.example' in dnsbl.zones", "reject 554"),
        ("'grey.example' in dnsbl.zones", "accept"),
        ("'grey.example' not in dnsbl.zones", "accept"),
        ("'white.example' not in dnsbl.zones", "reject 554"),
        ("'white/127.0.0.1' not in dnsbl.labels", "accept"),
        ("'black/127.0.0.3' not in dnsbl.labels", "reject 554"),
    ],
)
def test_a_comparison_blocks_only_where_it_is_true_for_every_possible_value(condition: str, expected: str) -> None:
    """black lists with 4; grey (2.5) and white (-4) do not answer: the score is between 0 and 6.5."""
    given = {"dnsbl.black": "127.0.0.2", "dnsbl.grey": "unknown", "dnsbl.white": "unknown"}
    assert told(decide(rules(f"{condition} => reject"), given)) == expected


def test_for_filing_an_unknown_weighs_nothing() -> None:
    compiled = rules("dnsbl.score >= 4 => file")
    assert outcome(compiled, dnsbl__black="127.0.0.2", dnsbl__white="unknown") == "file Junk"
    assert outcome(compiled, dnsbl__black="unknown", dnsbl__grey="127.0.0.2") == "accept"


def test_an_accept_above_a_blocking_rule_takes_the_most_favourable_value() -> None:
    compiled = rules("dnsbl.score <= 0 => accept\ndnsbl.listed_by >= 1 => reject")
    given = {"dnsbl__black": "127.0.0.2"}
    assert outcome(compiled, **given) == "reject 554"
    assert outcome(compiled, **given, dnsbl__white="unknown") == "accept"
    assert outcome(rules("dnsbl.score > 5 => accept\ndnsbl.score > 4 => reject"), dnsbl__black="127.0.0.3") == "accept"


def test_an_accept_with_nothing_to_spare_from_takes_doubt_for_nothing() -> None:
    compiled = rules("dnsbl.score <= -3 => accept\nhelo.is_address => file")
    assert outcome(compiled, dnsbl__white="unknown", helo__is_address=True) == "file Junk"


def test_an_accept_that_lacks_an_answer_makes_a_reject_below_it_a_deferral() -> None:
    compiled = rules("reverse_dns.name == 'friend.example' => accept\nhelo.is_address => reject")
    verdict = decide(compiled, {"reverse_dns.name": "unknown", "helo.is_address": True})
    assert told(verdict) == "defer 451"
    assert verdict.reply is not None
    assert verdict.reply.enhanced == "4.3.0"
    assert outcome(compiled, helo__is_address=True) == "reject 554"


def test_a_blocking_rule_that_lacks_an_answer_softens_nothing_below_it() -> None:
    compiled = rules("early_talker => defer\nhelo.is_address => reject")
    assert outcome(compiled, early_talker="unknown", helo__is_address=True) == "reject 554"


def test_weights_of_booleans_count_and_may_be_unknown() -> None:
    more = UNAVAILABLE + LISTS + "weights: {reverse_dns.missing: 1.5, helo.is_address: 2, early_talker: -3}\n"
    compiled = rules("client.score >= 3.5 => reject\nclient.score >= 1.5 => file", more=more)
    both = {"reverse_dns__missing": True, "helo__is_address": True}
    assert outcome(compiled, **both) == "reject 554"
    assert outcome(compiled, **both, early_talker="unknown") == "file Junk"
    assert outcome(compiled, reverse_dns__missing="unknown", helo__is_address=True) == "file Junk"
    assert outcome(compiled, **both, early_talker=True) == "accept"


def test_sums_of_decimal_weights_meet_decimal_thresholds() -> None:
    more = UNAVAILABLE + "weights: {reverse_dns.missing: 0.1, helo.is_address: 0.7}\n"
    compiled = rules("client.score >= 0.8 => reject", more=more)
    assert outcome(compiled, reverse_dns__missing=True, helo__is_address=True) == "reject 554"


class TestAWhiteListAlone:
    """A policy whose only list can do nothing but speak for the client."""

    MORE = UNAVAILABLE + (
        "dnsbl:\n  dnswl: {zone: list.dnswl.example, answers: {127.0.*.0: {weight: 0}, 127.0.*.1: {weight: -1}, "
        "127.0.*.3: {weight: -4}}}\nweights: {reverse_dns.missing: 3.5}\n"
    )
    COMPILED = rules("client.score >= 3 => reject\nclient.score >= 1 => file", more=MORE)

    def test_is_asked(self) -> None:
        assert [zone.zone for zone in self.COMPILED.lists] == ["list.dnswl.example"]
        assert Source.DNSBL in self.COMPILED.sources

    @pytest.mark.parametrize(
        ("answer", "expected"),
        [
            ([], "reject 554"),
            ("127.0.5.0", "reject 554"),
            ("127.0.5.1", "file Junk"),
            ("127.0.5.3", "accept"),
            ("127.0.5.9", "reject 554"),
            ("unknown", "file Junk"),
            ("127.255.255.254", "file Junk"),
        ],
    )
    def test_lowers_the_score_and_in_doubt_refuses_nobody(self, answer: object, expected: str) -> None:
        """Unknown: it may have been -4, so that nothing is refused, and for filing it is nothing."""
        given = {"dnsbl.dnswl": answer, "reverse_dns.missing": True}
        assert told(decide(self.COMPILED, given)) == expected  # type: ignore[arg-type]

    def test_adds_nothing_to_what_lists_say_against_a_client(self) -> None:
        compiled = rules("dnsbl.listed_by >= 1 or 'list.dnswl.example' in dnsbl.zones => reject", more=self.MORE)
        for answer in ("127.0.5.1", "unknown"):
            assert outcome(compiled, dnsbl__dnswl=answer) == "accept"

    def test_welcomes_in_doubt_where_a_rule_below_would_refuse(self) -> None:
        compiled = rules("dnsbl.score <= -4 => accept\nreverse_dns.missing => reject", more=self.MORE)
        assert outcome(compiled, reverse_dns__missing=True) == "reject 554"
        assert outcome(compiled, reverse_dns__missing=True, dnsbl__dnswl="127.0.5.3") == "accept"
        assert outcome(compiled, reverse_dns__missing=True, dnsbl__dnswl="unknown") == "accept"

    def test_is_what_authentication_results_tells_of(self) -> None:
        client, _, _ = facts_of_case(self.COMPILED, {"dnsbl.dnswl": "unknown"})
        [(zone, answer)] = self.COMPILED.white_lists(client)
        assert (zone, type(answer)) == ("list.dnswl.example", Unknown)


class TestTags:
    RULES = "dnsbl.score >= 4 => tag symbol=BAD\ndnsbl.score <= -1 => tag symbol=GOOD"

    def test_a_tag_reaches_later_rules_and_stages(self) -> None:
        compiled = rules(self.RULES, "'BAD' in tags and spam.content_score >= 3 => reject")
        assert outcome(compiled, dnsbl__black="127.0.0.2", spam__score=3) == "reject 554"
        assert outcome(compiled, dnsbl__black="127.0.0.2", spam__score=2) == "accept"
        assert outcome(compiled, spam__score=3) == "accept"

    def test_a_tag_given_on_doubtful_evidence_does_not_block(self) -> None:
        doubtful = {"dnsbl__black": "127.0.0.2", "dnsbl__white": "unknown"}
        assert outcome(rules(self.RULES + "\n'BAD' in tags => reject"), **doubtful) == "accept"
        assert outcome(rules(self.RULES + "\n'BAD' in tags => file"), **doubtful) == "file Junk"
        assert outcome(rules(self.RULES, "'BAD' in tags => reject"), **doubtful) == "accept"

    def test_nor_does_the_lack_of_a_tag_that_may_have_been_given(self) -> None:
        compiled = rules(self.RULES, "'GOOD' not in tags and spam.content_score >= 3 => reject")
        assert outcome(compiled, spam__score=3) == "reject 554"
        assert outcome(compiled, spam__score=3, dnsbl__white="unknown") == "accept"

    def test_nor_one_withheld_by_an_accept_that_was_taken_in_doubt(self) -> None:
        compiled = rules(
            "dnsbl.score <= -1 => accept\nsender.is_null => tag symbol=BOUNCE\ndnsbl.score >= 100 => reject",
            "'BOUNCE' not in tags and spam.content_score >= 3 => reject",
        )
        given = {"sender__is_null": True, "spam__score": 3}
        assert outcome(compiled, **given) == "accept"
        assert outcome(compiled, **given, dnsbl__white="127.0.0.2") == "reject 554"
        assert outcome(compiled, **given, dnsbl__white="unknown") == "accept"

    def test_nor_one_withheld_by_two_of_them(self) -> None:
        compiled = rules(
            "dnsbl.score <= -1 => accept\ndnsbl.score <= -2 => accept\nsender.is_null => tag symbol=BOUNCE\n"
            "dnsbl.score >= 100 => reject",
            "'BOUNCE' not in tags and spam.content_score >= 3 => reject",
        )
        given = {"sender__is_null": True, "spam__score": 3}
        assert outcome(compiled, **given) == "accept"
        assert outcome(compiled, **given, dnsbl__white="unknown") == "accept"

    def test_a_verdict_names_given_and_doubtful_tags(self) -> None:
        verdict = decide(rules(self.RULES), {"dnsbl.black": "127.0.0.2", "dnsbl.white": "unknown"})
        assert verdict.tags == ("BAD",)
        assert verdict.doubtful_tags == ("BAD",)
        verdict = decide(rules(self.RULES), {"dnsbl.white": "unknown"})
        assert (verdict.tags, verdict.doubtful_tags) == ((), ("GOOD",))


class TestUnavailable:
    RULES = "virus.kind == 'malware' => reject\nspam.content_score >= 15 => reject"

    @pytest.mark.parametrize(
        ("clamav", "spamassassin", "expected"),
        [
            ("unknown", "unknown", "defer 451"),
            ("unknown", "unscannable", "defer 451"),
            ("unscannable", "unknown", "file Late"),
            ("unscannable", "unscannable", "file Late"),
            (None, "unknown", "file Spam"),
            (None, "unscannable", "accept"),
            (None, None, "accept"),
        ],
    )
    def test_the_most_careful_word_counts(self, clamav: str | None, spamassassin: str | None, expected: str) -> None:
        more = """
        unavailable:
          clamav: {down: defer, unscannable: file, folder: Late}
          spamassassin: {down: file, unscannable: deliver, folder: Spam}
        """
        given = {"virus.status": clamav, "spam.score": spamassassin}
        compiled = rules(content=self.RULES, more=more)
        assert told(decide(compiled, {k: v for k, v in given.items() if v})) == expected

    def test_it_says_why(self) -> None:
        verdict = decide(rules(content=self.RULES), {"virus.status": "unknown"})
        assert verdict.rule == "unavailable: clamav"
        assert verdict.reply is not None
        assert (verdict.reply.enhanced, verdict.reply.cause) == ("4.3.0", "clamav: a case says so")

    def test_a_rule_that_decides_makes_it_needless(self) -> None:
        assert outcome(rules(content=self.RULES), virus__status="unknown", spam__score=20) == "reject 554"

    def test_a_list_without_answer_is_no_matter_where_no_rule_hangs_on_it(self) -> None:
        compiled = rules(
            "dnsbl.score >= 6 => reject", more=UNAVAILABLE.replace("dnsbl: ignore", "dnsbl: defer") + LISTS
        )
        assert outcome(compiled, dnsbl__grey="unknown") == "accept"
        assert outcome(compiled, dnsbl__grey="unknown", dnsbl__black="127.0.0.2") == "defer 451"
        assert outcome(compiled, dnsbl__black="unknown") == "defer 451"

    def test_nothing_is_asked_about_the_sender_of_a_bounce(self) -> None:
        more = UNAVAILABLE.replace("sender: ignore", "sender: defer")
        compiled = rules("sender.unresolvable => file", more=more)
        assert outcome(compiled, sender__unresolvable="unknown") == "defer 451"
        assert outcome(compiled, sender__unresolvable="unknown", sender__is_null=True) == "accept"


class TestObserve:
    def test_a_policy_that_is_observed_lets_everything_through_and_tells(self) -> None:
        compiled = rules("helo.is_address => reject", more="mode: observe\n")
        verdict = decide(compiled, {"helo.is_address": True})
        assert told(verdict) == "accept"
        assert verdict.observed is not None
        assert told(verdict.observed) == "reject 554"
        assert decide(compiled, {}).observed is None

    def test_a_rule_may_enforce_in_an_observed_policy(self) -> None:
        compiled = rules(
            "helo.is_address => file",
            "virus.kind == 'malware' => reject mode=enforce\nvirus.status == 'infected' => file",
            more=UNAVAILABLE + "mode: observe\n",
        )
        assert outcome(compiled, virus__kind="malware", helo__is_address=True) == "reject 554"
        assert outcome(compiled, virus__kind="heuristic") == "accept"
        assert outcome(compiled, virus__status="unknown") == "accept"

    def test_a_rule_may_be_observed(self) -> None:
        compiled = rules("helo.is_address => reject mode=observe\nhelo.is_address => file")
        verdict = decide(compiled, {"helo.is_address": True})
        assert told(verdict) == "file Junk"
        assert verdict.observed is not None
        assert (told(verdict.observed), verdict.observed.rule) == ("reject 554", "envelope 1")

    def test_an_observed_list_counts_nothing_but_in_what_would_have_been(self) -> None:
        more = UNAVAILABLE + LISTS.replace("{zone: black", "{mode: observe, zone: black")
        compiled = rules("dnsbl.score >= 4 => reject", more=more)
        verdict = decide(compiled, {"dnsbl.black": "127.0.0.2"})
        assert told(verdict) == "accept"
        assert verdict.observed is not None
        assert told(verdict.observed) == "reject 554"
        assert [zone.name for zone in compiled.lists] == ["black", "grey", "white"]

    def test_an_observed_tag_is_given_only_in_what_would_have_been(self) -> None:
        compiled = rules("helo.is_address => tag symbol=A mode=observe", "'A' in tags => reject")
        verdict = decide(compiled, {"helo.is_address": True})
        assert (told(verdict), verdict.tags) == ("accept", ())
        assert verdict.observed is not None
        assert told(verdict.observed) == "reject 554"


class TestPostmaster:
    COMPILED = rules("helo.is_address => reject", "virus.kind == 'malware' => reject\nspam.score >= 5 => file")

    @pytest.mark.parametrize("local", ["postmaster", "PostMaster", "abuse", "ABUSE"])
    def test_is_never_refused_nor_filed(self, local: str) -> None:
        to = {"recipient__local": local}
        assert outcome(self.COMPILED, **to, helo__is_address=True) == "accept"
        assert outcome(self.COMPILED, **to, virus__kind="malware") == "accept"
        assert outcome(self.COMPILED, **to, spam__score=20) == "accept"
        assert outcome(self.COMPILED, **to, virus__status="unknown") == "accept"

    def test_is_so_without_a_domain(self) -> None:
        client, envelope, _ = facts_of_case(self.COMPILED, {"helo.is_address": True})
        verdict = self.COMPILED.envelope(client, replace(envelope, recipient=Mailbox("postmaster", "")))
        assert (verdict.action, verdict.rule) == (Action.ACCEPT, POSTMASTER)

    def test_no_other_address_is(self) -> None:
        assert outcome(self.COMPILED, recipient__local="postmaster2", helo__is_address=True) == "reject 554"


class TestReplies:
    MORE = UNAVAILABLE + LISTS.replace(
        "zone: black.example,", 'zone: black.example, help: "https://b.example/{client.ip}",'
    )

    def _reply(self, rule: str, given: dict) -> str:
        compiled = policy(self.MORE + f"rules:\n  envelope:\n    - {{name: a, if: dnsbl.score >= 4, {rule}}}\n")
        return str(decide(compiled, given).reply)

    def test_a_text_shows_facts(self) -> None:
        rule = 'then: reject, text: "[{client.ip}] blocked using {dnsbl.zones}; {dnsbl.help}"'
        given = {"client.ip": "198.18.7.7", "dnsbl.black": "127.0.0.2", "dnsbl.grey": "127.0.0.2"}
        assert self._reply(rule, given) == (
            "554 5.7.1 [198.18.7.7] blocked using black.example,grey.example; https://b.example/198.18.7.7"
        )

    def test_what_a_client_sends_cannot_end_the_reply(self) -> None:
        rule = 'then: defer, text: "not from {helo.name}"'
        assert self._reply(rule, {"dnsbl.black": "127.0.0.2", "helo.name": "a\r\n250 ok \x00é"}) == (
            "451 4.7.1 not from a??250 ok ??"
        )

    def test_of_each_recipient_what_is_true_of_it_is_told_though_the_client_is_known(self) -> None:
        text = "[{client.ip}] may not write to {recipient.address}"
        compiled = policy(
            f"{self.MORE}rules:\n  envelope:\n"
            "    - {name: a, if: \"recipient.local == 'b'\", then: defer}\n"
            f"    - {{name: b, if: dnsbl.score >= 4, then: reject, text: '{text}'}}\n"
        )
        client, envelope, _ = facts_of_case(compiled, {"client.ip": "198.18.7.7", "dnsbl.black": "127.0.0.2"})
        for local, said in (("a", "reject 554"), ("b", "defer 451"), ("c", "reject 554")):
            verdict = compiled.envelope(client, replace(envelope, recipient=Mailbox(local, "example.com")))
            assert told(verdict) == said
            assert verdict.trace.facts == {"dnsbl.score": "4", "recipient.local": local}
            if verdict.action is Action.REJECT:
                assert str(verdict.reply) == f"554 5.7.1 [198.18.7.7] may not write to {local}@example.com"

    def test_a_long_value_is_cut(self) -> None:
        reply = self._reply('then: reject, text: "{helo.name}"', {"dnsbl.black": "127.0.0.2", "helo.name": "x" * 999})
        assert len(reply) == len("554 5.7.1 ") + 480

    def test_codes_of_its_own(self) -> None:
        given = {"dnsbl.black": "127.0.0.2"}
        assert self._reply("then: reject, reply: 550 5.7.606", given) == "550 5.7.606 Refused by policy"
        assert self._reply("then: defer, reply: 450 4.7.1, text: later", given) == "450 4.7.1 later"
        assert self._reply("then: reject", given) == "554 5.7.1 Refused by policy"


class TestRecipients:
    MORE = """
    unavailable:
      spamassassin: {down: deliver, unscannable: deliver}
    profiles: {low: {junk_at: 3.0, unused: 1}, high: {junk_at: 9.0, unused: 1}, other: {junk_at: 9.0, unused: 2}}
    recipients:
      - {match: ["@kids.example.com", "Anna@example.com"], profile: low}
      - {match: ["@other.example.com"], profile: other}
      - {match: ["*"], profile: high}
    """
    COMPILED = rules(
        "recipient.local == 'marked' => tag symbol=MARK\nrecipient.local == 'filed' => file folder=Box",
        "'MARK' in tags => file folder=Marked\nrecipient.domain == 'own.example.com' => file folder=Own\n"
        "spam.score >= profile.junk_at => file",
        more=MORE,
    )

    @pytest.mark.parametrize(
        ("recipient", "profile"),
        [
            ("x@kids.example.com", "low"),
            ("x@KIDS.example.com", "low"),
            ("anna@example.com", "low"),
            ("ANNA@Example.com", "low"),
            ("bob@example.com", "high"),
            ("x@sub.kids.example.com", "high"),
            ("postmaster", "high"),
        ],
    )
    def test_the_first_match_gives_the_profile(self, recipient: str, profile: str) -> None:
        local, _, domain = recipient.partition("@")
        assert self.COMPILED.profile(Mailbox(local, domain)) == profile

    def test_a_profile_has_its_threshold(self) -> None:
        assert outcome(self.COMPILED, spam__score=5) == "accept"
        assert outcome(self.COMPILED, spam__score=5, recipient__address="anna@example.com") == "file Junk"

    def _treatment(self, recipient: str) -> Treatment:
        client, envelope, _ = facts_of_case(self.COMPILED, {"recipient.address": recipient})
        return self.COMPILED.treatment(envelope.recipient, self.COMPILED.envelope(client, envelope))

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [
            ("a@example.com", "b@example.com", True),
            ("a@example.com", "a@elsewhere.example.com", True),
            ("anna@example.com", "a@kids.example.com", True),
            ("a@example.com", "anna@example.com", False),
            ("a@example.com", "a@other.example.com", False),  # they are told of apart: each profile has its label
            ("a@example.com", "marked@example.com", False),
            ("a@example.com", "filed@example.com", False),
            ("a@example.com", "postmaster@example.com", False),
            ("abuse@example.com", "postmaster@example.com", True),
            ("a@example.com", "a@own.example.com", False),
            ("b@own.example.com", "a@own.example.com", True),
        ],
    )
    def test_who_is_treated_alike(self, one: str, other: str, same: bool) -> None:
        assert (self._treatment(one) == self._treatment(other)) is same


def test_a_trace_explains() -> None:
    compiled = rules("early_talker => reject\ndnsbl.score >= 4 => file")
    client, envelope, _ = facts_of_case(compiled, {"dnsbl.black": "127.0.0.2", "early_talker": "unknown"})
    trace = compiled.envelope(client, envelope).trace
    assert trace.rules == (RuleOutcome("envelope 1", None), RuleOutcome("envelope 2", True))
    assert trace.weights == (Weight("black/SPAM", 4.0),)
    assert list(trace.facts.items()) == [("early_talker", None), ("dnsbl.score", "4")]


def test_a_trace_tells_what_a_score_is_made_of() -> None:
    weighed = UNAVAILABLE + LISTS + "weights: {reverse_dns.missing: 2, helo.unresolvable: 1}\n"
    compiled = rules("client.score >= 4 => reject", more=weighed)
    client, envelope, _ = facts_of_case(compiled, {"reverse_dns.missing": True, "helo.unresolvable": "unknown"})
    assert compiled.envelope(client, envelope).trace.facts == {
        "client.score": "2 (2 to 3)",
        "dnsbl.score": "0",
        "reverse_dns.missing": "true",
        "helo.unresolvable": None,
    }


def test_what_a_policy_needs_is_told() -> None:
    compiled = rules("dnsbl.score >= 6 => reject", "virus.kind == 'malware' => reject")
    assert compiled.sources == {Source.DNSBL, Source.CLAMAV}
    assert compiled.lists == tuple(DnsblZone(n, f"{n}.example") for n in ("black", "grey", "white"))
    assert not compiled.wants_early_talker
    assert rules("early_talker => file").wants_early_talker
    assert rules("early_talker => file").lists == ()
    weighed = UNAVAILABLE + "weights: {early_talker: 1, helo.unresolvable: 1}\n"
    assert rules("client.score >= 1 => file", more=weighed).wants_early_talker
    assert rules("client.score >= 1 => file", more=weighed).sources == {Source.HELO}
    assert not rules("sender.is_null => file", more=weighed).wants_early_talker


def test_codes_that_no_table_knows_are_told() -> None:
    compiled = rules("dnsbl.score >= 6 => reject")
    answers = {
        "black": Known(frozenset({IPv4Address("127.0.0.2"), IPv4Address("127.0.0.88")})),
        "grey": Known(frozenset({IPv4Address("127.255.255.252")})),
        "white": Unknown("timeout"),
        "elsewhere": Known(frozenset({IPv4Address("127.0.0.9")})),
    }
    client = Client(ClientAddress.parse("198.18.0.1"), dnsbl=answers)
    assert compiled.unmatched(client) == (("black", IPv4Address("127.0.0.88")),)


def test_conditions_see_addresses_without_their_quotes() -> None:
    compiled = rules("sender.address == 'a b@example.org' => reject", "recipient.address == 'c d@example.com' => file")
    assert outcome(compiled, sender__address="a b@example.org") == "reject 554"
    assert outcome(compiled, recipient__address="c d@example.com") == "file Junk"
    quoted, plain = Mailbox("c d", "example.com"), Mailbox("c", "example.com")
    assert compiled.treatment(quoted, Verdict(Action.ACCEPT)) != compiled.treatment(plain, Verdict(Action.ACCEPT))


def test_a_policy_without_rules_takes_everything() -> None:
    assert decide(policy("rules: {}"), {}) == Verdict(Action.ACCEPT)
