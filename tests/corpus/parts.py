"""What messages of the corpus are made of."""

from __future__ import annotations

import base64
import quopri
import random
from collections.abc import Sequence

_WORDS = """and the of a mail to server for in is that queue message with sender as it from not be this line relay on
header address we body by spool when sent field at or report has reader will time only which every first last"""
_FOREIGN = """Zürich Übergrößenträger naïve façade smörgåsbord Ελληνικά Привет мир
日本語のメール 中文邮件 한국어 עברית العربية 🦊📬 Ｆｕｌｌ"""
WORDS, FOREIGN = _WORDS.split(), _FOREIGN.split()


def lines(*text: str | bytes) -> bytes:
    """Each of ``text`` as a line."""
    return b"".join((line.encode() if isinstance(line, str) else line) + b"\r\n" for line in text)


def sentence(rng: random.Random, words: Sequence[str] = WORDS) -> str:
    """A line of words."""
    return " ".join(rng.choices(words, k=rng.randint(3, 12)))


def prose(rng: random.Random, words: Sequence[str] = WORDS) -> bytes:
    """A few lines of words."""
    return lines(*(sentence(rng, words) for _ in range(rng.randint(2, 15))))


def header(rng: random.Random, *more: str | bytes) -> bytes:
    """The usual fields, then ``more``, each a line or several; without the empty line."""
    number = rng.getrandbits(48)
    return lines(
        f"Received: from client.example.org ([198.18.4.{number % 250}]) by out.example.org with ESMTPSA id {number:x};",
        "\tFri, 20 Nov 2026 09:59:58 +0000",
        f"Date: Fri, 20 Nov 2026 09:{number % 60:02}:00 +0000",
        "From: Alice Example <alice@example.org>",
        "To: Bob <bob@example.com>",
        f"Subject: {sentence(rng)}",
        f"Message-ID: <{number:x}@example.org>",
        *more,
    )


def message(rng: random.Random, body: bytes, *more: str | bytes) -> bytes:
    """A whole message."""
    return header(rng, *more) + b"\r\n" + body


def in_base64(octets: bytes) -> bytes:
    """Encoded in lines of 76 (RFC 2045 6.8)."""
    return base64.encodebytes(octets).replace(b"\n", b"\r\n")


def in_quoted_printable(text: bytes) -> bytes:
    """Encoded (RFC 2045 6.7)."""
    return quopri.encodestring(text.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")


def part(content_type: str, body: bytes, *more: str) -> bytes:
    """One part of a multipart, with its header."""
    return lines(f"Content-Type: {content_type}", *more) + b"\r\n" + body


def multipart(rng: random.Random, subtype: str, parts: Sequence[bytes], preamble: bytes = b"") -> tuple[str, bytes]:
    """The Content-Type and the body of a multipart (RFC 2046 5.1)."""
    boundary = f"=_{rng.getrandbits(64):016x}"
    body = preamble + b"".join(lines(f"--{boundary}") + part_ + b"\r\n" for part_ in parts) + lines(f"--{boundary}--")
    return f'multipart/{subtype}; boundary="{boundary}"', body


def mime(rng: random.Random, subtype: str, parts: Sequence[bytes], *more: str) -> bytes:
    """A whole multipart message."""
    kind, body = multipart(rng, subtype, parts)
    return message(rng, body, "MIME-Version: 1.0", f"Content-Type: {kind}", *more)


def text_part(rng: random.Random) -> bytes:
    """A plain part."""
    return part("text/plain; charset=us-ascii", prose(rng))


def octets(rng: random.Random, count: int) -> bytes:
    """Any octets."""
    return rng.randbytes(count)


def attachment(rng: random.Random, content_type: str, name: str, content: bytes) -> bytes:
    """A part in base64 with a file name."""
    return part(
        f'{content_type}; name="{name}"',
        in_base64(content),
        "Content-Transfer-Encoding: base64",
        f'Content-Disposition: attachment; filename="{name}"',
    )
