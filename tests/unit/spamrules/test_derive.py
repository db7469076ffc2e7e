"""What a rule may look at, as tables: one small rule file in, evidence and path out."""

from __future__ import annotations

import pytest

from mailguard.spamrules.definitions import RuleFile
from mailguard.spamrules.derive import derive_rules
from mailguard.spamrules.evals import EVALS, HEADER_ALONE, Call, parse_call, review
from mailguard.spamrules.evidence import Evidence

CONTENT, ENVELOPE, CLIENT, WHOLE, RECEIVED = (
    Evidence.CONTENT,
    Evidence.ENVELOPE,
    Evidence.CLIENT,
    Evidence.WHOLE,
    Evidence.RECEIVED,
)


def evidence(text: str, rule: str = "A") -> Evidence:
    return derive_rules([RuleFile("t.cf", text)])[rule].evidence


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("header A Subject =~ /x/", CONTENT),
        ("header A From:addr =~ /x/", CONTENT),
        ("header A ToCc !~ /x/ [if-unset: y]", CONTENT),
        ("header A exists:X-Mailer", CONTENT),
        ("header A MESSAGEID =~ /x/", CONTENT),
        ("header A Received =~ /x/", RECEIVED),
        ("header A received:first =~ /x/", RECEIVED),
        ("header A exists:Received", RECEIVED),
        ("header A X-Received =~ /x/", RECEIVED),
        ("header A Received-SPF =~ /x/", RECEIVED),
        ("header A X-Spam-Relays-Untrusted =~ /x/", RECEIVED),
        ("header A ALL =~ /x/", RECEIVED),
        ("header A ALL:raw =~ /x/", RECEIVED),
        ("header A ALL-EXTERNAL =~ /x/", RECEIVED),
        ("header A X-Relay-Countries =~ /x/", RECEIVED),
        ("header A X-ASN =~ /x/", RECEIVED),
        ("header A X-Originating-IP:ip =~ /x/", RECEIVED),
        ("header A EnvelopeFrom =~ /x/", ENVELOPE),
        ("header A EnvelopeFrom:addr:domain =~ /x/", ENVELOPE),
        ("header A =~ /x/", RECEIVED),
        ("body A /Received: from/", CONTENT),
        ("rawbody A /x/", CONTENT),
        ("uri A m{^https?://}", CONTENT),
        ("uri A m{^https?://[^/]+$}i", WHOLE),
        ("uri A m;/x$;i", WHOLE),
        ("uri A m,/x$,", WHOLE),
        ("body A /cost \\$[0-9]/", CONTENT),
        ("body A /cost[.$]/", CONTENT),
        ("body A /end$/", WHOLE),
        ("body A /end\\z/", WHOLE),
        ("body A /(?:a|b$)/", WHOLE),
        ("body A /sale(?!s)/", WHOLE),
        ("body A /(?<!s)ale(?=x)(?:y)/", CONTENT),
        ("rawbody A /x(?! y)/", WHOLE),
        ("mimeheader A Content-Type !~ /x/", WHOLE),
        ("mimeheader A Content-Type =~ /x$/", WHOLE),
        ("uri_detail A text !~ /x/", WHOLE),
        ("header A Subject =~ /x(?!y)$/", CONTENT),
        ("full A /x/", RECEIVED),
        ("mimeheader A Content-Type =~ /x/", CONTENT),
        ("mimeheader A ALL =~ /x/", RECEIVED),
        ("uri_detail A raw =~ /x/", CONTENT),
        ("urirhssub A zone.example. A 2", CONTENT),
        ("askdns A _AUTHORDOMAIN_.zone.example A 127.0.0.2", CONTENT),
        ("askdns A _DKIMDOMAIN_.zone.example A 127.0.0.2", RECEIVED),
        ("askdns A _SENDERDOMAIN_ TXT /x/", ENVELOPE),
        ("askdns A _LASTEXTERNALREVIP_.zone.example A 127.0.0.2", CLIENT),
        ("askdns A _LASTEXTERNALHELO_ A /./", RECEIVED),
        ("askdns A _RELAYSUNTRUSTED_ A /./", RECEIVED),
        ("meta A 1", CONTENT),
        ("meta A ()", RECEIVED),
        ("meta A (NOWHERE)", RECEIVED),
        ("meta A !local_tests_only", CONTENT),
    ],
)
def test_one_line(line: str, expected: Evidence) -> None:
    assert evidence(line) == expected


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("html_range('length', '1', '2')", WHOLE),
        ("html_test('tag')", CONTENT),
        ("check_for_mime_html_only()", WHOLE),
        ("check_freemail_replyto('reply')", WHOLE | ENVELOPE),
        ("check_dkim_adsp('*')", RECEIVED),
        ("check_bayes('0.99', '1.00')", RECEIVED),
        ("check_for_shifted_date('-3', 'undef')", RECEIVED),
        ("check_outlook_message_id()", RECEIVED),
        ("check_to_in_blocklist()", RECEIVED),
        ("check_from_in_blocklist()", ENVELOPE),
        ("check_dkim_valid('example.org')", RECEIVED),
        ("check_dkim_valid_envelopefrom()", RECEIVED),
        ("check_body_length('10')", WHOLE),
        ("check_for_spf_fail()", RECEIVED),
        ("check_invented()", RECEIVED),
        ("no call", RECEIVED),
        ("check_illegal_chars('Subject','0.00','2')", CONTENT),
        ("check_illegal_chars('ALL','0.010','2')", RECEIVED),
        ("check_header_count_range('Received','2','9')", RECEIVED),
        ("check_freemail_header('EnvelopeFrom', '\\d@')", ENVELOPE),
        ("check_msg_parse_flags('mime_epilogue_exists')", CONTENT),
        ("check_msg_parse_flags('truncated_header')", RECEIVED),
        ("check_rbl('x-lastexternal', 'zone.example.')", CLIENT),
        ("check_rbl_txt('x-lastexternal', 'zone.example.')", CLIENT),
        ("check_rbl('x', 'zone.example.')", RECEIVED),
        ("check_rbl('x-firsttrusted', 'zone.example.')", RECEIVED),
        ("check_rbl('x-untrusted', 'zone.example.')", RECEIVED),
        ("check_rbl('x-notfirsthop', 'zone.example.')", RECEIVED),
        ("check_rbl_headers('x-lastexternal', 'zone.example.')", RECEIVED),
        ("check_rbl_envfrom('x', 'zone.example.')", ENVELOPE),
    ],
)
def test_evals(call: str, expected: Evidence) -> None:
    assert evidence(f"header A eval:{call}") == expected
    assert evidence(f"full A eval:{call}") == expected


