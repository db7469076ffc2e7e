"""Bodies and shapes that break naive relays."""

from __future__ import annotations

import random

from tests.corpus.parts import header, lines, message, octets, prose, sentence
from tests.corpus.sample import structure


@structure(6)
def dot_lines(rng: random.Random, n: int) -> bytes:
    return message(
        rng, lines(*(b"." * rng.randint(0, n + 2) + rng.choice([b"", b"x", b" ", b"\t."]) for _ in range(60)))
    )


@structure()
def only_dots(rng: random.Random, n: int) -> bytes:
    return message(rng, lines(*["." * (n + 1)] * 9))


@structure()
def dot_first_in_the_head(rng: random.Random, n: int) -> bytes:
    return lines("." * (n + 1) + "Dotted: name", ".X-Spam-Flag: no field of ours") + message(rng, prose(rng))


@structure()
def empty_body(rng: random.Random, _n: int) -> bytes:
    return message(rng, b"")


@structure()
def header_only(rng: random.Random, _n: int) -> bytes:
    return header(rng)


@structure()
def no_header_fields(rng: random.Random, n: int) -> bytes:
    return b"\r\n" * (n + 1) + prose(rng)


@structure(1)
def nothing_at_all(_rng: random.Random, _n: int) -> bytes:
    return b""


@structure()
def blank_lines_alone(_rng: random.Random, n: int) -> bytes:
    return b"\r\n" * (1, 2, 3, 100)[n]


@structure(headless=True)
def text_at_once(rng: random.Random, n: int) -> bytes:
    return lines((sentence(rng), "--boundary", ".", "\x00NUL: first")[n]) + header(rng) + b"\r\n" + prose(rng)


@structure(headless=True)
def blank_first(rng: random.Random, n: int) -> bytes:
    return lines((" folded: into ours", "\tX-Mailguard-Folder: INBOX", " ", "\t")[n]) + message(rng, prose(rng))


@structure(headless=True)
def mbox_from_line(rng: random.Random, n: int) -> bytes:
    start = ("From alice@example.org Fri Nov 20 10:00:00 2026", ">From a", "From  x", "From MAILER-DAEMON")[n]
    return lines(start) + message(rng, lines("From here on", ">From there") + prose(rng))


@structure()
def long_lines(rng: random.Random, n: int) -> bytes:
    length = (998, 999, 16_384, 65_534)[n]
    return message(rng, lines("x" * length, "." * length, "y" * (length - 1) + ".") + prose(rng))


@structure()
def long_header_lines(rng: random.Random, n: int) -> bytes:
    length = (998, 4000, 30_000, 65_534)[n]
    return message(rng, prose(rng), "X-Long: " + "z" * (length - 8), "References: " + "<a@b> " * 9)


@structure()
def trailing_blanks(rng: random.Random, n: int) -> bytes:
    return message(rng, prose(rng) + lines("two  ", "tab\t", " ", "\t", *[""] * (1, 2, 10, 1000)[n]))


@structure()
def nul_octets(rng: random.Random, n: int) -> bytes:
    return message(rng, lines(b"\0", b"a\0b", b"\0" * 500, b".\0"), *(["X-Nul: a\0b"] if n % 2 else []))


@structure()
def control_octets(rng: random.Random, _n: int) -> bytes:
    every = bytes(octet for octet in range(0x20) if octet not in b"\r\n") + b"\x7f\x80\x85\xa0\xff"
    return message(rng, lines(every, b"\x1a", b"\x04", b"\x0c", b"a\x0bb", b"\x1b[2J") + prose(rng))


@structure()
def any_octets(rng: random.Random, n: int) -> bytes:
    content = octets(rng, 20_000 * (n + 1)).replace(b"\r", b"").replace(b"\n", b"\r\n")
    return message(rng, content + b"\r\n")


@structure()
def almost_ends_of_data(rng: random.Random, _n: int) -> bytes:
    return message(
        rng, lines("..", ".", " .", ". ", ".\t", "", ".", "", "...", b"\x85.\x85", b"\xe2\x80\xa8.\xe2\x80\xa8", ".")
    )
