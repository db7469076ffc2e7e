"""The taint list: what it says of a rule, whether it fits a spamd, and that data survives a round trip."""

from __future__ import annotations

import json

import pytest

from mailguard.spamrules.definitions import RuleFile
from mailguard.spamrules.evidence import Evidence
from mailguard.spamrules.taint import BadTaintList, TaintList, digest

FILES = [
    RuleFile("10.cf", "# UPDATE version 77\nbody FREE /x/\nheader RCVD Received =~ /x/\n"),
    RuleFile("20.cf", "header LAST eval:check_rbl('x-lastexternal', 'z')\nheader ENV EnvelopeFrom =~ /\xe4/\n"),
]


def test_tainted_is_what_is_not_granted() -> None:
    taint = TaintList.derive(FILES)
    rules = ("FREE", "RCVD", "LAST", "ENV", "NEW")
    assert taint.tainted(rules, Evidence.CONTENT) == {"RCVD", "LAST", "ENV", "NEW"}
    assert taint.tainted(rules, Evidence.CLIENT) == {"RCVD", "ENV", "NEW"}
    assert taint.tainted(rules, Evidence.CLIENT | Evidence.ENVELOPE | Evidence.WHOLE) == {"RCVD", "NEW"}


def test_a_rule_that_is_not_in_the_list_looks_at_received() -> None:
    assert TaintList.derive(FILES).classify("NEW").evidence == Evidence.RECEIVED


def test_a_list_survives_dump_and_load() -> None:
    taint = TaintList.derive(FILES, "4.0.1")
    assert TaintList.load(taint.dump()) == taint
    assert taint.rules_version == "77"


@pytest.mark.parametrize(
    ("spamassassin", "reported", "rules", "fits"),
    [
        ("4.0.1", "4.0.1", "77", True),
        ("4.0.1", "4.0.2", "77", False),
        ("4.0.1", "4.0.1", "78", False),
        ("4.0.1", "4.0.1", "", False),
        ("", "4.0.1", "77", True),
        ("", "4.0.9", "77", True),
        ("", "4.1.0", "77", False),
        ("", "4.0.1", "78", False),
    ],
)
def test_fits(spamassassin: str, reported: str, rules: str, fits: bool) -> None:
    assert TaintList.derive(FILES, spamassassin).fits(reported, rules) is fits


def test_the_list_of_nothing_fits_no_spamd() -> None:
    assert not TaintList.none().fits("4.0.1", "")
    assert TaintList.none().tainted(["A"], Evidence.CLIENT) == {"A"}


def test_the_digest_tells_names_texts_and_order_apart() -> None:
    a, b = RuleFile("a", "xy"), RuleFile("ax", "y")
    assert len({digest(files) for files in ([a], [b], [a, b], [b, a], [RuleFile("a", "xz")])}) == 5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no JSON"),
        ("[]", "format"),
        ('{"format": 2}', "format"),
        ('{"format": 1}', "not a whole"),
        ('{"format": 1, "rules": [], "digest": "", "rules_version": "", "spamassassin": ""}', "not a whole"),
        ('{"format": 1, "rules": {"A": 3}, "digest": "", "rules_version": "", "spamassassin": ""}', "not a whole"),
        ('{"format": 1, "rules": {"A": [99, ""]}, "digest": "", "rules_version": "", "spamassassin": ""}', "not a wh"),
    ],
)
def test_bad_data_is_refused(text: str, says: str) -> None:
    with pytest.raises(BadTaintList, match=says):
        TaintList.load(text)


def test_the_shipped_list() -> None:
    taint = TaintList.load()
    assert taint.spamassassin == "4.0.1"
    assert len(taint.rules) > 2900
    expected = {
        "GTUBE": Evidence.CONTENT,
        "DRUGS_ERECTILE": Evidence.CONTENT,
        "RCVD_IN_XBL": Evidence.CLIENT,
        "RCVD_IN_SBL": Evidence.RECEIVED,
        "RCVD_IN_BL_SPAMCOP_NET": Evidence.RECEIVED,
        "BAYES_99": Evidence.RECEIVED,
        "SPF_FAIL": Evidence.RECEIVED,
        "DATE_IN_PAST_96_XX": Evidence.RECEIVED,
        "RDNS_NONE": Evidence.RECEIVED,
        "HELO_DYNAMIC_IPADDR": Evidence.RECEIVED,
        "RAZOR2_CHECK": Evidence.RECEIVED,
        "DKIM_INVALID": Evidence.RECEIVED,
    }
    assert {name: taint.classify(name).evidence & (Evidence.RECEIVED | expected[name]) for name in expected} == expected


def test_the_shipped_list_is_written_one_rule_a_line() -> None:
    text = TaintList.load().dump()
    assert text.count("\n") > len(json.loads(text)["rules"])