@pytest.mark.parametrize(
    ("base", "expected"),
    [
        ("header B eval:check_rbl('s-lastexternal', 'zone.')", CLIENT),
        ("header B eval:check_rbl_txt('s-lastexternal', 'zone.')", CLIENT),
        ("header B eval:check_rbl_rcvd('s-lastexternal', 'zone.')", RECEIVED),
        ("header B eval:check_rbl('other-lastexternal', 'zone.')", RECEIVED),
        (
            "header B eval:check_rbl('s-lastexternal', 'zone.')\n"
            "header C eval:check_rbl_from_host('s-lastexternal', 'z.')",
            CLIENT | ENVELOPE,
        ),
    ],
)
def test_check_rbl_sub_inherits_its_set(base: str, expected: Evidence) -> None:
    assert evidence(f"{base}\nheader A rbleval:check_rbl_sub('s-lastexternal', '127.0.0.2')") == expected


def test_taint_passes_through_metas_and_the_reason_is_the_path() -> None:
    text = "meta A (__B && X)\nmeta __B !__C\nheader __C Received =~ /x/\nbody X /x/"
    rules = derive_rules([RuleFile("t.cf", text)])
    assert rules["A"].evidence == RECEIVED
    assert rules["A"].reason == "__B <- __C <- reads Received"
    assert rules["X"].evidence == CONTENT


