"""Messages around and far beyond the bound of memory."""

from __future__ import annotations

import random

from tests.corpus.parts import attachment, header, mime, octets, text_part
from tests.corpus.sample import structure

MEMORY = 1024 * 1024


@structure(5)
def around_the_memory_bound(rng: random.Random, n: int) -> bytes:
    head = header(rng) + b"\r\n"
    size = MEMORY + (-2, -1, 0, 1, 2)[n] - len(head)
    return head + (b"0123456789abcde.\r\n" * (size // 18))[: size // 18 * 18] + b"x" * (size % 18) + b"\r\n"


@structure()
def megabytes(rng: random.Random, n: int) -> bytes:
    return mime(rng, "mixed", [text_part(rng), attachment(rng, "video/mp4", "v.mp4", octets(rng, 1_500_000 * (n + 1)))])


@structure(2)
def long_header_section(rng: random.Random, n: int) -> bytes:
    return header(rng, *(f"X-Filler-{i}: {'f' * 400}" for i in range(1000 * (n + 1)))) + b"\r\nbody\r\n"


@structure(1)
def twenty_megabytes(rng: random.Random, _n: int) -> bytes:
    return mime(rng, "mixed", [text_part(rng), attachment(rng, "application/zip", "a.zip", octets(rng, 15_000_000))])
