"""The header fields that mailguard writes, as octets with their CR LF.

Nothing that came from outside (HELO, reverse name, sender, signature and rule names) can end a field, begin another,
or leave its place in one: each such text is reduced to the octets of its grammar first, the others become ``?``.
Lines are folded at 78 octets where a blank allows it and are never over 998 (RFC 5322 2.1.1), as every word is
bounded. "Now" is an argument.

Received has no FOR clause, though RFC 5321 4.4 allows one: with several recipients it would tell each of a Bcc, and
with one it would make the field depend on how a sender groups its recipients.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from email.utils import format_datetime
from functools import lru_cache
from ipaddress import IPv4Address
from typing import Final

from mailguard.commands import Path
from mailguard.facts import (
    NOT_ASKED,
    Answer,
    ClientAddress,
    Codes,
    Known,
    ReverseDns,
    SpamResult,
    TlsSession,
    Unknown,
    VirusResult,
)
from mailguard.message.filing import INBOX, SEPARATOR

LINE: Final = 78
"""Octets of a line without its CR LF, where it can be folded (RFC 5322 2.1.1)."""

MAX_WORD: Final = 255
"""Octets of one word from outside: a domain's length (RFC 5321 4.5.3.1.2)."""

MAX_STARS: Final = 50
"""Stars of X-Spam-Level at the most, as SpamAssassin's own."""

MAX_RULES: Final = 500
"""Rule names of X-Spam-Status at the most."""

_FOLD: Final = "\r\n\t"
_NOT_A_DOMAIN: Final = re.compile(r"[^A-Za-z0-9._:\[\]-]")
_CONTROLS: Final = bytes((*range(0x20), 0x7F))
_NOT_A_WORD: Final = re.compile(r"[^!#-'*+\-./0-9:=@A-Z^-~]")
_NOT_A_RULE: Final = re.compile(r"[^A-Za-z0-9_]")


def _folded(name: str, *lines: Sequence[str]) -> bytes:
    """The field ``name``: each of ``lines``, given as words, on a line of its own, folded again if too long."""
    first, *others = lines
    texts = [_wrapped(first, len(name) + 2), *[_wrapped(words, 1) for words in others]]
    return f"{name}: {_FOLD.join(texts)}\r\n".encode("ascii")


def _wrapped(words: Sequence[str], width: int) -> str:
    """``words`` behind ``width`` octets of a line, folded before each that would make it too long but the first."""
    whole = " ".join(words)
    if width + len(whole) <= LINE:
        return whole
    out, width = [words[0]], width + len(words[0])
    for word in words[1:]:
        fold = width + 1 + len(word) > LINE
        out += _FOLD if fold else " ", word
        width = 1 + len(word) + (0 if fold else width)
    return "".join(out)


@lru_cache(maxsize=256)
def _domain(text: str) -> str:
    """``text`` as a word of the octets of domains and address literals (RFC 5321 4.1.2), ``unknown`` where empty."""
    return _NOT_A_DOMAIN.sub("?", text[:MAX_WORD]) or "unknown"


def _word(text: str) -> str:
    """``text`` as one word of graphic ASCII without ``"();,<>\\``, which stays one in any structured field."""
    return _NOT_A_WORD.sub("?", text[:MAX_WORD]) or "?"


def protocol(*, extended: bool, tls: bool = False, smtputf8: bool = False) -> str:
    """The WITH keyword of Received: RFC 5321 4.4, RFC 3848, RFC 6531 4.3. TLS implies EHLO (RFC 3207 4.2)."""
    if smtputf8:
        return "UTF8SMTPS" if tls else "UTF8SMTP"
    if tls:
        return "ESMTPS"
    return "ESMTP" if extended else "SMTP"


