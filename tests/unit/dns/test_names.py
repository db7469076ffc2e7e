"""Names: which text is one, and its octets, dnspython as the oracle."""

from __future__ import annotations

import dns.name
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.dns import names

_LABEL = st.text("abcXYZ019-_", min_size=1, max_size=63)
_NAME = st.lists(_LABEL, min_size=1, max_size=8).map(".".join).filter(lambda name: len(name) <= 253)


@given(_NAME, st.sampled_from(["", "."]))
def test_octets_are_those_of_dnspython(name: str, dot: str) -> None:
    assert names.encode(names.canonical(name + dot)) == dns.name.from_text(name.lower() + ".").to_wire()


@given(st.text(max_size=300))
def test_any_text_is_a_name_or_an_error(text: str) -> None:
    try:
        name = names.canonical(text)
    except ValueError:
        return
    assert len(names.encode(name)) <= 255
    assert names.canonical(name + ".") == name


def test_a_letter_whose_lower_case_is_ascii_is_not_ascii() -> None:
    with pytest.raises(ValueError, match="not ASCII"):
        names.canonical("\u212a.example")  # the Kelvin sign


@given(st.text(max_size=80))
def test_any_text_is_a_host_name_or_an_error(text: str) -> None:
    try:
        name = names.host_name(text)
    except (names.ImpossibleNameError, names.DoubtfulNameError):
        return
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_.")
    assert names.host_name(name) == name


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Mail.Example.ORG", "mail.example.org"),
        ("mail.example.org.", "mail.example.org"),
        ("localhost", "localhost"),
        ("_dmarc.my_pc", "_dmarc.my_pc"),
        ("1.2.3.example", "1.2.3.example"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("x" * 63 + ".example", "x" * 63 + ".example"),
    ],
)
def test_host_names(text: str, name: str) -> None:
    assert names.host_name(text) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a..b",
        ".a",
        "a b",
        "a\0b",
        "a/b",
        "a\\b",
        "*.example",
        "-a.example",
        "a-.example",
        "a@b",
        "1.2.3.4",
        "x.123",
        "198.18.1.1",
        "[198.18.1.1]",
        "x" * 64 + ".example",
        "x." * 127 + "x",
        "a\r\nb",
        "host\n",
    ],
)
def test_impossible_host_names(text: str) -> None:
    with pytest.raises(names.ImpossibleNameError):
        names.host_name(text)


@pytest.mark.parametrize("text", ["☃.example\u2028", "a\u200db.example", "\u0300a.example", "é" * 70 + ".example"])
def test_doubtful_host_names(text: str) -> None:
    with pytest.raises(names.DoubtfulNameError):
        names.host_name(text)
