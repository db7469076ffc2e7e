"""Header sections of every kind, none of them forging ours."""

from __future__ import annotations

import random
from email.header import Header

from tests.corpus.parts import FOREIGN, header, lines, message, prose, sentence
from tests.corpus.sample import structure


@structure()
def odd_folding(rng: random.Random, _n: int) -> bytes:
    return message(
        rng,
        prose(rng),
        "X-A:",
        " first",
        "\tsecond",
        "X-B: ",
        "  ",
        "\t",
        " after blanks",
        "X-C:\r\n \r\n\t\r\n end",
        "X-D :x",
    )


@structure()
def duplicate_fields(rng: random.Random, n: int) -> bytes:
    return header(rng) + message(
        rng, prose(rng), *["Subject: again", "From: b@example.org", "Message-ID: <2@x>"] * (n + 1)
    )


@structure()
def empty_values(rng: random.Random, _n: int) -> bytes:
    return message(rng, prose(rng), "Subject:", "X-Empty: ", "Cc:\t", "Bcc:", "X-Colon::", "X-Two: :")


@structure()
def blanks_before_the_colon(rng: random.Random, _n: int) -> bytes:
    return message(rng, prose(rng), "Reply-To : c@example.org", "X-Tab\t:x", "X-Fold\r\n : folded")


@structure()
def lines_without_a_colon(rng: random.Random, n: int) -> bytes:
    odd = ("no field here", ":no name", "--x", ">From y")[n]
    return header(rng) + lines(odd, "X-After: it") + b"\r\n" + prose(rng)


@structure()
def names_in_8_bit(rng: random.Random, _n: int) -> bytes:
    return message(rng, prose(rng), b"X-\xfcml\xe4ut: a", "X-Größe: b", b"\xff: c")


@structure()
def utf8_values(rng: random.Random, _n: int) -> bytes:
    return message(
        rng, prose(rng), f"Subject: {sentence(rng, FOREIGN)}", "To: Jürgen <jürgen@bücher.example>", "X-Latin: é"
    )


@structure()
def encoded_words(rng: random.Random, _n: int) -> bytes:
    words = Header(sentence(rng, FOREIGN), "utf-8").encode(linesep="\r\n")
    return message(
        rng, prose(rng), f"Subject: {words}", "To: =?iso-8859-1?q?J=FCrgen?= <j@example.com>", "X-B: =?x?z?broken?="
    )


@structure()
def many_fields(rng: random.Random, n: int) -> bytes:
    return message(rng, prose(rng), *(f"X-Field-{i}: {sentence(rng)}" for i in range((50, 200, 1000, 3000)[n])))


@structure()
def trace_of_many_hops(rng: random.Random, n: int) -> bytes:
    hops = (
        f"Received: from h{i}.example ([198.18.0.{i}])\r\n\tby h{i + 1}.example with SMTP;\r\n\tdate"
        for i in range(9 * n + 2)
    )
    return lines("Return-Path: <bounce@example.org>", *hops) + message(rng, prose(rng))


@structure()
def mailing_list(rng: random.Random, _n: int) -> bytes:
    fields = (
        "List-Id: <l.example.org>",
        "List-Unsubscribe: <mailto:u@example.org>,\r\n <https://example.org/u>",
        "Precedence: list",
    )
    return message(rng, prose(rng) + lines("_" * 47, "list mailing list"), *fields)


@structure()
def resent(rng: random.Random, _n: int) -> bytes:
    return lines("Resent-From: a@example.org", "Resent-Date: Fri, 20 Nov 2026 10:00:00 +0000") + message(
        rng, prose(rng)
    )


@structure()
def old_syntax(rng: random.Random, _n: int) -> bytes:
    return message(
        rng,
        prose(rng),
        "Date: 20 Nov 26 10:00 EST",
        "To: A Group: a@example.org, (c (c)) b . c @ example.org;",
        'Cc: "q\\"x"@y',
    )
