"""Addresses under pseudonyms: none is left in the open, the same one has the same, and it can be searched for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mailguard import config
from mailguard.journal.form import Record
from mailguard.journal.index import terms
from mailguard.journal.key import BadKey, pseudonyms_for, read_key
from mailguard.journal.pseudonyms import MIN_KEY, Pseudonyms
from tests.unit.journal.conftest import record

KEY = b"k" * MIN_KEY
SECRETS = {
    "client": ["198.18.7.7", "dsl-7-7.provider.example", "laptop.provider.example"],
    "sender": ["Some.Body@Private.example", "private.example", "some.body"],
    "recipient": ["Boss@Example.com", "boss"],
}
DECISION = {
    "action": "reject",
    "rule": "several lists agree",
    "facts": {
        "client.ip": "198.18.7.7",
        "helo.name": "laptop.provider.example",
        "reverse_dns.name": "dsl-7-7.provider.example",
        "sender.address": "Some.Body@Private.example",
        "sender.local": "Some.Body",
        "sender.domain": "Private.example",
        "recipient.address": "Boss@Example.com",
        "recipient.local": "Boss",
        "recipient.domain": "Example.com",
        "dnsbl.help": "https://check.example/ip/198.18.7.7",
        "sender.unresolvable": None,
    },
    "observed": None,
}


def whole() -> Record:
    """A record in which each address stands in many places."""
    return record(
        client={
            "ip": "198.18.7.7",
            "port": 1,
            "reverse": {"name": "dsl-7-7.provider.example", "confirmed": True},
            "dnsbl": {"zen": {"unknown": "no answer about 198.18.7.7", "cause": "down"}},
        },
        helo={"name": "laptop.provider.example", "is_address": False, "resolves": True},
        sender="Some.Body@Private.example",
        recipients=["Boss@Example.com"],
        recipient="Boss@Example.com",
        message_id="<1@laptop.provider.example>",
        envelope=DECISION | {"observed": DECISION},
        reply={
            "code": 554,
            "enhanced": "5.7.1",
            "text": "client host [198.18.7.7] (LAPTOP.provider.example) may not write to boss@example.com",
            "by": "policy",
            "cause": "some.body@private.example from 198.18.7.7",
        },
    )


@pytest.mark.parametrize("whose", [["client"], ["sender"], ["recipient"], ["client", "sender", "recipient"]])
def test_nothing_that_is_covered_is_left(whose: list[str]) -> None:
    before = whole()
    text = json.dumps(Pseudonyms(KEY, whose).cover(before)).lower()
    for role, secrets in SECRETS.items():
        for secret in secrets:
            assert (secret.lower() in text) is (role not in whose), (role, secret)
    assert before == whole()


def test_what_is_no_address_stays() -> None:
    whole_record = whole()
    covered = Pseudonyms(KEY, ["client", "sender", "recipient"]).cover(whole_record)
    for field in ("v", "time", "event", "ref", "verdict"):
        assert covered[field] == whole_record[field]
    assert covered["envelope"]["rule"] == "several lists agree"
    assert covered["reply"]["code"] == 554
    assert covered["envelope"]["facts"]["sender.unresolvable"] is None
    assert covered["client"]["reverse"]["confirmed"] is True


@pytest.mark.parametrize("name", ["reject", "policy", "5.7.1", "recipient"])
def test_a_client_cannot_take_words_out_of_a_record_by_its_name(name: str) -> None:
    covered = Pseudonyms(KEY, ["client"]).cover(whole() | {"helo": {"name": name}})
    assert covered["helo"]["name"].startswith("~")
    for field in ("event", "verdict", "time"):
        assert covered[field] == whole()[field]
    assert (covered["reply"]["by"], covered["reply"]["enhanced"]) == ("policy", "5.7.1")
    assert covered["envelope"]["action"] == "reject"


def test_the_same_address_has_the_same_pseudonym_and_another_another() -> None:
    names, others = Pseudonyms(KEY, []), Pseudonyms(b"another key" * 4, [])
    assert names.of_mailbox("A@Example.com") == names.of_mailbox("a@example.COM")
    assert names.of_mailbox("a@example.com") != names.of_mailbox("b@example.com")
    assert names.of_mailbox("a@example.com").split("@")[1] == names.of_mailbox("b@example.com").split("@")[1]
    assert names.of_mailbox("a@example.com") != others.of_mailbox("a@example.com")
    assert names.of_mailbox("a@example.com") != names.of_mailbox("a@example.net")
    assert (names.of_mailbox("<>"), names.of_mailbox("")) == ("<>", "")
    assert names.of_mailbox("postmaster") == names.of("postmaster")


def test_what_is_searched_for_meets_what_is_written() -> None:
    names = Pseudonyms(KEY, ["client", "sender", "recipient"])
    found = terms(names.cover(whole()))
    assert "ip:" + names.of("198.18.7.7") in found
    assert "from:" + names.of_mailbox("some.body@private.example") in found
    assert "from:" + names.of_mailbox("@private.example") in found
    assert "to:" + names.of_mailbox("boss@example.com") in found


def test_a_record_of_a_turned_away_connection_is_covered_too() -> None:
    bare = {"event": "connection", "ref": "R", "client": {"ip": "198.18.7.7"}, "reply": {"code": 421, "text": "Busy"}}
    assert "198.18" not in json.dumps(Pseudonyms(KEY, ["client", "sender"]).cover(bare))


def test_a_key_is_read_without_blanks_at_its_ends(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(KEY + b"\n")
    path.chmod(0o640)
    assert read_key(path) == KEY
    settings = config.Journal(pseudonymise=["client"], pseudonym_key=path)
    assert pseudonyms_for(settings) is not None
    assert pseudonyms_for(config.Journal(pseudonym_key=path)) is None


@pytest.mark.parametrize(
    ("octets", "key"),
    [
        (bytes(range(224, 255)) + b"\x0c", bytes(range(224, 255)) + b"\x0c"),
        (b"\n" + bytes(range(224, 255)), b"\n" + bytes(range(224, 255))),
        (bytes(range(192, 255)) + b"\x0c", bytes(range(192, 255))),  # long enough without it, as ever
        (b" " + KEY + b"\r\n\n", KEY),
    ],
)
def test_a_binary_key_that_ends_in_a_blank_by_chance_is_long_enough(tmp_path: Path, octets: bytes, key: bytes) -> None:
    path = tmp_path / "key"
    path.write_bytes(octets)
    path.chmod(0o600)
    assert read_key(path) == key


@pytest.mark.parametrize(
    ("octets", "mode", "why"),
    [
        (b"short" + b"\n" * 40, 0o600, "holds fewer than 32 octets"),
        (KEY, 0o644, "is open to others: chmod o="),
        (b"k" * 5000, 0o600, "is no file of at most 4096 octets"),
        (None, 0, "cannot be read: No such file or directory"),
    ],
)
def test_a_key_that_is_none_is_refused(tmp_path: Path, octets: bytes | None, mode: int, why: str) -> None:
    path = tmp_path / "key"
    if octets is not None:
        path.write_bytes(octets)
        path.chmod(mode)
    with pytest.raises(BadKey, match=why):
        read_key(path)


def test_a_key_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadKey, match="cannot be read: Is a directory"):
        read_key(tmp_path)


def test_recipients_who_are_treated_otherwise_are_covered_too() -> None:
    """Of a message whose recipients differ in filing, each party has its own decisions, and its facts name it."""
    decision = {"action": "accept", "rule": "", "facts": {"recipient.address": "b@example.com"}, "observed": None}
    party = {"recipients": ["b@example.com"], "profile": "strict", "envelope": decision, "content": decision}
    covered = Pseudonyms(b"k" * 32, ["recipient"]).cover(
        record(recipient="a@example.com", recipients=["a@example.com", "b@example.com"], others=[party])
    )
    [other] = covered["others"]
    assert "example.com" not in str(covered)
    assert other["recipients"] == [covered["recipients"][1]] == [other["content"]["facts"]["recipient.address"]]
    assert party["recipients"] == ["b@example.com"]
