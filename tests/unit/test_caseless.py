"""Without regard to case means A to Z: no letter of Unicode passes for one of them, wherever names are compared."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from mailguard.caseless import lowered
from mailguard.commands import Path
from mailguard.config import Domain, HostName
from mailguard.facts import Mailbox
from mailguard.policy.rules import RecipientMatch, always_reachable
from tests.unit.policy.support import from_entries, outcome, rules

LOOKALIKES = {"k": "\u212a", "s": "\u017f", "i": "\u0131"}
"""Kelvin sign, long s, dotless i: the cases of Unicode take each for the letter or for its capital."""


def fake(text: str) -> str:
    """``text`` with its first k, s or i replaced by the letter that looks like it."""
    letter = next(letter for letter in text if letter in LOOKALIKES)
    return text.replace(letter, LOOKALIKES[letter], 1)


def test_the_lookalikes_would_deceive_what_python_offers() -> None:
    assert "\u212a".lower() == "k"
    assert "\u017f".casefold() == "s"
    assert "\u0131".upper() == "I"


@given(st.text())
def test_only_capital_ascii_letters_change(text: str) -> None:
    low = lowered(text)
    assert len(low) == len(text)
    for before, after in zip(text, low, strict=True):
        assert after == (before.lower() if before in string.ascii_uppercase else before)


@pytest.mark.parametrize("local", ["postmaster", "abuse"])
def test_only_postmaster_is_postmaster(local: str) -> None:
    assert always_reachable(Mailbox(local.upper(), "example.com"))
    assert not always_reachable(Mailbox(fake(local), "example.com"))
    compiled = rules("helo.is_address => reject")
    assert outcome(compiled, helo__is_address=True, recipient__local=fake(local)) == "reject 554"


@pytest.mark.parametrize("domain", ["kiosk.example", "shop.example", "inn.example"])
def test_only_our_domain_is_ours(domain: str) -> None:
    assert Path(b"a", domain.upper().encode()).mailbox.domain == domain
    assert Path(b"a", fake(domain).encode()).mailbox.domain == fake(domain)
    for form in (Domain, HostName):
        assert TypeAdapter(form).validate_python(domain.upper()) == domain
        assert TypeAdapter(form).validate_python(fake(domain)) == fake(domain)


@pytest.mark.parametrize("domain", ["kiosk.example", "shop.example", "inn.example"])
def test_a_list_holds_what_is_written_in_it(domain: str) -> None:
    entries = from_entries([domain, f".{domain}", f"ski@{domain}", "ski@example.org"])
    assert entries.has_domain(domain.upper())
    assert entries.has_domain(f"Sub.{domain}")
    assert entries.has_mailbox("SKI@Example.ORG")
    assert not entries.has_domain(fake(domain))
    assert not entries.has_domain(f"sub.{fake(domain)}")
    assert not entries.has_mailbox("\u017fki@example.org")
    assert from_entries([fake(domain)]).has_domain(fake(domain))
    assert not from_entries([fake(domain)]).has_domain(domain)


def test_a_profile_is_given_to_who_is_named() -> None:
    match = RecipientMatch(frozenset({"ski@example.com", "@kiosk.example"}), "p")
    assert match.matches(Mailbox("SKI", "Example.com"))
    assert match.matches(Mailbox("a", "KIOSK.example"))
    assert not match.matches(Mailbox("\u017fki", "example.com"))
    assert not match.matches(Mailbox("a", "\u212aiosk.example"))


@pytest.mark.parametrize(
    ("fact", "text"),
    [
        ("helo.name", "kiosk.example"),
        ("reverse_dns.name", "kiosk.example"),
        ("sender.domain", "kiosk.example"),
        ("sender.address", "ski@example.org"),
        ("recipient.local", "ski"),
    ],
)
def test_conditions_compare_the_same_way(fact: str, text: str) -> None:
    given_as = "sender.address" if fact == "sender.domain" else fact
    prefix = "a@" if fact == "sender.domain" else ""
    other = text.replace("ski", "x").replace("kiosk", "x")
    for condition in (f"{fact} == '{text.upper()}'", f"{fact} in ['{other}', '{text.upper()}']"):
        compiled = rules(f"{condition} => file")
        assert outcome(compiled, **{given_as.replace(".", "__"): prefix + text}) == "file Junk"
        assert outcome(compiled, **{given_as.replace(".", "__"): prefix + fake(text)}) == "accept"


def test_a_name_in_unicode_is_compared_as_it_stands() -> None:
    compiled = rules("sender.domain == 'bücher.example' => file")
    assert outcome(compiled, sender__address="a@bücher.EXAMPLE") == "file Junk"
    assert outcome(compiled, sender__address="a@BÜCHER.example") == "accept"
    assert outcome(compiled, sender__address="a@xn--bcher-kva.example") == "accept"
