"""The reviewed table of SpamAssassin's eval functions: what each may look at, and why we think so.

Read in the source of SpamAssassin 4.0.1, plugin by plugin. A function that is not here is taken for one that looks at
Received lines. Adding one means reading its source, all that it calls included, and one line of reason here.

Traps that the reading showed, for the next reader: ``all_to_addrs`` takes recipients out of the topmost Received lines,
so every ``*_to_*`` list is tainted; ``all_from_addrs`` includes EnvelopeFrom; the dates of DATE_IN_PAST are compared
with those in Received; check_outlook_message_id too. A ``-lastexternal`` list asks about the first *public* address, so
a private client makes it ask about another host (:mod:`mailguard.scanners.spamassassin` grants it accordingly).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from mailguard.spamrules.evidence import Evidence
from mailguard.spamrules.reads import header_evidence


@dataclass(frozen=True, slots=True)
class Review:
    """The result of reading one function's source."""

    evidence: Evidence
    reason: str


_C, _E, _W, _R = Evidence.CONTENT, Evidence.ENVELOPE, Evidence.WHOLE, Evidence.RECEIVED

_GROUPS: Final[tuple[tuple[Evidence, str, str], ...]] = (
    # BodyEval
    (_W, "compares all alternatives; a cut makes them differ", "multipart_alternative_difference"),
    (_W, "compares all alternatives; a cut makes them differ", "multipart_alternative_difference_count"),
    (_W, "length of the pristine body", "check_body_length"),
    (_W, "shares of the decoded body", "check_blank_line_ratio tvd_vertical_words"),
    (_C, "lines of the decoded body", "check_stock_info"),
    (_W, "lengths in the first text part", "plaintext_body_length plaintext_sig_length plaintext_body_sig_ratio"),
    # MIMEEval
    (_W, "MIME structure without what was cut off", "check_for_mime check_for_mime_html_only"),
    (_W, "shares of the MIME parts", "check_mime_multipart_ratio"),
    (_C, "MIME structure and types of the parts", "check_for_mime_html check_ma_non_text"),
    (_W, "the longest line", "check_base64_length"),
    (_C, "characters of the text parts", "check_for_ascii_text_illegal"),
    (_W, "shares of the text parts", "check_abundant_unicode_ratio check_qp_ratio check_for_uppercase"),
    (_C, "charset of the text parts", "check_for_faraway_charset"),
    # HTMLEval
    (_W, "balance of tags; a cut leaves them open", "html_tag_balance"),
    (_W, "lengths and shares in rendered HTML", "html_image_only html_image_ratio html_eval html_range"),
    (_W, "what is not in rendered HTML", "html_text_not_match html_title_subject_ratio"),
    (_C, "rendered HTML", "html_charset_faraway html_tag_exists html_test html_text_match check_iframe_src"),
    # ImageInfo, PDFInfo, OLEVBMacro, AntiVirus
    (_C, "attached images", "image_size_exact image_size_range image_named image_name_regex"),
    (_W, "number and area of all images", "image_count pixel_coverage image_to_text_ratio"),
    (_C, "attached PDFs", "pdf_image_size_exact pdf_image_size_range pdf_named pdf_name_regex pdf_match_md5"),
    (_C, "attached PDFs", "pdf_match_fuzzy_md5 pdf_match_details pdf_is_encrypted"),
    (_W, "number and area of all PDFs", "pdf_count pdf_image_count pdf_pixel_coverage pdf_image_to_text_ratio"),
    (_W, "whether there is text beside a PDF", "pdf_is_empty_body"),
    (_C, "attached documents", "check_olemacro check_oleobject check_olertfobject check_olemacro_csv"),
    (_C, "attached documents", "check_olemacro_malice check_olemacro_renamed check_olemacro_download_exe"),
    (_C, "attached documents", "check_olemacro_redirect_uri check_olemacro_mhtml_uri"),
    (_W, "what cannot be unpacked", "check_olemacro_encrypted check_olemacro_zip_password"),
    (_C, "names and types of attachments", "check_microsoft_executable check_suspect_name"),
    # URIs of the body (and of DKIM-Signature)
    (_C, "URIs of the body", "check_uridnsbl check_uri_detail check_uri_local_bl check_for_http_redirector"),
    (_C, "URIs of the body", "check_https_ip_mismatch check_phishing"),
    (_W, "an anchor to its end", "check_https_http_mismatch check_uri_truncated"),
    (_C, "URIs of the body", "check_uri_host_listed check_uri_host_in_blocklist check_uri_host_in_blacklist"),
    (_C, "URIs of the body", "check_uri_host_in_welcomelist check_uri_host_in_whitelist check_hashbl_uris"),
    (_C, "text of the body", "check_hashbl_bodyre check_body_8bits"),
    (_W, "text of the body; not where it is too much", "check_language check_freemail_body"),
    (_C, "where short URIs of the body lead", "short_url short_url_redir short_url_200 short_url_404 short_url_code"),
    (_C, "where short URIs of the body lead", "short_url_chained short_url_maxchain short_url_loop"),
    # HeaderEval
    (_C, "From and Subject", "check_for_faraway_charset_in_headers subject_is_all_caps check_ratware_name_id"),
    (_C, "Subject", "check_for_unique_subject_id check_subject_in_welcomelist check_subject_in_whitelist"),
    (_C, "Subject", "check_subject_in_blocklist check_subject_in_blacklist"),
    (_C, "To, Cc, Bcc, Subject", "sorted_recipients similar_recipients check_for_missing_to_header"),
    (_C, "To and Subject", "check_for_to_in_subject"),
    (_E, "From and EnvelopeFrom", "check_for_matching_env_and_hdr_from check_equal_from_domains"),
    (_E, "To and EnvelopeFrom", "check_ratware_envelope_from"),
    (_R, "the date in Received", "check_for_shifted_date received_within_months check_outlook_message_id"),
    (_R, "every header field", "check_unresolved_template"),
    (_R, "Received", "check_for_fake_aol_relay_in_rcvd check_messageid_not_usable gated_through_received_hdr_remover"),
    (_R, "Received", "check_for_forged_hotmail_received_headers check_for_no_hotmail_received_headers"),
    (_R, "Received", "check_for_msn_groups_headers check_for_forged_eudoramail_received_headers"),
    (_R, "Received", "check_for_forged_yahoo_received_headers check_for_forged_juno_received_headers"),
    (_R, "Received", "check_for_forged_gmail_received_headers check_for_forged_gw05_received_headers"),
    # RelayEval
    (_R, "the relays", "check_for_numeric_helo check_for_illegal_ip check_all_trusted check_no_relays"),
    (_R, "the relays", "check_relays_unparseable check_for_sender_no_reverse helo_ip_mismatch"),
    (_R, "the relays", "check_for_from_domain_in_received_headers check_for_forged_received_trail"),
    (_R, "the relays", "check_for_forged_received_ip_helo check_for_no_rdns_dotcom_helo"),
    # WLBLEval, FreeMail, FromNameSpoof, AccessDB, VBounce
    (_E, "From and EnvelopeFrom", "check_from_in_blocklist check_from_in_blacklist check_from_in_list"),
    (_E, "From and EnvelopeFrom", "check_freemail_from"),
    (_W | _E, "From, EnvelopeFrom, and addresses in the body", "check_freemail_replyto"),
    (_C, "Reply-To", "check_replyto_in_list"),
    (_R, "recipients, out of Received too", "check_to_in_blocklist check_to_in_blacklist check_to_in_list"),
    (_R, "recipients, out of Received too", "check_to_in_welcomelist check_to_in_whitelist check_to_in_more_spam"),
    (_R, "recipients, out of Received too", "check_to_in_all_spam check_fromname_equals_to check_fromname_spoof"),
    (_R, "recipients, out of Received too", "check_fromname_different check_fromname_domain_differ"),
    (_R, "recipients, out of Received too", "check_fromname_contains_email check_fromname_owners_differ"),
    (_R, "recipients, out of Received too", "check_fromname_equals_replyto"),
    (_R, "the relays", "check_from_in_welcomelist check_from_in_whitelist check_forged_in_welcomelist"),
    (_R, "the relays", "check_forged_in_whitelist check_from_in_default_welcomelist check_mailfrom_matches_rcvd"),
    (_R, "the relays", "check_from_in_default_whitelist check_forged_in_default_welcomelist"),
    (_R, "the relays", "check_forged_in_default_whitelist check_access_database"),
    (_R, "Received lines of a returned message", "check_welcomelist_bounce_relays check_whitelist_bounce_relays"),
    (_C, "a setting", "have_any_bounce_relays"),
    # DKIM, ARC: a signer may name Received (RFC 6376 5.4.1), and a relay that adds a line then breaks the signature
    (_R, "signatures, over Received too", "check_dkim_signed check_dkim_valid check_dkim_valid_author_sig"),
    (_R, "signatures, over Received too", "check_dkim_testing check_dkim_dependable check_dkim_verified"),
    (_R, "signatures, over Received too", "check_dkim_adsp check_dkim_signall check_dkim_signsome"),
    (_R, "signatures, over Received too", "check_arc_signed check_arc_valid"),
    (_R, "signatures, over Received too", "check_for_dkim_welcomelist_from check_for_dkim_whitelist_from"),
    (_R, "signatures, over Received too", "check_for_def_dkim_welcomelist_from check_for_def_dkim_whitelist_from"),
    (_R, "signatures, over Received too", "check_dkim_valid_envelopefrom"),
    # SPF, DMARC, AuthRes: also Received-SPF and Authentication-Results that others wrote
    (_R, "the relays, Received-SPF", "check_for_spf_pass check_for_spf_neutral check_for_spf_none check_for_spf_fail"),
    (_R, "the relays, Received-SPF", "check_for_spf_softfail check_for_spf_permerror check_for_spf_temperror"),
    (_R, "the relays, Received-SPF", "check_for_spf_helo_pass check_for_spf_helo_neutral check_for_spf_helo_none"),
    (_R, "the relays, Received-SPF", "check_for_spf_helo_fail check_for_spf_helo_softfail"),
    (_R, "the relays, Received-SPF", "check_for_spf_helo_permerror check_for_spf_helo_temperror"),
    (_R, "the relays, Received-SPF", "check_for_spf_welcomelist_from check_for_spf_whitelist_from"),
    (_R, "the relays, Received-SPF", "check_for_def_spf_welcomelist_from check_for_def_spf_whitelist_from"),
    (_R, "the relays, Received-SPF", "check_spf_skipped_noenvfrom"),
    (_R, "SPF", "check_dmarc_pass check_dmarc_reject check_dmarc_quarantine check_dmarc_none check_dmarc_missing"),
    (_R, "Authentication-Results between Received lines", "check_authres_result"),
    # learned, reputation, other programs
    (_R, "tokens learned from Received", "check_bayes"),
    (_R, "reputation of the relays", "check_senders_reputation check_from_in_auto_welcomelist"),
    (_R, "reputation of the relays", "check_from_in_auto_whitelist check_asn"),
    (_R, "the relays and the whole message, to DCC", "check_dcc check_dcc_reputation_range"),
    (_R, "the whole message, to another program", "check_pyzor check_razor2 check_razor2_range"),
    (_R, "whichever rule ended the scan early", "check_shortcircuit"),
    # DNSEval but for those of _BY_SET
    (_E, "From and EnvelopeFrom", "check_rbl_from_host check_rbl_from_domain"),
    (_E, "EnvelopeFrom", "check_rbl_envfrom check_rbl_ns_from check_dns_sender"),
    (_R, "header fields that name hosts", "check_rbl_headers"),
    (_R, "the relays", "check_rbl_rcvd"),
)