def from_clause(*, helo: str, reverse: Answer[ReverseDns] | None, address: ClientAddress) -> str:
    """The beginning of our trace field (RFC 5321 4.4): ``from helo (name [address])``, as it stands there.

    Args:
        helo: what the client called itself.
        reverse: its name, which stands there only where known and confirmed; else ``unknown``, as SpamAssassin and
            others read it.
        address: the client's.
    """
    name = reverse.value.name.rstrip(".") if isinstance(reverse, Known) and reverse.value.confirmed else ""
    words = "from", _domain(helo), f"({_domain(name)}", f"{address.literal})"
    return _wrapped(words, len("Received: "))


def received(
    clause: str, hostname: str, with_: str, reference: str, now: datetime, tls: TlsSession | None = None
) -> bytes:
    """Our trace field: ``from helo (name [address]) by hostname with ESMTP id reference; date``.

    Args:
        clause: from :func:`from_clause`.
        hostname: ours.
        with_: from :func:`protocol`.
        reference: the reference id of the message.
        now: when its content was taken, with a time zone.
        tls: what the connection was encrypted with, told in a comment behind ``with_``.
    """
    taken = _wrapped(("by", _domain(hostname), "with", with_, *_encryption(tls), f"id {_word(reference)};"), 1)
    date = _date(now, now.utcoffset())
    return f"Received: {clause}{_FOLD}{taken}{_FOLD}{date}\r\n".encode("ascii")


@lru_cache(maxsize=4)
def _date(now: datetime, _zone: timedelta | None) -> str:
    """RFC 5322 3.3; the same for all messages of a second, where a clock of whole seconds tells it.

    Times of two zones may be equal, their texts are not.
    """
    return format_datetime(now)


def _encryption(tls: TlsSession | None) -> list[str]:
    """``(TLS1.3 TLS_AES_256_GCM_SHA384)``, never folded."""
    return [f"({tls.version.replace('TLSv', 'TLS')} {_word(tls.cipher)})"] if tls else []


def return_path(sender: Path) -> bytes:
    """The envelope sender for the copy that SpamAssassin scores (RFC 5321 4.4); UTF-8 stays as it is (RFC 6532 3.2)."""
    return b"Return-Path: %b\r\n" % sender.encode().translate(None, _CONTROLS)


def authentication_results(
    *,
    hostname: str,
    address: ClientAddress,
    reverse: Answer[ReverseDns] | None,
    dnswl: Sequence[tuple[str, Answer[Codes]]] = (),
) -> bytes:
    """What we know of the client (RFC 8601): ``iprev`` and, for each white list by its zone, ``dnswl`` (RFC 8904).

    Nothing is said of SPF, DKIM and DMARC: mailguard does not check them.

    Args:
        hostname: our authserv-id.
        address: the client's.
        reverse: its name; None or NOT_ASKED where nobody asked.
        dnswl: zone and answer of each white list that was asked.
    """
    results = [] if reverse is None or reverse == NOT_ASKED else [_iprev(reverse, address)]
    results += [_dnswl(zone, answer) for zone, answer in dnswl]
    lines = results or [["none"]]
    for line in lines[:-1]:
        line[-1] += ";"
    return _folded("Authentication-Results", (f"{_domain(hostname)};",), *lines)


def _iprev(reverse: Answer[ReverseDns], address: ClientAddress) -> list[str]:
    """RFC 8601 2.7.3: no name published is permerror, one that does not lead back is fail."""
    if isinstance(reverse, Unknown):
        result = "temperror"
    elif not reverse.value.name:
        result = "permerror"
    else:
        result = "pass" if reverse.value.confirmed else "fail"
    # An IPv6 address holds colons, which no token may (RFC 2045 5.1).
    ip = str(address) if isinstance(address.ip, IPv4Address) else f'"{address}"'
    name = reverse.value.name.rstrip(".") if isinstance(reverse, Known) else ""
    return [f"iprev={result}", *([f"({_domain(name)})"] if name else []), f"policy.iprev={ip}"]


