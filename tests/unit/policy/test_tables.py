"""DNSBL answers, address lists, signature kinds, texts: small tables each."""

from __future__ import annotations

from ipaddress import IPv4Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.facts import DnsblZone, Known, Unknown
from mailguard.policy import lists
from mailguard.policy.answers import BadCode, CodePattern, Listing, ListTable, reckon
from mailguard.policy.lists import MAX_ENTRY, MAX_PROBLEMS, AddressList, BadEntry, from_text
from mailguard.policy.reading import virus_kind
from mailguard.policy.texts import parse
from mailguard.policy.truth import Members, Range, conjunction, disjunction, negation
from mailguard.positions import Text
from tests.unit.policy.support import from_entries

TRUTHS = (True, None, False)


def test_kleene() -> None:
    order = {False: 0, None: 1, True: 2}
    for a in TRUTHS:
        assert negation(a) == {True: False, False: True, None: None}[a]
        for b in TRUTHS:
            assert conjunction((a, b)) is min(a, b, key=order.__getitem__)
            assert disjunction((a, b)) is max(a, b, key=order.__getitem__)
    assert (conjunction(()), disjunction(())) == (True, False)


def table(*entries: tuple[str, float, str]) -> ListTable:
    listings = [Listing(CodePattern.parse(key), weight, label) for key, weight, label in entries]
    return ListTable(DnsblZone("l", "l.example"), tuple(sorted(listings, key=lambda e: e.pattern.rank)))


TABLE = table(
    ("127.0.*.*", 1.0, "ANY"),
    ("127.0.*.1", -1.0, "WILD"),
    ("127.0.0.4-7", 4.5, "RANGE"),
    ("127.0.0.5", 2.0, "EXACT"),
    ("127.0.0.9-9", 3.0, "NINE"),
)


@pytest.mark.parametrize(
    ("code", "label"),
    [
        ("127.0.0.4", "RANGE"),
        ("127.0.0.7", "RANGE"),
        ("127.0.0.5", "EXACT"),
        ("127.0.0.8", "ANY"),
        ("127.0.0.9", "NINE"),
        ("127.0.9.1", "WILD"),
        ("127.0.9.5", "ANY"),
        ("127.1.0.5", None),
    ],
)
def test_exact_beats_range_beats_pattern(code: str, label: str | None) -> None:
    listing = TABLE.listing(IPv4Address(code))
    assert (listing.label if listing else None) == label


@pytest.mark.parametrize("key", ["127.0.0.4-7", "127.0.0.4", "127.*.*.*", "127.0.0.0-255"])
def test_good_keys(key: str) -> None:
    CodePattern.parse(key)


@pytest.mark.parametrize(
    "key",
    [
        "127.0.0",
        "127.0.0.256",
        "127.0.0.4-",
        "127.0.0.*-7",
        "127.0.0.9-4",
        "*.0.0.1",
        "128.0.0.1",
        "127.255.255.0-9",
        "::1",
        "127.0.0.4-300",
        "127.0.0.4-127.0.0.7",
        "127.0.0.٤",
        "x",
    ],
)
def test_bad_keys(key: str) -> None:
    with pytest.raises(BadCode):
        CodePattern.parse(key)


def counted(*codes: str) -> tuple[Range, Members]:
    result = TABLE.tally(Known(frozenset(map(IPv4Address, codes))))
    return result.score, result.labels


def test_a_list_counts_once_by_its_heaviest_answer_and_shows_every_label() -> None:
    assert counted("127.0.0.4", "127.0.0.5", "127.0.9.1") == (
        Range.exactly(4.5),
        Members.exactly(["l/RANGE", "l/EXACT", "l/WILD"]),
    )


def test_of_two_as_heavy_the_one_for_the_sender_counts() -> None:
    assert counted("127.0.9.1", "127.0.9.2")[0] == Range.exactly(-1.0)


@pytest.mark.parametrize("codes", [["127.0.0.4", "127.255.255.254"], ["127.0.0.4", "10.0.0.1"], ["198.18.0.1"]])
def test_an_impossible_answer_voids_the_whole_reply(codes: list[str]) -> None:
    assert counted(*codes)[0] == Range(-1.0, 4.5, 0.0)


def test_an_unknown_list_may_weigh_anything_in_its_table() -> None:
    result = reckon([TABLE, table(("127.0.0.2", -4.0, "GOOD"))], [Unknown("not asked")] * 2).tally
    assert result.score == Range(-5.0, 4.5, 0.0)
    assert result.listed_by == Range(0.0, 1.0, 0.0)
    assert result.zones == Members(possible=frozenset({"l.example"}))
    assert result.weights == ()


@pytest.mark.parametrize(
    ("name", "official", "kind"),
    [
        ("", (), ""),
        ("Win.Trojan.X", (), "malware"),
        ("Heuristics.Phishing", (), "heuristic"),
        ("Heuristics.Phishing.UNOFFICIAL", ("*",), "heuristic"),
        ("PUA.Win.X", (), "pua"),
        ("PUA.Win.X.UNOFFICIAL", (), "unofficial"),
        ("PUA.Win.X.UNOFFICIAL", ("PUA.Win.*",), "pua"),
        ("Vendor.X.UNOFFICIAL", ("Other.*",), "unofficial"),
        ("Vendor.X.UNOFFICIAL", ("Vendor.*",), "malware"),
        ("Vendor.X.UNOFFICIAL", ("vendor.*",), "unofficial"),
        ("Eicar-Test-Signature.UNOFFICIAL", ("*Eicar*",), "malware"),
    ],
)
def test_kinds_of_signatures(name: str, official: tuple[str, ...], kind: str) -> None:
    assert virus_kind(name, official) == kind


