"""Replies are values: codes that agree, text that is safe on the wire, one declaration."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailguard.replies import REPLIES, Reply, printable, reply


@pytest.mark.parametrize("name", REPLIES)
def test_every_declared_reply_is_a_valid_reply(name: str) -> None:
    spec = REPLIES[name]
    made = Reply(spec.code, spec.enhanced, (spec.text,))
    assert made.encode().endswith(b"\r\n")


def test_codes_of_different_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="different classes"):
        Reply(554, "4.7.1", ("no",))


@pytest.mark.parametrize("code", [0, 99, 199, 600])
def test_codes_out_of_range_are_refused(code: int) -> None:
    with pytest.raises(ValueError, match="no SMTP reply code"):
        Reply(code, "", ("no",))


def test_a_reply_without_a_line_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one line"):
        Reply(250, "2.0.0", ())


def test_a_placeholder_without_a_value_is_an_error() -> None:
    with pytest.raises(KeyError):
        reply("too_large")


def test_the_enhanced_code_stands_on_every_line() -> None:
    assert Reply(250, "2.0.0", ("one", "two")).encode() == b"250-2.0.0 one\r\n250 2.0.0 two\r\n"


def test_the_private_cause_is_not_on_the_wire() -> None:
    assert b"secret" not in reply("internal").because("secret").encode()


@given(st.text(), st.text(alphabet="ABC-123", min_size=1, max_size=12))
def test_any_text_is_one_safe_line_ending_in_the_reference(text: str, reference: str) -> None:
    octets = Reply(554, "5.7.1", (printable(text),)).with_reference(reference).encode()
    assert octets.endswith(f"({reference})\r\n".encode())
    assert len(octets) <= 512
    assert octets.count(b"\r\n") == 1
    assert all(0x20 <= octet <= 0x7E for octet in octets[:-2])