def _dnswl(zone: str, answer: Answer[Codes]) -> list[str]:
    """RFC 8904 2 and 3: none is "not listed"; several codes stand in a quoted list."""
    words = [f"dns.zone={_domain(zone)}"]
    if isinstance(answer, Unknown):
        return ["dnswl=temperror", *words]
    if not answer.value:
        return ["dnswl=none", *words]
    codes = ",".join(str(code) for code in sorted(answer.value)[:16])
    return ["dnswl=pass", *words, f'policy.ip="{codes}"' if "," in codes else f"policy.ip={codes}"]


def mailguard_id(reference: str) -> bytes:
    """The reference id, which is in the log and in our replies too."""
    return f"X-Mailguard-Id: {_word(reference)}\r\n".encode("ascii")


def mailguard_folder(folder: str) -> bytes:
    """Where the message is to be filed: a folder, or what :mod:`mailguard.message.filing` makes of several.

    It is folded between labels, never within a folder's name, which may hold a blank.
    """
    parts = [_printable(part) for part in folder.split(SEPARATOR)]
    return _folded("X-Mailguard-Folder", [f"{part};" for part in parts[:-1]] + parts[-1:])


def _printable(text: str) -> str:
    """``text`` as graphic ASCII with single blanks, ``-`` where nothing is left."""
    return " ".join("".join(c if " " <= c <= "~" else "?" for c in text[:MAX_WORD]).split()) or INBOX


def mailguard_tags(tags: Iterable[str]) -> bytes:
    """The symbols that rules gave, in their order."""
    words = [_word(tag) for tag in tags]
    return _folded("X-Mailguard-Tags", [f"{word}," for word in words[:-1]] + words[-1:])


def _points(points: float) -> str:
    """As SpamAssassin writes them, but with up to three decimals: 4.96 of 5.0 must not read 5.0."""
    text = f"{points:.3f}".rstrip("0")
    return f"{text}0" if text.endswith(".") else text


def _packed(rules: Sequence[str]) -> list[str]:
    """``rules`` with commas and no blanks, as SpamAssassin lists them, in words that fit a line."""
    words = [""]
    for rule in rules:
        if words[-1] and len(words[-1]) + len(rule) >= LINE - 1:
            words.append("")
        words[-1] += f"{rule},"
    words[-1] = words[-1].removesuffix(",")
    return words


def spam_fields(spam: SpamResult) -> bytes:
    """X-Spam-Flag, X-Spam-Status, X-Spam-Level and X-Spam-Score in the form of SpamAssassin, which mail programs know.

    X-Spam-Level is left out below one point: it would be empty.
    """
    # Sums of floats miss by a little; what is written is what is compared.
    score = round(spam.score, 3)
    is_spam = score >= round(spam.required, 3)
    rules = [_NOT_A_RULE.sub("?", rule[:MAX_WORD]) for rule in sorted(spam.rules)[:MAX_RULES]] or ["none"]
    rules[0] = f"tests={rules[0]}"
    status = [
        f"{'Yes' if is_spam else 'No'},",
        f"score={_points(score)}",
        f"required={_points(spam.required)}",
        *(["truncated=yes"] if spam.truncated else []),
    ]
    stars = "*" * max(0, min(MAX_STARS, int(score)))
    return (
        _folded("X-Spam-Flag", ("YES" if is_spam else "NO",))
        + _folded("X-Spam-Status", status, _packed(rules))
        + (_folded("X-Spam-Level", (stars,)) if stars else b"")
        + _folded("X-Spam-Score", (_points(score),))
    )


def virus_scanned(virus: VirusResult, hostname: str) -> bytes:
    """X-Virus-Scanned: that ClamAV has seen the message, and the signature where it was let through in spite of one."""
    result = ["infected", f"({_word(virus.name)}),"] if virus.infected else ["clean,"]
    return _folded("X-Virus-Scanned", (*result, "by", "ClamAV", "at", _domain(hostname)))
