"""All mutants: at least one for each invariant of the architecture."""

from __future__ import annotations

from tests.mutants import (
    checks,
    cluster,
    cost,
    journal,
    limits,
    message,
    monitoring,
    policy,
    processes,
    relay,
    scanners,
    smtp,
    whole,
)
from tests.mutants.mutant import INVARIANTS, Mutant

MUTANTS: tuple[Mutant, ...] = (
    *checks.MUTANTS,
    *cluster.MUTANTS,
    *cost.MUTANTS,
    *journal.MUTANTS,
    *limits.MUTANTS,
    *message.MUTANTS,
    *monitoring.MUTANTS,
    *policy.MUTANTS,
    *processes.MUTANTS,
    *relay.MUTANTS,
    *scanners.MUTANTS,
    *smtp.MUTANTS,
    *whole.MUTANTS,
)

MISSING = set(INVARIANTS) - {mutant.invariant for mutant in MUTANTS}
"""Invariants without a mutant; must be empty."""
