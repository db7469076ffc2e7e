"""Conditions: what is read, what is refused, and what comes of it over known and unknown facts."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from mailguard.facts import FACTS, FactType, Stage
from mailguard.policy.conditions import Scope, parse_condition
from mailguard.policy.expression import Doubt, View
from mailguard.policy.reading import READERS
from mailguard.policy.syntax import MAX_DEPTH, MAX_LENGTH, Faults
from mailguard.policy.truth import Members, Range, Truth, Value
from tests.unit.policy.support import from_entries

SCOPE = Scope(
    Stage.CONTENT,
    {"junk_at": FactType.NUMBER, "keep": FactType.BOOLEAN, "word": FactType.TEXT},
    {"friends": from_entries(["198.18.0.0/16", "2001:db8::/32", "friend.example", ".sub.example", "a@b.example"])},
    frozenset({"A", "B"}),
)
PROFILE = {"junk_at": 5.0, "keep": True, "word": "Hello"}
FACTS_GIVEN: dict[str, Value | None] = {
    "client.ip": ip_address("198.18.1.10"),
    "client.score": Range(1.0, 4.0, 2.0),
    "dnsbl.score": Range.exactly(3.0),
    "dnsbl.zones": Members(frozenset({"a.example"}), frozenset({"a.example", "b.example"}), frozenset({"a.example"})),
    "early_talker": None,
    "helo.name": "Mail.Example",
    "reverse_dns.name": None,
    "sender.is_null": False,
    "sender.address": "A@b.example",
    "sender.domain": "x.sub.example",
    "recipient.local": "Postmaster",
    "message.size": Range.exactly(2048.0),
    "virus.name": "Win.X",
    "virus.kind": "malware",
    "spam.score": Range.exactly(5.0),
    "spam.rules": Members.exactly(["BODY"]),
    "tags": Members(frozenset({"A"}), frozenset({"A", "B"}), frozenset({"A", "B"})),
}


class Given:
    def __getitem__(self, name: str, /) -> Value | None:
        return FACTS_GIVEN[name]


def evaluated(text: str, doubt: Doubt = Doubt.KEPT) -> Truth:
    return parse_condition(text, SCOPE).evaluate(View(Given(), PROFILE, doubt))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", True),
        ("false", False),
        ("True", True),
        ("not sender.is_null", True),
        ("sender.is_null == false", True),
        ("early_talker", None),
        ("not early_talker", None),
        ("early_talker == true", None),
        ("early_talker or not sender.is_null", True),
        ("early_talker and sender.is_null", False),
        ("early_talker and not sender.is_null", None),
        ("spam.score >= 5", True),
        ("5 <= spam.score", True),
        ("spam.score > 5", False),
        ("spam.score > -5", True),
        ("spam.score == +5", True),
        ("spam.score >= profile.junk_at", True),
        ("4 < spam.score <= 5", True),
        ("4 < spam.score < 5", False),
        ("dnsbl.score < spam.score", True),
        ("spam.score in (1, 5)", True),
        ("spam.score in [1, 4.5]", False),
        ("profile.keep and profile.junk_at == 5", True),
        ("profile.word == 'Hello'", True),
        ("profile.word == 'hello'", False),
        ("client.score >= 1", True),
        ("client.score > 4", False),
        ("client.score >= 2", None),
        ("client.score != 2", None),
        ("client.score != 5", True),
        ("client.score in (2, 3)", None),
        ("client.score in (0, 5)", False),
        ("client.score < spam.score", True),
        ("helo.name == 'MAIL.example'", True),
        ("helo.name != 'mail.example'", False),
        ("helo.name in ['other', 'mail.EXAMPLE']", True),
        ("recipient.local in ('postmaster', 'abuse')", True),
        ("recipient.local not in ('postmaster', 'abuse')", False),
        ('recipient.local == "postmaster"', True),
        ("virus.name == 'win.x'", False),
        ("virus.kind in ('malware', 'pua')", True),
        ("reverse_dns.name == 'x'", None),
        ("reverse_dns.name in ['x']", None),
        ("reverse_dns.name in lists.friends", None),
        ("'A.example' in dnsbl.zones", True),
        ("'b.example' in dnsbl.zones", None),
        ("'c.example' not in dnsbl.zones", True),
        ("'BODY' in spam.rules", True),
        ("helo.name in spam.rules", False),
        ("'A' in tags", True),
        ("'B' in tags", None),
        ("'B' not in tags", None),
        ("client.ip == '198.18.1.10'", True),
        ("client.ip != '198.18.1.10'", False),
        ("client.ip in ['198.18.0.0/15']", True),
        ("client.ip in ('198.18.1.11', '2001:db8::1')", False),
        ("client.ip in lists.friends", True),
        ("sender.address in lists.friends", True),
        ("sender.domain in lists.friends", True),
        ("helo.name in lists.friends", False),
        ("  message.size > 1000  ", True),
        ("matches(helo.name, '^mail')", True),
        ("matches(helo.name, 'l.ex')", True),
        ("matches(helo.name, '^ex')", False),
        (r"matches(helo.name, '^\w+[.]example$')", True),
        (r"matches(helo.name, r'^\w+[.]example$')", True),
        ("matches(reverse_dns.name, 'x')", None),
        ("not matches(reverse_dns.name, 'x')", None),
        ("matches(virus.name, '^Win')", True),
        ("matches(virus.name, '^win')", False),
        ("matches(virus.name, '(?i)^win')", True),
        ("matches(profile.word, '^H') and matches('abc', 'b')", True),
        ("matches(helo.name, 'q') == false", True),
        ("in_network(client.ip, '198.18.0.0/15')", True),
        ("in_network(client.ip, '203.0.113.7', '2001:db8::/32', '198.18.1.10')", True),
        ("not in_network(client.ip, '203.0.113.0/24')", True),
        ("domain_matches(helo.name, 'mail.EXAMPLE')", True),
        ("domain_matches(helo.name, 'example')", False),
        ("domain_matches(helo.name, 'x.example', '.Example')", True),
        ("domain_matches(sender.domain, '.sub.example')", True),
        ("domain_matches(sender.domain, 'sub.example')", False),
        ("domain_matches(reverse_dns.name, '.example')", None),
        ("domain_of(sender.address) == 'B.example'", True),
        ("domain_of(sender.address) == sender.domain", False),
        ("domain_of(sender.address) in ['a.example', 'b.example']", True),
        ("domain_of(sender.address) in lists.friends", False),
        ("domain_of(sender.address) in dnsbl.zones", None),
        ("domain_matches(domain_of(sender.address), 'b.example', '.b.example')", True),
        ("matches(domain_of(sender.address), '^b')", True),
    ],
)
def test_truth(text: str, expected: Truth) -> None:
    assert evaluated(text) is expected


@pytest.mark.parametrize(
    ("text", "nothing", "favourable"),
    [
        ("client.score >= 2", True, True),
        ("client.score > 2", False, True),
        ("client.score <= 1", False, True),
        ("not client.score > 2", True, True),
        ("not client.score >= 1.5", False, True),
        ("client.score != 2", False, True),
        ("client.score > 4", False, False),
        ("'b.example' in dnsbl.zones", False, True),
        ("'b.example' not in dnsbl.zones", True, True),
        ("'c.example' in dnsbl.zones", False, False),
        ("'B' in tags", True, True),
        ("'B' not in tags", False, True),
        ("client.score > 2 and client.score < 2", False, True),  # each on its own: Kleene sees no connection
        ("early_talker", None, None),
        ("early_talker or client.score > 2", None, True),
        ("reverse_dns.name == 'x' and client.score > 2", False, None),
    ],
)
def test_how_doubt_can_count(text: str, nothing: Truth, favourable: Truth) -> None:
    assert evaluated(text, Doubt.NOTHING) is nothing
    assert evaluated(text, Doubt.FAVOURABLE) is favourable


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "matches",
        "matches()",
        "matches('[a')",
        "matches(*tags)",
        "matches(helo.name, *['x'])",
        "matches(helo.name, **{'pattern': 'x'})",
        "matches(helo.name, 'x', 'y')",
        "matches(helo.name, helo.name)",
        "matches(helo.name, b'x')",
        "matches(helo.name, f'x')",
        "matches(spam.score, '5')",
        "matches(spam.rules, 'BODY')",
        "matches(tags, 'A')",
        "matches(lists.friends, 'A')",
        "matches(matches(helo.name, 'x'), 'true')",
        "matches(spam.score >= 5, 'x')",
        "(matches)(helo.name, '[')",
        "in_network(client.ip)",
        "in_network('198.18.0.1', '198.18.0.0/15')",
        "in_network(client.ip, 'friends')",
        "in_network(client.ip, lists.friends)",
        "domain_matches(profile.word, 'example.com')",
        "domain_matches(sender.local, 'example.com')",
        "domain_matches(sender.domain, '198.18.0.0/15')",
        "domain_matches(sender.domain, 'a@b.example')",
        "domain_of(domain_of(sender.address)) == 'x'",
        "domain_of(sender.address, 'x') == 'x'",
        "domain_of(sender.address) > 5",
        "domain_of(sender.address).upper() == 'X'",
        "eval('1')",
        "matches.__globals__",
        r"helo.name == '\x41'",
        r"'\101' in tags",
        "client.ip.__class__",
        "().__class__",
        "[x for x in tags]",
        "lambda: 1",
        "(y := 1)",
        "f'{spam.score}'",
        "spam.score if true else 1",
        "tags[0]",
        "spam.rules == ['BODY']",
        "{'a'} == 1",
        "{'a': 1} == 1",
        "spam.score ** 2 > 1",
        "spam.score is 5",
        "spam.score >= 1e400",
        "spam.score >= 99999999999999999999",
        "spam.score >= 1j",
        "helo.name == b'x'",
        "helo.name == None",
        "... == 1",
        "-helo.name == 'x'",
        "-'x' == 'x'",
        "-true",
        "not 'A'",
        "'A'",
        "5",
        "tags",
        "lists.friends",
        "profile",
        "helo",
        "*tags",
        "await x",
        "yield",
        "client.ip in []",
        "client.ip in ()",
        "client.ip in helo.name",
        "helo.name in helo.name",
        "client.ip == client.ip",
        "client.ip in [helo.name]",
        "client.ip == 5",
        "client.ip in ['friend.example']",
        "client.ip in ['a']",
        "profile.word in tags",
        "5 in tags",
        "5 in spam.rules",
        "tags == 'A'",
        "'A' == tags",
        "'C' in tags",
        "sender.local in lists.friends",
        "'x' in lists.friends",
        "sender.is_null > 0",
        "sender.is_null == 0",
        "virus.status in ('clean', 'dirty')",
        "helo.name == 'a\\n'",
        "helo.name == 'a' # comment\nor true",
        "1or 2",
        "'a' 'b' == helo.name or",
        "(" * 300 + "true" + ")" * 300,
        "not " * 60 + "true",
        "",
        "   ",
        "x" * (MAX_LENGTH + 1),
    ],
)
def test_nothing_else_is_read(text: str) -> None:
    with pytest.raises(Faults) as found:
        parse_condition(text, SCOPE)
    for fault in found.value.faults:
        assert fault.message
        assert 0 <= fault.span[0] <= fault.span[1] <= max(1, len(text))


def test_a_deep_condition_is_refused_and_a_long_one_is_not() -> None:
    parse_condition(" and ".join(["spam.score >= 5"] * 50), SCOPE)
    with pytest.raises(Faults):
        parse_condition("not " * MAX_DEPTH + "true", SCOPE)


def test_every_mistake_of_a_condition_is_found_at_its_place() -> None:
    text = "spam.scor >= 5 or (helo.nam == 'x' and 'Z' in tags) or not client.scor > 1"
    with pytest.raises(Faults) as found:
        parse_condition(text, SCOPE)
    assert [text[slice(*fault.span)] for fault in found.value.faults] == ["spam.scor", "helo.nam", "'Z'", "client.scor"]


def test_a_content_fact_does_not_exist_at_the_envelope() -> None:
    with pytest.raises(Faults):
        parse_condition("spam.score >= 5", Scope(Stage.ENVELOPE))


def test_no_function_takes_a_fact_of_a_later_stage() -> None:
    with pytest.raises(Faults):
        parse_condition("matches(virus.name, 'x')", Scope(Stage.ENVELOPE))


def test_every_fact_can_be_read() -> None:
    assert set(READERS) == set(FACTS)


def said(text: str) -> tuple[str, str, str]:
    """The one fault of a condition: what is marked, message, hint."""
    with pytest.raises(Faults) as found:
        parse_condition(text, SCOPE)
    (fault,) = found.value.faults
    return text[slice(*fault.span)], fault.message, fault.hint


@pytest.mark.parametrize(
    ("text", "marked", "hint"),
    [
        ("spam.score => 5", "=>", "write `>=`"),
        ("spam.score =< 5", "=<", "write `<=`"),
        ("spam.score <> 5", "<>", "write `!=`"),
        ("spam.score === 5", "===", "write `==`"),
        ("helo.name = 'a = b'", "=", "write `==`"),
        ("helo.name == 'a => b' && early_talker", "&&", "write `and`"),
        ("early_talker || sender.is_null", "||", "write `or`"),
        ("!early_talker", "!", "write `not`"),
        ("early_talker Or sender.is_null OR true", "OR", "write `or`"),
        ("message.size > 10 MB", "10 MB", "units are not read here: write 10485760"),
        ("message.size > 1.5k", "1.5k", "units are not read here: write 1536"),
        ("spam.score > 5s", "5s", "a number is digits and a point: 5, 0.5; a text is in quotes"),
        ("client.ip == 2001:db8::1", "2001:db8::1", "write '2001:db8::1', as in: client.ip == '2001:db8::1'"),
        ("early_talker or", "or", "remove it, or write what comes after `or`"),
        ("and early_talker", "and", "remove it, or write what comes before `and`"),
        ("early_talker or or true", "or or", "one of the two words is too many"),
        ("spam.score >=", ">=", "remove it, or write what comes after `>=`"),
        ("early_talker then reject", "then", "what is done stands under the key `then:`"),
        ("helo.name == 'abc", "'", "close it with the same quote"),
        ("(early_talker", "(", "every bracket that opens must close"),
        ("early_talker true", "t", "such as: spam.score >= 5 and not sender.is_null"),
    ],
)
def test_a_slip_of_the_pen_is_told_as_such(text: str, marked: str, hint: str) -> None:
    found, message, said_hint = said(text)
    assert (found, said_hint) == (marked, hint)
    assert message


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("sender.domain == spam.example", "a text stands in quotes: 'spam.example'"),
        ("sender.domain in ['x', spam.example]", "a text stands in quotes: 'spam.example'"),
        ("sender.domain == helo.nam", "did you mean `helo.name`?"),
        ("profile.word == hello", "a text stands in quotes: 'hello'"),
        ("client.ip == localhost", "a text stands in quotes: 'localhost'"),
        ("PBL in dnsbl.labels", "a text stands in quotes: 'PBL'"),
        ("spf == 'fail'", "the facts are listed in docs/reference/facts.md"),
        ("spf in ['fail']", "the facts are listed in docs/reference/facts.md"),
        ("helo.nam == 'fail'", "did you mean `helo.name`?"),
        ("spam.content-score > 3", "did you mean `spam.content_score`?"),
        ("spam.score > profile.junk-at", "did you mean `profile.junk_at`?"),
        ("spam.score - 1 > 3", "compare a fact with a number; `weights` adds evidence up"),
        ("early_talker & sender.is_null", "write `and`"),
    ],
)
def test_an_unknown_name_is_taken_for_what_it_stands_beside(text: str, hint: str) -> None:
    assert said(text)[2] == hint


@pytest.mark.parametrize(
    "text",
    [
        "sender.domain == '*.spam.example'",
        "sender.domain != '.spam.example'",
        "recipient.domain in ['example.com', '@example.com']",
        "helo.name == 'a b'",
        "reverse_dns.name == '*.dsl.example'",
        "recipient.address == 'alice'",
        "recipient.address == 'example.com'",
        "recipient.address == '@example.com'",
        "sender.address == 'postmaster'",
        "sender.address == 'x@*.spam.example'",
        "sender.address == 'x@'",
        "'*Eicar*' == virus.name",
    ],
)
def test_what_can_never_hold_is_refused(text: str) -> None:
    marked, _, hint = said(text)
    assert marked.startswith("'")
    assert hint


@pytest.mark.parametrize(
    "text",
    [
        "sender.domain == ''",
        "sender.domain == '[198.18.0.1]'",
        "helo.name == '.junk'",
        "sender.address in ['', 'a b@example.com', '*@example.com']",
        "recipient.address == 'Postmaster'",
        "recipient.local == '*'",
        "profile.word == '*.example'",
        "'*' in spam.rules",
    ],
)
def test_what_may_hold_is_read(text: str) -> None:
    parse_condition(text, SCOPE)
