"""One message of the corpus, and the register of structures that make them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import TypeAlias

MODULES = ("text", "mime", "torture", "headers", "trust", "signed", "sizes")


@dataclass(frozen=True)
class Sample:
    """A message.

    Attributes:
        name: of this one, unique.
        structure: what kind of message it is; several samples share one.
        octets: as a client sends it, before dot stuffing.
        kept: what must be left of it below our fields; differs from ``octets`` where the sample forges fields of ours.
        headless: it begins with no header field, so that our fields must end in an empty line.
        signed: it carries a DKIM signature that verifies with :func:`tests.corpus.signed.public_key`.
    """

    name: str
    structure: str
    octets: bytes
    kept: bytes
    headless: bool = False
    signed: bool = False


Made: TypeAlias = "bytes | tuple[bytes, bytes]"
Maker: TypeAlias = Callable[[random.Random, int], Made]


@dataclass(frozen=True)
class Structure:
    """``count`` messages of one kind: ``make``, given a generator and a number, returns octets, or octets and kept."""

    make: Maker
    count: int
    headless: bool
    signed: bool


STRUCTURES: dict[str, Structure] = {}


def structure(count: int = 4, *, headless: bool = False, signed: bool = False) -> Callable[[Maker], Maker]:
    """Register a maker under its own name."""

    def register(make: Maker) -> Maker:
        STRUCTURES[make.__name__.replace("_", "-")] = Structure(make, count, headless, signed)
        return make

    return register


def messages() -> Iterator[Sample]:
    """Every sample, made one at a time: some are large."""
    for module in MODULES:
        import_module(f"tests.corpus.{module}")
    for name, kind in STRUCTURES.items():
        for number in range(kind.count):
            made = kind.make(random.Random(f"{name}/{number}"), number)
            octets, kept = made if isinstance(made, tuple) else (made, made)
            yield Sample(f"{name}-{number}", name, octets, kept, kind.headless, kind.signed)