LIST = from_entries(
    ["198.18.0.0/15", "203.0.113.7", "2001:db8::/32", "Example.com", ".example.org", "User@Example.net", "@all.example"]
)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("198.19.255.255", True),
        ("198.20.0.0", False),
        ("203.0.113.7", True),
        ("203.0.113.8", False),
        ("2001:db8:1::1", True),
        ("2001:db9::1", False),
    ],
)
def test_networks(address: str, expected: bool) -> None:
    assert LIST.has_address(ip_address(address)) is expected


@pytest.mark.parametrize(
    ("domain", "expected"),
    [
        ("example.com", True),
        ("EXAMPLE.COM.", True),
        ("sub.example.com", False),
        ("example.org", False),
        ("a.example.org", True),
        ("a.b.EXAMPLE.org", True),
        ("notexample.org", False),
        ("all.example", True),
        ("", False),
    ],
)
def test_domains(domain: str, expected: bool) -> None:
    assert LIST.has_domain(domain) is expected


@pytest.mark.parametrize(
    ("mailbox", "expected"),
    [
        ("user@example.net", True),
        ("USER@EXAMPLE.NET", True),
        ("other@example.net", False),
        ("any@example.com", True),
        ("any@a.example.org", True),
        ("", False),
    ],
)
def test_mailboxes(mailbox: str, expected: bool) -> None:
    assert LIST.has_mailbox(mailbox) is expected


@pytest.mark.parametrize(
    "entry",
    ["198.18.0.1/15", "300.1.1.1", "1.2.3", "*.example.com", "a b", "@", "user@", "user@.example.com", "::1::", "a/b"],
)
def test_bad_entries(entry: str) -> None:
    with pytest.raises(BadEntry):
        AddressList().add(entry)


@given(
    st.from_regex(r"[0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9]{1,2})?", fullmatch=True)
    | st.builds("{}/{}".format, st.ip_addresses(), st.integers(0, 129))
    | st.ip_addresses().map(str)
    | st.ip_addresses().map(lambda address: address.exploded)
    | st.sampled_from(["1.2.3.4/", "1.2.3.4/08", "01.2.3.4", "::/0", "0.0.0.0/0", "1.2.3.4/33", "::1/", "1.2.3.4/1.2"])
)
def test_the_quick_way_to_read_a_network_agrees_with_ipaddress(entry: str) -> None:
    found = AddressList()
    try:
        network = ip_network(entry)
    except ValueError:
        with pytest.raises(BadEntry):
            found.add(entry)
        return
    found.add(entry)
    prefix = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
    assert found.networks == {(network.version, network.prefixlen): {prefix}}


def test_what_nearly_all_write_is_read_the_quick_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(lists, "parse_network")
    from_entries(["198.18.1.10", "198.18.0.0/15", "2001:db8::1", "2001:db8::/32"])


def test_a_file_that_is_no_list_is_not_read_on() -> None:
    _, problems = from_text(Text("l", "two words\n" * 100_000))
    assert len(problems) == MAX_PROBLEMS + 1
    assert (problems[-1].line, problems[-1].message) == (MAX_PROBLEMS + 1, "the rest of this list has not been read")


def test_an_endless_entry_is_not_repeated() -> None:
    _, (problem,) = from_text(Text("l", "a" * 1_000_000))
    assert problem.message == "an entry of 1000000 characters is no network, domain or mailbox"
    AddressList().add("a" * (MAX_ENTRY - len("@example.org")) + "@example.org")


def test_a_file_of_entries() -> None:
    entries, problems = from_text(Text("l", "# head\n\n198.18.0.0/15 # net\r\n  two words \n.example.org\n#x\nbad@\n"))
    assert entries.has_address(ip_address("198.18.0.1"))
    assert entries.has_domain("a.example.org")
    assert [(p.line, p.column, p.width, p.source_line) for p in problems] == [
        (4, 3, 9, "  two words"),
        (7, 1, 4, "bad@"),
    ]


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("blocked [{client.ip}]", []),
        ("", ["the text is empty"]),
        ("{client.ip", ["`{` stands alone"]),
        ("client.ip}", ["`}` stands alone"]),
        ("{}", ["`{}` can't be shown here"]),
        ("{client.ip!r}", ["`{client.ip!r}` can't be shown here"]),
        ("{client.ip.__class__}", ["`{client.ip.__class__}` can't be shown here"]),
        ("two\nlines", ["the character U+000A can't stand in a reply"]),
        ("x" * 301, ["the text is longer than 300 characters"]),
    ],
)
def test_texts(text: str, faults: list[str]) -> None:
    assert [message for _, _, message, _ in parse(text, ("client.ip",))[1]] == faults
