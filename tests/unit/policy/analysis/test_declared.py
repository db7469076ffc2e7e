"""Warnings about what is declared and never asked for, and about what a refusal tells."""

from __future__ import annotations

import pytest

from mailguard.policy.analysis import Kind
from tests.unit.policy.analysis.support import findings, told

LISTS = """
lists:
  friends: [198.18.7.7]
  foes: [198.18.7.7]
rules:
  envelope:
    - {name: a, if: client.ip in lists.friends, then: accept}
"""
PROFILES = """
profiles:
  normal: {junk_at: 5, other: 3}
  strict: {junk_at: 3, other: 3}
recipients:
  - {match: ['*'], profile: normal}
rules:
  content:
    - {name: a, if: spam.score >= profile.junk_at, then: file, folder: Junk}
"""


class TestUnused:
    def test_an_address_list(self) -> None:
        assert told(LISTS, Kind.UNUSED) == ["3: no rule looks into the list `foes`"]
        used = LISTS.replace("in lists.friends", "in lists.friends and sender.domain not in lists.foes")
        assert told(used, Kind.UNUSED) == []

    def test_an_address_list_in_which_nothing_stands(self) -> None:
        used = LISTS.replace("in lists.friends", "in lists.friends and sender.domain not in lists.foes")
        empty = used.replace("foes: [198.18.7.7]", "foes: []")
        assert told(empty, Kind.UNUSED) == ["3: nothing stands in the list `foes`: whoever looks into it finds nobody"]

    def test_a_profile_and_a_constant(self) -> None:
        assert told(PROFILES, Kind.UNUSED) == [
            "2: no rule asks for the constant `other`",
            "3: no recipient has the profile `strict`",
        ]
        used = PROFILES.replace(
            "['*'], profile: normal", "[a@b.c], profile: strict}\n  - {match: ['*'], profile: normal"
        )
        assert told(used.replace("profile.junk_at", "profile.junk_at and profile.other > 2"), Kind.UNUSED) == []

    def test_weights(self) -> None:
        text = "weights: {early_talker: 2}\nrules: {envelope: [{name: a, if: early_talker, then: accept}]}"
        assert told(text, Kind.UNUSED) == ["1: no rule asks for `client.score`, where weights are added up"]
        assert told(text.replace("if: early_talker", "if: client.score > 1"), Kind.UNUSED) == []

    @pytest.mark.parametrize(
        ("condition", "unused"),
        [
            ("early_talker", ["a", "b", "white", "nil"]),
            ("dnsbl.score >= 4", ["nil"]),
            ("client.score >= 4", ["nil"]),
            ("dnsbl.listed_by >= 1", ["white", "nil"]),
            ("dnsbl.help == 'x'", ["white", "nil"]),
            ("'a/127.0.0.2' in dnsbl.labels", ["b", "white", "nil"]),
            ("'b.example' in dnsbl.zones", ["a", "white", "nil"]),
            ("'nil/127.0.0.2' in dnsbl.labels and dnsbl.score > 1", []),
            ("helo.name in dnsbl.labels", []),
            ("helo.name in dnsbl.zones", ["white", "nil"]),
        ],
    )
    def test_a_dnsbl(self, condition: str, unused: list[str]) -> None:
        text = f"""
        dnsbl:
          a: {{zone: a.example, answers: {{127.0.0.2: {{weight: 4}}}}}}
          b: {{zone: b.example, answers: {{127.0.0.2: {{weight: 4}}}}}}
          white: {{zone: white.example, answers: {{127.0.0.2: {{weight: -4}}}}}}
          nil: {{zone: nil.example, answers: {{127.0.0.2: {{weight: 0}}}}}}
        rules: {{envelope: [{{name: a, if: "{condition}", then: file, folder: Junk}}]}}
        """
        wanted = [f"nothing comes of what the list `{name}` answers" for name in unused]
        assert [f.problem.message for f in findings(text) if f.kind is Kind.UNUSED] == wanted


DNSBL = """
dnsbl:
  a: {zone: bl.example.org, answers: {127.0.0.2: {weight: 4, label: SPAM}}}
rules:
  envelope:
    - {name: tagged, if: "'a/SPAM' in dnsbl.labels", then: tag, symbol: DIALUP}
    - {name: first, if: CONDITION, then: reject, text: "TEXT"}
"""


def reply(condition: str, text: str) -> list[str]:
    policy = DNSBL.replace("CONDITION", f'"{condition}"').replace("TEXT", text)
    return [f.problem.message.removeprefix("rule 'first' refuses ") for f in findings(policy) if f.kind is Kind.REPLY]


class TestReply:
    WHO = "a client, and the text does not say which"
    WHERE = "by lists, and the text does not say by which, nor where to ask"

    @pytest.mark.parametrize(
        ("condition", "text", "missing"),
        [
            ("dnsbl.score >= 4", "go away", [WHERE, WHO]),
            ("dnsbl.score >= 4", "listed by {dnsbl.zones}", [WHO]),
            ("dnsbl.score >= 4", "[{client.ip}] is listed", [WHERE]),
            ("client.score >= 4", "[{client.ip}] is suspicious", [WHERE]),
            ("'DIALUP' in tags", "go away", [WHERE, WHO]),
            ("reverse_dns.missing", "no name, no mail", [WHO]),
            ("client.ip == '198.18.7.7'", "not you", [WHO]),
            ("early_talker and sender.is_null", "wait for the greeting", [WHO]),
        ],
    )
    def test_what_is_missing(self, condition: str, text: str, missing: list[str]) -> None:
        assert sorted(reply(condition, text)) == sorted(missing)

    @pytest.mark.parametrize(
        ("condition", "text"),
        [
            ("dnsbl.score >= 4", "[{client.ip}] is listed by {dnsbl.zones}"),
            ("dnsbl.score >= 4", "[{client.ip}]: {dnsbl.help}"),
            ("dnsbl.score >= 4", "[{client.ip}] is listed by bl.example.org"),
            ("dnsbl.score >= 4", "[{client.ip}]: ask https://bl.example.net/{client.ip}"),
            ("dnsbl.score >= 4", "[{client.ip}]: ask postmaster@example.net"),
            ("'DIALUP' in tags", "[{client.ip}] is a dial-up address: {dnsbl.help}"),
            ("reverse_dns.missing", "[{client.ip}] has no name"),
            ("sender.domain == 'a.example'", "no mail from there"),
            ("'DIALUP' not in tags and sender.is_null", "[{client.ip}]: {dnsbl.help}"),
        ],
    )
    def test_nothing_is_missing(self, condition: str, text: str) -> None:
        assert reply(condition, text) == []

    def test_a_refusal_without_a_text(self) -> None:
        policy = DNSBL.replace("CONDITION", "sender.is_null").replace(', text: "TEXT"', "")
        assert told(policy, Kind.REPLY) == ["6: rule 'first' refuses and tells no reason"]
        assert told(policy.replace("then: reject", "then: defer"), Kind.REPLY) == []