EVALS: Final = {
    name: Review(evidence, reason) for evidence, reason, names in _GROUPS for name in names.split()
}  # fmt: skip
"""Every reviewed function but those whose arguments decide."""

HEADER_ALONE: Final = frozenset(
    {
        "check_for_faraway_charset_in_headers", "subject_is_all_caps", "check_ratware_name_id",
        "check_for_unique_subject_id", "check_subject_in_welcomelist", "check_subject_in_whitelist",
        "check_subject_in_blocklist", "check_subject_in_blacklist", "sorted_recipients", "similar_recipients",
        "check_for_missing_to_header", "check_for_to_in_subject", "check_for_matching_env_and_hdr_from",
        "check_equal_from_domains", "check_ratware_envelope_from", "check_from_in_blocklist", "check_from_in_blacklist",
        "check_from_in_list", "check_freemail_from", "check_replyto_in_list", "have_any_bounce_relays", "check_rbl",
        "check_rbl_txt", "check_rbl_accreditor", "check_rbl_from_host", "check_rbl_from_domain", "check_rbl_envfrom",
        "check_rbl_ns_from", "check_dns_sender", "check_illegal_chars", "check_header_count_range",
        "check_freemail_header",
    }
)  # fmt: skip
"""Functions that never look into the body: a cut of it cannot make them miss."""

