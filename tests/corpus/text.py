"""Messages of one text part."""

from __future__ import annotations

import random

from tests.corpus.parts import FOREIGN, in_base64, in_quoted_printable, lines, message, octets, prose, sentence
from tests.corpus.sample import structure


def _typed(rng: random.Random, body: bytes, charset: str, encoding: str, kind: str = "plain") -> bytes:
    return message(
        rng,
        body,
        "MIME-Version: 1.0",
        f"Content-Type: text/{kind}; charset={charset}",
        f"Content-Transfer-Encoding: {encoding}",
    )


@structure(6)
def plain(rng: random.Random, _n: int) -> bytes:
    return message(rng, prose(rng))


@structure()
def utf8_8bit(rng: random.Random, _n: int) -> bytes:
    return _typed(rng, prose(rng, FOREIGN), "utf-8", "8bit")


@structure()
def latin1_8bit(rng: random.Random, _n: int) -> bytes:
    return _typed(rng, prose(rng).replace(b"e", b"\xe9").replace(b"a", b"\xe4"), "iso-8859-1", "8bit")


@structure()
def undeclared_8bit(rng: random.Random, _n: int) -> bytes:
    return message(rng, prose(rng).replace(b"o", b"\xf6").replace(b"u", b"\x81"))


@structure()
def iso_2022_jp(rng: random.Random, _n: int) -> bytes:
    body = lines(*("日本語のメールです。".encode("iso2022_jp") for _ in range(rng.randint(1, 6))))
    return _typed(rng, body, "iso-2022-jp", "7bit")


@structure()
def utf16_base64(rng: random.Random, _n: int) -> bytes:
    return _typed(rng, in_base64(sentence(rng, FOREIGN).encode("utf-16")), "utf-16", "base64")


@structure()
def quoted_printable(rng: random.Random, _n: int) -> bytes:
    return _typed(rng, in_quoted_printable(prose(rng, FOREIGN) + b"trailing blank \r\n"), "utf-8", "quoted-printable")


@structure()
def base64_text(rng: random.Random, _n: int) -> bytes:
    return _typed(rng, in_base64(prose(rng, FOREIGN)), "utf-8", "base64")


@structure()
def html(rng: random.Random, _n: int) -> bytes:
    rows = (f"<p style='margin:0'>{sentence(rng, FOREIGN)}</p>" for _ in range(rng.randint(2, 9)))
    return _typed(rng, lines("<!DOCTYPE html><html><body>", *rows, "</body></html>"), "utf-8", "8bit", "html")


@structure()
def format_flowed(rng: random.Random, _n: int) -> bytes:
    body = lines(*(f"{'>' * rng.randint(0, 3)} {sentence(rng)} " for _ in range(8)), "-- ", "Alice")
    return message(rng, body, "Content-Type: text/plain; format=flowed; delsp=yes")


@structure()
def uuencode(rng: random.Random, _n: int) -> bytes:
    rows = ("M" + "".join(chr(rng.randint(32, 95)) for _ in range(60)) for _ in range(9))
    return message(rng, lines("begin 644 file.bin", *rows, "`", "end"))


@structure()
def yenc(rng: random.Random, n: int) -> bytes:
    content = octets(rng, 900).translate(None, b"\x00\r\n=")
    rows = (content[i : i + 128] for i in range(0, len(content), 128))
    return message(rng, lines(f"=ybegin line=128 size={len(content)} name={n}.bin", *rows, "=yend size=900"))


@structure()
def smtp_in_the_body(rng: random.Random, _n: int) -> bytes:
    talk = [
        "QUIT",
        "DATA",
        "RSET",
        ".",
        "..",
        "MAIL FROM:<x@example.net>",
        "RCPT TO:<victim@example.net>",
        "250 Ok",
        "354 Go",
    ]
    rng.shuffle(talk)
    return message(rng, lines(*talk, *talk))


@structure()
def forwarded_inline(rng: random.Random, _n: int) -> bytes:
    quoted = lines("From: Mallory <m@example.net>", "X-Spam-Flag: YES", "X-Mailguard-Folder: Junk", "")
    return message(rng, lines("---------- Forwarded message ---------") + quoted + prose(rng))


@structure()
def inline_pgp(rng: random.Random, _n: int) -> bytes:
    signature = lines("", "-----BEGIN PGP SIGNATURE-----", "") + in_base64(octets(rng, 120))
    text = lines("-----BEGIN PGP SIGNED MESSAGE-----", "Hash: SHA256", "", "- -- dash escaped") + prose(rng)
    return message(rng, text + signature + lines("-----END PGP SIGNATURE-----"))
