"""Configuration and policy, as ``mailguard check`` sees them; their problems are told there at length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from mailguard.doctor.notes import Notes
from mailguard.doctor.patient import Patient
from mailguard.journal.key import idle_key
from mailguard.positions import Problem

SHOWN: Final = 5
"""Problems of one file that are told here."""


async def configuration(patient: Patient, notes: Notes) -> None:
    """What this machine has against the settings; how they are written was found in order before."""
    domains = patient.settings.relay_domains
    more = f" and {len(domains) - 1} more" if len(domains) > 1 else ""
    if not patient.problems:
        notes.ok("", f"{patient.path}: {patient.settings.hostname} for {domains[0]}{more}")
    if idle := idle_key(patient.settings.journal):
        told, _, remedy = idle.partition(". ")
        notes.warning("", told, remedy)
    _tell(patient.problems, f"mailguard check --config {patient.path}", notes)


async def policy(patient: Patient, notes: Notes) -> None:
    """Whether the policy loads, its cases pass, and it says nothing that is hardly meant."""
    _tell(patient.policy_problems, f"mailguard check --config {patient.path}", notes)
    loaded = patient.policy
    if loaded is None:
        return
    notes.ok("", f"{loaded.path}: {loaded.cases} cases passed, digest {loaded.digest[:12]}")
    if loaded.warnings:
        told = f"{len(loaded.warnings)} warnings, such as: {loaded.warnings[0].in_one_line}"
        notes.warning("", told, f"see them all: mailguard check --config {patient.path}")


def _tell(problems: Sequence[Problem], command: str, notes: Notes) -> None:
    for problem in problems[:SHOWN]:
        told = f"{problem.file}:{problem.line}:{problem.column}: {problem.message}"
        notes.failed("", told, problem.hint or f"look at it: {command}")
    if len(problems) > SHOWN:
        notes.failed("", f"{len(problems) - SHOWN} problems more", f"see them all: {command}")
