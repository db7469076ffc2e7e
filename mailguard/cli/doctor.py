"""``mailguard doctor``: every part for real, and what to do about each that fails (:mod:`mailguard.doctor`).

Exit status (sysexits.h): 0 where nothing failed, warnings or not; 69 where something that is needed is not available;
78 where the configuration must be changed, for which no waiting helps. With ``--nagios`` its own four
(``doctor_report``).
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mailguard import log
from mailguard.cli import doctor_report
from mailguard.cli.descriptors import connections_within
from mailguard.cli.paths import DEFAULT_CONFIG
from mailguard.doctor.examination import examination
from mailguard.doctor.notes import Finding
from mailguard.doctor.parts import BY_NAME, PARTS
from mailguard.doctor.patient import Patient, admit
from mailguard.positions import Problems

Chosen = StrEnum("Chosen", [(part.name.upper(), part.name) for part in PARTS])  # type: ignore[misc]
"""The parts, for the command line."""


def examine(patient: Patient, names: Sequence[str], timeout: float) -> list[Finding]:
    """What the parts ``names`` find, each within ``timeout`` seconds."""
    parts = [BY_NAME[name] for name in names]
    return asyncio.run(examination(patient, [(part.notes(), part.examine) for part in parts], timeout))


def doctor(
    config: Annotated[Path, typer.Option(readable=False, help="The configuration file.")] = DEFAULT_CONFIG,
    only: Annotated[list[Chosen] | None, typer.Option(help="Only this part; may be given again.")] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.1, help="Seconds for each part, in place of `doctor.timeout`.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with all that was found.")] = False,
    nagios: Annotated[
        bool, typer.Option("--nagios", help="One line with figures, and exit status 0, 1, 2 or 3, for monitoring.")
    ] = False,
) -> None:
    """Examine every part for real, and tell what to do about each that fails."""
    log.silence()
    try:
        patient = admit(config, connections_within)
    except Problems as problems:
        raise typer.Exit(_hopeless(problems, as_json=as_json, nagios=nagios)) from None
    if timeout is not None:
        patient = patient.within(timeout)
    names = [part.name for part in PARTS if only is None or part.name in only]
    with Console(stderr=True).status(f"examining {', '.join(names)}"):  # drawn on a terminal alone
        findings = examine(patient, names, patient.settings.doctor.timeout)
    raise typer.Exit(_told(findings, as_json=as_json, nagios=nagios))


def _told(findings: list[Finding], *, as_json: bool, nagios: bool) -> int:
    """Tell of ``findings``; the exit status."""
    if nagios:
        line, status = doctor_report.nagios(findings)
        typer.echo(line)
        return status
    if as_json:
        typer.echo(json.dumps(doctor_report.as_json(findings), indent=2))
    else:
        doctor_report.show(findings, Console())
    return doctor_report.exit_status(findings)


def _hopeless(problems: Problems, *, as_json: bool, nagios: bool) -> int:
    """Tell that the settings cannot be read, so that nothing can be examined; the exit status."""
    notes = BY_NAME["configuration"].notes()
    for problem in problems.problems:
        notes.failed("", problem.in_one_line, problem.hint or "mend it: `mailguard check` shows the line")
    if nagios or as_json:
        return _told(list(notes.findings), as_json=as_json, nagios=nagios)
    typer.echo(str(problems), err=True)
    return os.EX_CONFIG
