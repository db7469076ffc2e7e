"""The file in which Exim looks profiles up: that its order of looking comes to the policy's first match."""

from __future__ import annotations

import re
from itertools import product

from hypothesis import given
from hypothesis import strategies as st

from mailguard.facts import Mailbox
from mailguard.policy.export import lookups, lsearch_text
from mailguard.policy.rules import Profiles, RecipientMatch

LOCALS = ["a", "b", "*", 'o"neil', "back\\slash", "a:b"]
DOMAINS = ["x.example", "y.example", "sub.x.example"]
ADDRESSES = [f"{local}@{domain}" for local, domain in product(LOCALS, DOMAINS) if local != "*"]
PATTERNS = st.sampled_from([*ADDRESSES, *(f"@{domain}" for domain in DOMAINS)])
ENTRIES = st.lists(
    st.tuples(st.frozensets(PATTERNS, min_size=1, max_size=4), st.sampled_from(["one", "two", "three"])), max_size=5
)


def profiles(entries: list[tuple[frozenset[str], str]]) -> Profiles:
    """Those of ``entries``, and ``rest`` for everybody else."""
    matches = [RecipientMatch(patterns, profile) for patterns, profile in [*entries, (frozenset({"*"}), "rest")]]
    return Profiles({profile: {} for profile in ("one", "two", "three", "rest")}, tuple(matches))


def looked_up(text: str, local: str, domain: str) -> str:
    """What Exim finds by ``lsearch*@`` (specification 9.3 and 9.6), as far as this file needs it."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    table: dict[str, str] = {}
    for line in lines:
        quoted, profile = re.fullmatch(r'"((?:[^"\\]|\\.)*)": (\w+)', line).groups()  # type: ignore[union-attr]
        table.setdefault(re.sub(r"\\(.)", r"\1", quoted).lower(), profile)
    keys = (f"{local}@{domain}".lower(), f"*@{domain}".lower(), "*")
    return next(table[key] for key in keys if key in table)


@given(
    entries=ENTRIES, local=st.sampled_from([*LOCALS, "A"]), domain=st.sampled_from([*DOMAINS, "X.Example", "z.example"])
)
def test_exim_finds_what_the_policy_gives(entries: list[tuple[frozenset[str], str]], local: str, domain: str) -> None:
    found = profiles(entries)
    assert looked_up(lsearch_text(found, "0"), local, domain) == found.name(Mailbox(local, domain))


def test_an_address_below_its_domain_has_the_domains_profile() -> None:
    found = profiles([(frozenset({"@x.example"}), "one"), (frozenset({"a@x.example", "a@y.example"}), "two")])
    assert list(lookups(found)) == [
        ("a@x.example", "one"),
        ("a@y.example", "two"),
        ("*@x.example", "one"),
        ("*", "rest"),
    ]


def test_the_file_says_whose_it_is() -> None:
    first, *lines = lsearch_text(profiles([]), "abc").splitlines()
    assert first == "# Profiles of recipients, by mailguard, for Exim (lsearch*@); policy abc"
    assert lines == ['"*": rest']
