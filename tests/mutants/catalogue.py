"""The mutants: at least one for each invariant of the architecture, and the tests that must see it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutant:
    """One small change of the code: ``old``, found once in ``file``, becomes ``new``; one of ``tests`` must fail."""

    invariant: str
    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTANTS: tuple[Mutant, ...] = ()