_BY_HEADER: Final = frozenset({"check_illegal_chars", "check_header_count_range", "check_freemail_header"})
"""Read the header field that their first argument names."""

SET_DEFINING: Final = frozenset({"check_rbl", "check_rbl_txt", "check_rbl_accreditor"})
"""Ask a list about the relays that the suffix of their first argument, the set, selects."""

_PARSE_FLAGS: Final = {
    "missing_head_body_separator": _W,
    "missing_mime_head_body_separator": _W,
    "missing_mime_headers": _W,
    "mime_epilogue_exists": _C,  # epilogues can only be cut off
}
"""Arguments of check_msg_parse_flags that Received lines cannot cause; ``truncated_header`` they can."""

_CALL: Final = re.compile(r"(\w+)\s*\((.*)\)\s*$")
_ARGUMENT: Final = re.compile(r"""\s*(?:(['"])(.*?)\1|([\d.:A-Za-z_-]+))\s*(?:,|$)""")


@dataclass(frozen=True, slots=True)
class Call:
    """One call of an eval function, as a rule writes it."""

    function: str
    arguments: tuple[str, ...]

    @property
    def first(self) -> str:
        """The first argument, or empty."""
        return self.arguments[0] if self.arguments else ""


def parse_call(text: str) -> Call | None:
    """``name('argument', 2)`` as a value; None where it is no call."""
    found = _CALL.fullmatch(text.strip())
    if found is None:
        return None
    return Call(found[1], tuple(quoted or bare for _, quoted, bare in _ARGUMENT.findall(found[2])))


def review(call: Call) -> Review:
    """What ``call`` may look at; check_rbl_sub apart, which depends on other rules (:mod:`.derive`)."""
    if call.function in _BY_HEADER:
        return Review(header_evidence(call.first), f"reads {call.first}")
    if call.function in SET_DEFINING:
        return _relays(call.first)
    if call.function == "check_msg_parse_flags":
        return Review(_PARSE_FLAGS.get(call.first, _R), f"parse flag {call.first}")
    return EVALS.get(call.function, Review(_R, "not reviewed"))


def _relays(set_name: str) -> Review:
    if set_name.endswith("-lastexternal"):
        return Review(Evidence.CLIENT, "a list about the last external relay")
    return Review(_R, "a list about relays in Received")
