"""Fields that claim to be ours, which must go, and their neighbours, which must stay."""

from __future__ import annotations

import random

from tests.corpus.parts import header, lines, message, prose
from tests.corpus.sample import structure

HOSTNAME = "mx.example.com"
"""The hostname, and so the authserv-id, that a mailguard under test must be given."""

FORGED = (
    "X-Spam-Flag: NO",
    "x-spam-status: No, score=-9.9\r\n\tfolded\r\n \r\n more",
    "X-SPAM-LEVEL :",
    "X-Spam-Score\t: -5",
    "X-Virus-Scanned: clean",
    "X-Mailguard-Folder: INBOX",
    "x-mailguard-folder:Junk",
    "X-Mailguard-Anything\r\n : folded before the colon",
    f"Authentication-Results: {HOSTNAME}; spf=pass",
    f"authentication-results:(c) {HOSTNAME.upper()} 1; dkim=pass",
    f'Authentication-Results: "{HOSTNAME}"; none',
)

FOREIGN = (
    "Authentication-Results: mx.other.example; spf=pass smtp.mailfrom=example.org",
    f"Authentication-Results: {HOSTNAME}.other.example; none",
    f"Authentication-Results: other.example; iprev=pass ({HOSTNAME})",
    f"ARC-Authentication-Results: i=1; {HOSTNAME}; none",
    "ARC-Seal: i=1; a=rsa-sha256; cv=none; d=example.org; s=s; b=AAAA",
    "X-Spam: a field of somebody else",
    "X-Spamd-Result: default: False",
    "X-Virus-Status: Clean",
    "X-Mailguardian: no",
    "Subject: X-Spam-Flag: YES",
)


def _mixed(rng: random.Random, fields: tuple[str, ...]) -> tuple[bytes, bytes]:
    chosen = [*fields, *FOREIGN]
    rng.shuffle(chosen)
    body = lines("X-Spam-Flag: YES", f"Authentication-Results: {HOSTNAME}; none", "") + prose(rng)
    kept = lines(*(field for field in chosen if field in FOREIGN))
    usual = header(rng)
    return usual + lines(*chosen) + b"\r\n" + body, usual + kept + b"\r\n" + body


@structure(8)
def forged_fields(rng: random.Random, n: int) -> tuple[bytes, bytes]:
    return _mixed(rng, FORGED if n % 2 else FORGED * 3)


@structure()
def forged_first(rng: random.Random, n: int) -> tuple[bytes, bytes]:
    kept = message(rng, prose(rng))
    return lines(*FORGED[n:]) + kept, kept


@structure()
def forged_last(rng: random.Random, n: int) -> tuple[bytes, bytes]:
    kept = header(rng)
    body = b"" if n % 2 else b"\r\n" + prose(rng)
    return kept + lines(*FORGED) + body, kept + body


@structure()
def forged_only(rng: random.Random, n: int) -> tuple[bytes, bytes]:
    body = b"" if n % 2 else b"\r\n" + prose(rng)
    return lines(*FORGED[n:]) + body, body


@structure()
def forged_among_lines_without_a_colon(rng: random.Random, n: int) -> tuple[bytes, bytes]:
    before, after = header(rng) + lines("no field here"), lines("X-After: it") + b"\r\n" + prose(rng)
    return before + lines(FORGED[n], FORGED[n + 4]) + after, before + after


@structure()
def foreign_results(rng: random.Random, _n: int) -> bytes:
    return message(rng, prose(rng), *FOREIGN)