@pytest.mark.parametrize(
    ("meta", "expected"),
    [
        ("B", CONTENT),
        ("(B && H)", CONTENT),
        ("(B + C) > 1", CONTENT),
        ("(B + C) >= 2 && H", CONTENT),
        ("(B + C > 1.5)", CONTENT),
        ("B && !H", CONTENT),
        ("B && ! H", CONTENT),
        ("!B", WHOLE),
        ("H && ! B", WHOLE),
        ("!(H || B)", WHOLE),
        ("!!B", WHOLE),
        ("H && (B < 2)", WHOLE),
        ("H && (2 > B)", WHOLE),
        ("H > 1 + B", WHOLE),
        ("(B == 1)", WHOLE),
        ("(B != 1)", WHOLE),
        ("H - B", WHOLE),
        ("H ^ B", WHOLE),
        ("(B ? 0 : 1)", WHOLE),
        ("!rules_matching(B*)", WHOLE),
        ("!N", WHOLE),
        ("!E", WHOLE),
        ("!F", CONTENT),
        ("P", WHOLE),
    ],
)
def test_what_a_cut_can_make_hit_needs_the_whole_message(meta: str, expected: Evidence) -> None:
    """What a cut takes away makes a rule miss, and so makes another hit that wants it missing."""
    text = (
        f"meta A {meta}\nmeta N H && B\nmeta P Q\nmeta Q !B\nbody B /x/\nrawbody C /x/\nheader H To =~ /x/\n"
        "full E eval:check_for_mime_html()\nheader F eval:subject_is_all_caps()\n"
    )
    assert evidence(text) == expected


def test_functions_that_see_the_header_alone_were_reviewed() -> None:
    for function in HEADER_ALONE:
        assert review(Call(function, ("Subject",))).reason != "not reviewed"
        assert not review(Call(function, ("Subject",))).evidence & WHOLE


def test_evidence_of_several_kinds_is_united() -> None:
    text = (
        "meta A B + C + D\nheader B EnvelopeFrom =~ /x/\nfull C eval:check_body_length(1)\n"
        "header D eval:check_rbl('x-lastexternal','z')"
    )
    assert evidence(text) == ENVELOPE | WHOLE | CLIENT


def test_metas_that_need_each_other_end() -> None:
    assert evidence("meta A B\nmeta B A") == CONTENT
    assert evidence("meta A B\nmeta B A || C\nheader C ALL =~ /x/") == RECEIVED


def test_rules_matching_names_every_rule_of_the_pattern() -> None:
    text = "meta A rules_matching(__X_*) >= 2\nbody __X_1 /x/\nheader __X_2 Received =~ /x/"
    assert evidence(text) == RECEIVED
    assert evidence(text.replace("__X_2", "__Y_2")) == CONTENT


def test_the_worst_definition_counts_wherever_it_stands() -> None:
    free, tainted = "header A To =~ /x/", "header A Received =~ /x/"
    for texts in ([free, tainted], [tainted, free]):
        files = [RuleFile(f"{i}.cf", text) for i, text in enumerate(texts)]
        assert derive_rules(files)["A"].evidence == RECEIVED


def test_a_template_has_the_evidence_of_the_rule_that_captures() -> None:
    use = "uri A m|\\#%{WHO}|\n"
    assert evidence(use + "header B To:addr =~ /(?<WHO>.*)/") == CONTENT
    assert evidence(use + "header B Received =~ /(?<WHO>.*)/") == RECEIVED
    assert evidence(use) == RECEIVED


def test_a_setting_that_is_not_understood_taints_the_rule_that_it_names() -> None:
    assert evidence("body A /x/\nmystery_rule A something") == RECEIVED
    assert derive_rules([RuleFile("t.cf", "mystery_rule A something")]) == {}


def test_calls() -> None:
    call = parse_call("check_rbl('a-lastexternal', 'zone.example.', '^127\\.0\\.0\\.[45]$')")
    assert call is not None
    assert (call.function, call.arguments) == ("check_rbl", ("a-lastexternal", "zone.example.", "^127\\.0\\.0\\.[45]$"))
    assert parse_call("check_rbl(") is None
    assert review(parse_call("check_dcc()")).evidence == RECEIVED  # type: ignore[arg-type]


def test_every_review_has_a_reason() -> None:
    assert all(found.reason for found in EVALS.values())
