"""The table: what a client sends, what must come out below our fields, and why.

A row is a whole message. Most are one field between two others: ``forged`` goes whole, ``kept`` stays to the octet,
since no reader takes it for ours. Rows of the group ``places`` are about where a field stands. ``exim`` says whether
Exim 4.96 would read the field as ours if nobody removed it (``$h_X-Mailguard-Folder:`` and the like): asked of it in
tests/real/test_forged.py. Octets are as on the wire, dots not stuffed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mailguard.message.forged import MAX_LOOK

HOST: Final = "mx.example.com"
IDN: Final = "mx.xn--bcher-kva.example"
BEFORE: Final = b"From: a@example.org\r\n"
AFTER: Final = b"Subject: s\r\n"
BODY: Final = b"\r\nbody\r\n"
FOLDER: Final = b"X-Mailguard-Folder: Junk\r\n"

Row = tuple[str, str]
"""Group and name of a row."""


@dataclass(frozen=True)
class Forgery:
    """One row.

    Attributes:
        group, name: what is done.
        why: why somebody could take it for ours, or why nobody does.
        sent: the message as the client sends it.
        arrives: what must be left of it.
        field: the one field that it is about; empty where the row is about more.
        header: what a reader would ask for.
        exim: whether Exim, asked for ``header``, would see it in ``sent``.
        host: our host name.
    """

    group: str
    name: str
    why: str
    sent: bytes
    arrives: bytes
    field: bytes = b""
    header: str = "X-Mailguard-Folder"
    exim: bool = True
    host: str = HOST

    @property
    def key(self) -> Row:
        """No other row has it."""
        return self.group, self.name

    @property
    def goes(self) -> bool:
        """Whether anything is removed."""
        return self.sent != self.arrives


def forged(group: str, name: str, field: bytes, why: str, **more: object) -> Forgery:
    """A row whose ``field`` goes."""
    sent = BEFORE + field + AFTER + BODY
    return Forgery(group, name, why, sent, BEFORE + AFTER + BODY, field, **more)  # type: ignore[arg-type]


def kept(name: str, field: bytes, why: str, **more: object) -> Forgery:
    """A row whose ``field`` stays."""
    sent = BEFORE + field + AFTER + BODY
    return Forgery("others", name, why, sent, sent, field, exim=False, **more)  # type: ignore[arg-type]


def place(name: str, sent: bytes, arrives: bytes, why: str, *, exim: bool = True) -> Forgery:
    """A row about where a field stands."""
    return Forgery("places", name, why, sent, arrives, exim=exim)


def results(name: str, value: bytes, why: str, host: str = HOST) -> Forgery:
    """An Authentication-Results that goes; what its authserv-id is, Exim does not ask."""
    field = b"Authentication-Results:" + value + b"\r\n"
    return forged("results", name, field, why, header="", exim=False, host=host)


_CASE = "names are compared without case (RFC 5322 1.2.2)"
_OBSOLETE = "blanks may stand before the colon (RFC 5322 4.5, obs-optional)"
_C = "C code ends a name there, other code steps over it"
_PREFIX = "every name with our prefix is ours, used or not"

_NAMES = (
    forged("names", "plain", FOLDER, "a router files by it"),
    forged("names", "lower case, no blank", b"x-mailguard-folder:Junk\r\n", _CASE),
    forged("names", "mixed case", b"x-SPAM-fLaG: NO\r\n", _CASE, header="X-Spam-Flag"),
    forged("names", "blank before the colon", b"X-Mailguard-Folder : Junk\r\n", _OBSOLETE, exim=False),
    forged("names", "tab before the colon", b"X-Mailguard-Folder\t: Junk\r\n", _OBSOLETE, exim=False),
    forged("names", "folded before the colon", b"X-Mailguard-Folder\r\n : Junk\r\n", _OBSOLETE, exim=False),
    forged("names", "folded twice before it", b"X-Mailguard-Folder \r\n\t\r\n : Junk\r\n", _OBSOLETE, exim=False),
    forged("names", "NUL behind the name", b"X-Mailguard-Folder\x00: Junk\r\n", _C, exim=False),
    forged("names", "NUL in the name", b"X-Mail\x00guard-Folder: Junk\r\n", _C, exim=False),
    forged("names", "NUL before the name", b"\x00X-Mailguard-Folder: Junk\r\n", _C, exim=False),
    forged("names", "control octets around it", b"\x0bX-Mailguard-Folder\x7f: Junk\r\n", _C, exim=False),
    forged(
        "names",
        "blank in the name",
        b"X-Mailguard- Folder: Junk\r\n",
        "no field to most readers; the doubt is for removal",
        exim=False,
    ),
    forged("names", "8-bit octet in the name", b"X-Spam-\xe9: NO\r\n", _PREFIX, header="X-Spam-", exim=False),
    forged(
        "names", "UTF-8 in the name", "X-Mailguard-Größe: 1\r\n".encode(), _PREFIX, header="X-Mailguard-", exim=False
    ),
    forged("names", "signs behind the prefix", b"X-Spam-(c): NO\r\n", _PREFIX, header="X-Spam-", exim=False),
    forged("names", "dot at the end of the name", b"X-Mailguard-Folder.: Junk\r\n", _PREFIX, exim=False),
    forged("names", "a name that we never write", b"X-Mailguard-Zzz: 1\r\n", _PREFIX, header="X-Mailguard-Zzz"),
    forged("names", "the bare prefix", b"X-Mailguard: 1\r\n", "ours by name", header="X-Mailguard"),
    forged("names", "nothing behind the prefix", b"X-Spam-: 1\r\n", _PREFIX, header="X-Spam-"),
    forged("names", "verdict", b"X-Spam-Status: No, score=-9\r\n", "Sieve and mail programs", header="X-Spam-Status"),
    forged("names", "level", b"X-Spam-Level: ***\r\n", "Sieve and mail programs", header="X-Spam-Level"),
    forged("names", "virus scanned", b"X-Virus-Scanned: by nobody\r\n", "people trust it", header="X-Virus-Scanned"),
    forged("names", "reference", b"X-Mailguard-Id: 234567892-1\r\n", "leads to our log", header="X-Mailguard-Id"),
)

_VALUES = (
    forged(
        "values", "no value", b"X-Spam-Level:\r\n", "it is there (Sieve: exists)", header="X-Spam-Level", exim=False
    ),
    forged("values", "folded", b"X-Mailguard-Folder:\r\n\tJu\r\n nk\r\n", "goes with its folded lines"),
    forged("values", "on the folded line alone", b"X-Mailguard-Folder:\r\n Junk\r\n", "goes with its folded lines"),
    forged(
        "values",
        "a folded line of blanks inside",
        b"X-Mailguard-Folder: Junk\r\n  \r\n\tmore\r\n",
        "RFC 5322 4.2 (obs-FWS); to some readers an empty line",
    ),
    forged(
        "values",
        "a folded line that looks like a field",
        b"X-Mailguard-Folder: Junk\r\n X-Other: y\r\n",
        "what begins with a blank is no field (RFC 5322 2.2.3)",
    ),
    forged("values", "by profile", b"X-Mailguard-Folder: normal=-; strict=Junk\r\n", "the name counts"),
    forged("values", "by profile, for postmaster", b"X-Mailguard-Folder: postmaster=Junk\r\n", "the name counts"),
    forged("values", "by profile, folded", b"X-Mailguard-Folder: normal=-;\r\n\tstrict=Junk\r\n", "the name counts"),
    forged("values", "8-bit", b"X-Mailguard-Folder: \xff\xfe\r\n", "the name counts"),
    forged("values", "one line of 65,000 octets", b"X-Mailguard-Folder: " + b"z" * 65_000 + b"\r\n", "goes whole"),
    forged("values", "folded 5,000 times", b"X-Mailguard-Folder:" + b"\r\n z" * 5000 + b"\r\n", "goes whole"),
    forged("values", "encoded word", b"X-Mailguard-Folder: =?utf-8?q?Junk?=\r\n", "readers decode values (RFC 2047)"),
)

_MIME = (
    b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n"
    + FOLDER
    + b"\r\nx\r\n--b\r\nContent-Type: message/rfc822\r\n\r\n"
    + FOLDER
    + b"From: b@example.org\r\n\r\nx\r\n--b--\r\n"
)

_PLACES = (
    place("first line", FOLDER + BEFORE + BODY, BEFORE + BODY, "a header section begins with any field"),
    place("last, behind it the empty line", BEFORE + FOLDER + BODY, BEFORE + BODY, "a header section ends with any"),
    place("last, no empty line, no body", BEFORE + FOLDER, BEFORE, "RFC 5322 3.5: the body is optional"),
    place("last, without its CR LF", BEFORE + FOLDER[:-2], BEFORE, "the end of the message ends the line (RFC 3030 2)"),
    place("nothing but forged fields", FOLDER + FOLDER, b"", "our fields stand there alone"),
    place(
        "three times, apart",
        FOLDER + BEFORE + FOLDER + AFTER + FOLDER + BODY,
        BEFORE + AFTER + BODY,
        "readers differ whether the first or the last counts",
    ),
    place(
        "far down, just within the bound of a header section",
        BEFORE + b"X-Pad:" + b"\r\n z" * 262_000 + b"\r\n" + FOLDER + BODY,
        BEFORE + b"X-Pad:" + b"\r\n z" * 262_000 + b"\r\n" + BODY,
        "readers differ how far they read; beyond the bound the message is refused",
    ),
    place(
        "behind a line of blanks",
        BEFORE + b" \t\r\n" + FOLDER + BODY,
        BEFORE + b" \t\r\n" + BODY,
        "looks empty and is a folded line (RFC 5322 4.2); Exim reads on",
    ),
    place(
        "behind a line that is no field",
        BEFORE + b"no field\r\n" + FOLDER + BODY,
        BEFORE + b"no field\r\n" + BODY,
        "Exim ends the header section there, SpamAssassin does not",
        exim=False,
    ),
    place(
        "behind an mbox line",
        b"From a@example.org Sat Nov 21 10:00:00 2026\r\n" + BEFORE + FOLDER + BODY,
        b"\r\nFrom a@example.org Sat Nov 21 10:00:00 2026\r\n" + BEFORE + FOLDER + BODY,
        "a first line that is no field: all is body, below an empty line of ours",
        exim=False,
    ),
    place(
        "behind a first line that begins with a blank",
        b" more\r\n" + FOLDER + BODY,
        b"\r\n more\r\n" + FOLDER + BODY,
        "it would continue our own last field; all is body, below an empty line of ours",
        exim=False,
    ),
    place(
        "on a first line that begins with a blank",
        b" " + FOLDER + BEFORE + BODY,
        b"\r\n " + FOLDER + BEFORE + BODY,
        "likewise",
        exim=False,
    ),
    place(
        "behind a bare LF",
        BEFORE.removesuffix(b"\r\n") + b"\n" + FOLDER + BODY,
        BEFORE + BODY,
        "line ends are made CR LF first (RFC 5321 2.3.8)",
    ),
    place(
        "between bare CRs",
        BEFORE.removesuffix(b"\r\n") + b"\r" + FOLDER.removesuffix(b"\r\n") + b"\r" + AFTER + BODY,
        BEFORE + AFTER + BODY,
        "likewise",
        exim=False,
    ),
    place(
        "behind LF CR LF",
        BEFORE.removesuffix(b"\r\n") + b"\n\r\n" + FOLDER + BODY,
        BEFORE + b"\r\n" + FOLDER + BODY,
        "two line ends: an empty line, and body behind it",
        exim=False,
    ),
    place(
        "folded by a bare LF before the colon",
        BEFORE + b"X-Mailguard-Folder\n : Junk\r\n" + BODY,
        BEFORE + BODY,
        _OBSOLETE,
        exim=False,
    ),
    place("in the body", BEFORE + b"\r\n" + FOLDER, BEFORE + b"\r\n" + FOLDER, "body to everybody", exim=False),
    place(
        "in a body without header", b"\r\n" + FOLDER + BODY, b"\r\n" + FOLDER + BODY, "body to everybody", exim=False
    ),
    place("in MIME parts", BEFORE + _MIME, BEFORE + _MIME, "a part's header is content (RFC 2046 5.1)", exim=False),
)

_US = b"mx.example.com"
_SKIP = "comments and folds may stand before it (RFC 8601 2.2, CFWS)"
_DOUBT = "no authserv-id by the grammar, yet our name: some reader may be lenient"
_ID = "it is compared as a host name (RFC 8601 2.5)"
_LABELS = "A-labels and U-labels are one name (RFC 5890)"

_RESULTS = (
    results("plain", b" mx.example.com; spf=pass", "RFC 8601 5: ours alone may bear our name"),
    results("case", b" MX.Example.COM; spf=pass", _ID),
    results("no blank", b"mx.example.com;spf=pass", "RFC 8601 2.2"),
    results("version", b" mx.example.com 1; spf=pass", "RFC 8601 2.2, authres-version"),
    results("version behind a comment", b" mx.example.com (c) 1 (d); spf=pass", "RFC 8601 2.2, CFWS"),
    results("version behind a slash", b" mx.example.com/1; spf=pass", "the token ends at the slash (RFC 2045 5.1)"),
    results("comment first", b" (hello) mx.example.com; spf=pass", _SKIP),
    results("nested comments", rb" (a (b \) c) (d)) mx.example.com; none", _SKIP),
    results("comments touching it", b"(c)mx.example.com(d); none", _SKIP),
    results("folded first", b"\r\n mx.example.com;\r\n\tspf=pass", _SKIP),
    results("comment folded", b" (x\r\n y)\r\n\tmx.example.com; none", _SKIP),
    results(
        "huge comment first", b" (" + b"c" * MAX_LOOK + b") mx.example.com; none", "longer than we parse: " + _DOUBT
    ),
    results("quoted", b' "mx.example.com"; spf=pass', "a value may be quoted (RFC 2045 5.1)"),
    results("quoted pairs", rb' "mx\.ex\ample.com"; spf=pass', "a backslash in quotes says nothing (RFC 5322 3.2.1)"),
    results("dot at the end", b" mx.example.com.; spf=pass", _ID),
    results("no semicolon", b" mx.example.com", _DOUBT),
    results("comment never closed", b" (mx.example.com; spf=pass", _DOUBT),
    results("quote never closed", b' "mx.example.com; spf=pass', _DOUBT),
    results("quote never closed, pairs", rb' "mx.\example.com; spf=pass', _DOUBT),
    results("bracket first", b" <mx.example.com>; spf=pass", _DOUBT),
    results("control octets", b" \x00mx.example.com\x00; none", _C),
    results("A-label", b" mx.XN--bcher-kva.example; spf=pass", _LABELS, IDN),
    results("U-label", " mx.BÜCHER.example; spf=pass".encode(), _LABELS, IDN),
    results(
        "other full stops", " mx。bücher．example; spf=pass".encode(), "IDNA takes them for dots (RFC 3490 3.1)", IDN
    ),
    results(
        "full width, marks apart", " ｍｘ.bu\u0308cher.example; x=pass".encode(), "one name by normal form KC", IDN
    ),
    results("soft hyphen", " mx.bü\u00adcher.example; spf=pass".encode(), "IDNA leaves it out (RFC 3454 B.1)", IDN),
    forged(
        "results",
        "blank before the colon",
        b"Authentication-Results : mx.example.com; spf=pass\r\n",
        _OBSOLETE,
        header="",
        exim=False,
    ),
    forged(
        "results",
        "name in upper case",
        b"AUTHENTICATION-RESULTS: mx.example.com; spf=pass\r\n",
        _CASE,
        header="",
        exim=False,
    ),
)

_OTHER_NAME = "another name to every reader"
_OTHERS = (
    kept("a similar name", b"X-Spam: no\r\n", _OTHER_NAME),
    kept("another product", b"X-Spamd-Result: default\r\n", _OTHER_NAME),
    kept("a longer word", b"X-Mailguardian: 1\r\n", _OTHER_NAME),
    kept("another field about viruses", b"X-Virus-Status: Clean\r\n", _OTHER_NAME),
    kept("more behind our name", b"X-Virus-Scanned-By: somebody\r\n", _OTHER_NAME),
    kept("dot behind our name", b"X-Virus-Scanned.: by nobody\r\n", _OTHER_NAME),
    kept("more before our name", b"Old-X-Spam-Flag: YES\r\n", _OTHER_NAME),
    kept("Cyrillic letter", "Х-Mailguard-Folder: Junk\r\n".encode(), _OTHER_NAME),
    kept("long s", "X-ſpam-Flag: YES\r\n".encode(), _OTHER_NAME),
    kept("another hyphen", "X‐Mailguard‐Folder: Junk\r\n".encode(), _OTHER_NAME),
    kept("encoded word as a name", b"=?utf-8?q?X-Mailguard-Folder?=: Junk\r\n", "none may stand there (RFC 2047 5)"),
    kept("our name in a value", b"Subject: X-Mailguard-Folder: Junk\r\n", "the first colon ends the name"),
    kept(
        "on a folded line", b"Subject: a\r\n X-Mailguard-Folder: Junk\r\n", "a folded line is a value (RFC 5322 2.2.3)"
    ),
    kept("on a folded line, tab", b"Comments:\r\n\tX-Mailguard-Folder: Junk\r\n", "likewise"),
    kept("behind a colon", b":X-Mailguard-Folder: Junk\r\n", "its name is empty"),
    kept("no colon", b"X-Mailguard-Folder Junk\r\n", "no field"),
    kept("results of another host", b"Authentication-Results: mx.example.org; spf=pass\r\n", "theirs (RFC 8601 5)"),
    kept("results of a host below ours", b"Authentication-Results: a.mx.example.com; spf=pass\r\n", "theirs"),
    kept("our name begins theirs", b"Authentication-Results: mx.example.com.example.net; none\r\n", "theirs"),
    kept("our name in their comment", b"Authentication-Results: (mx.example.com) other.example; none\r\n", "theirs"),
    kept("our name in their result", b"Authentication-Results: o.example; iprev=pass (mx.example.com)\r\n", "theirs"),
    kept("our name lookalike", "Authentication-Results: mx.exаmple.com; spf=pass\r\n".encode(), "Cyrillic а: theirs"),
    kept("results of nobody", b"Authentication-Results: ; none\r\n", "no name at all"),
    kept("empty results", b"Authentication-Results:\r\n", "no name at all"),
    kept("huge results", b"Authentication-Results: " + b"x" * 5000 + b"; none\r\n", "theirs"),
    kept("8-bit results", b"Authentication-Results: \xff\xfe; none\r\n", "theirs"),
    kept(
        "odd layout of theirs",
        b"AUTHENTICATION-results :\t(c)\r\n  Other.Example 1;\r\n\tspf = pass  \r\n",
        "not an octet is changed",
    ),
    kept("sealed results", b"ARC-Authentication-Results: i=1; mx.example.com; none\r\n", "RFC 8617 4.1.1: sealed"),
    kept("Received", b"Received: from mx.example.com by x; date\r\n", "a trace is not removed (RFC 5321 4.4)"),
    kept("Return-Path", b"Return-Path: <a@b>\r\n", "not ours"),
)

ROWS: Final = (*_NAMES, *_VALUES, *_PLACES, *_RESULTS, *_OTHERS)
GROUPS: Final = {
    "names": "How the name is written",
    "values": "How the value is written",
    "places": "Where it stands",
    "results": "Authentication-Results that bear our authserv-id",
    "others": "What stays",
}
"""The groups in their order, with their headings."""
