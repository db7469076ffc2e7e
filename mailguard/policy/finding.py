"""A warning: something in a policy that works as it is written, and is hardly meant.

No warning keeps a policy from loading. ``mailguard check`` prints them as a compiler does, each with its kind in
brackets; ``--strict`` fails on them, but for kinds that ``--allow`` names. A policy may allow itself single ones
(``policy.allowances``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from mailguard.positions import Problem

MAX_WRITTEN: Final = 200
"""Warnings that are written out: a generated policy may have one a rule."""


class Kind(StrEnum):
    """What a warning is about; each is made in one module of this package."""

    NEVER_MATCHES = "never-matches"
    """No facts make the condition of a rule true."""
    NEVER_REACHED = "never-reached"
    """Rules above decide wherever the rule would."""
    OUT_OF_REACH = "out-of-reach"
    """No sum of weights comes to a threshold."""
    ONE_LIST = "one-list"
    """A single list can get a client refused."""
    OVERLAP = "overlap"
    """Two lists hold the same listings, and both count."""
    OBSERVED = "observed"
    """A rule in force refuses by a list that is only observed."""
    REPLY = "reply"
    """A refusal does not tell the sender what it needs."""
    UNUSED = "unused"
    """Something is declared and nothing asks for it."""
    KEY = "key"
    """Others may learn the key of a list."""
    NO_KEY = "no-key"
    """The key of a list is not at hand."""
    ALLOWANCE = "allowance"
    """The policy allows a warning that there is not."""


ALLOWABLE: Final = frozenset(Kind) - {Kind.KEY, Kind.NO_KEY, Kind.ALLOWANCE}
"""Kinds of warnings that rest on the text of a policy alone, so that it can allow them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One warning.

    Attributes:
        kind: what it is about.
        problem: what there is to say, and where.
        about: the name of the rule, list, profile, constant or DNSBL that it is about.
    """

    kind: Kind
    problem: Problem
    about: str

    def __str__(self) -> str:
        """As a problem is shown, with the kind."""
        where = self.problem.where
        return str(self.problem).replace(f"{where}: ", f"{where}: warning [{self.kind}]: ", 1)

    @property
    def in_one_line(self) -> str:
        """For a log."""
        return f"{self.problem.in_one_line} [{self.kind}]"


def written(findings: Sequence[Finding]) -> str:
    """Warnings for people, as many as are of use."""
    more = len(findings) - MAX_WRITTEN
    told = [str(finding) for finding in findings[:MAX_WRITTEN]]
    return "\n\n".join([*told, f"and {more} more"] if more > 0 else told)
