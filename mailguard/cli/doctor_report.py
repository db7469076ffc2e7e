"""How ``mailguard doctor`` tells what it found: a table for people, objects for machines, one line for Nagios.

Nagios and its like (Icinga, Naemon, check_mk) run a command, show its first line, and take its exit status: 0 OK, 1
WARNING, 2 CRITICAL, 3 UNKNOWN. Behind ``|`` stand figures to draw, ``'label'=value[unit];[warn];[critical]``
(Monitoring Plugins Development Guidelines, "Performance data").
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mailguard.doctor.notes import Finding, Measure, Status

_COLOURS: Final = {Status.OK: "green", Status.WARNING: "yellow", Status.FAILED: "bold red", Status.SKIPPED: "dim"}
_OK, _WARNING, _CRITICAL, _UNKNOWN = range(4)
_WORDS: Final = ("OK", "WARNING", "CRITICAL", "UNKNOWN")
MAX_LINE: Final = 1000
"""Characters of the sentence for Nagios; NRPE takes 1,024 of a line in its oldest version."""


def exit_status(findings: Sequence[Finding]) -> int:
    """Of sysexits.h: 78 where the configuration must be changed, 69 where something is not available, else 0."""
    failed = [finding for finding in findings if finding.status is Status.FAILED]
    if any(finding.configuration for finding in failed):
        return os.EX_CONFIG
    return os.EX_UNAVAILABLE if failed else os.EX_OK


def counted(findings: Sequence[Finding]) -> str:
    """How many there are of each kind: ``28 ok, 1 warning, 2 failed, 3 skipped``."""
    counts = Counter(finding.status for finding in findings)
    return ", ".join(f"{counts[status]} {status}" for status in Status if counts[status]) or "nothing was looked at"


def table(findings: Sequence[Finding]) -> Table:
    """A row for each; below what is not well, what to do."""
    found = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    found.add_column("", no_wrap=True)
    found.add_column("part", ratio=3, overflow="fold")
    found.add_column("finding", ratio=7, overflow="fold")
    for finding in findings:
        told = Text(finding.told)
        if finding.remedy:
            told.append(f"\n→ {finding.remedy}", style="italic")
        found.add_row(Text(finding.status, style=_COLOURS[finding.status]), Text(finding.subject), told)
    return found


def show(findings: Sequence[Finding], console: Console) -> None:
    """The table, and how many there are of each kind."""
    console.print(table(findings))
    console.print(f"\n{counted(findings)}", highlight=False)


def as_json(findings: Sequence[Finding]) -> dict[str, Any]:
    """All of it, with the exit status."""
    return {
        "exit_status": exit_status(findings),
        "counts": {status.value: sum(finding.status is status for finding in findings) for status in Status},
        "findings": [_finding(finding) for finding in findings],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return {
        "part": finding.part,
        "about": finding.about,
        "status": finding.status.value,
        "told": finding.told,
        "remedy": finding.remedy,
        "configuration": finding.configuration,
        "measures": {measure.name: measure.value for measure in finding.measures},
    }


def nagios(findings: Sequence[Finding]) -> tuple[str, int]:
    """The line, and the exit status: the worst decides, and is named."""
    status = _nagios_status(findings)
    worst = {_CRITICAL: Status.FAILED, _UNKNOWN: Status.FAILED, _WARNING: Status.WARNING}.get(status)
    named = [f"{finding.subject}: {finding.told}" for finding in findings if finding.status is worst]
    sentence = "; ".join((counted(findings), *named))
    return _line(status, sentence, [measure for finding in findings for measure in finding.measures]), status


def _nagios_status(findings: Sequence[Finding]) -> int:
    """UNKNOWN where an examination itself went wrong and nothing else is known to be, or where there was none."""
    looked_at = [finding for finding in findings if finding.status is not Status.SKIPPED]
    failed = [finding for finding in looked_at if finding.status is Status.FAILED]
    if any(not finding.bug for finding in failed):
        return _CRITICAL
    if failed or not looked_at:
        return _UNKNOWN
    return _WARNING if any(finding.status is Status.WARNING for finding in looked_at) else _OK


def _line(status: int, sentence: str, measures: Sequence[Measure]) -> str:
    """``|`` and line ends have a meaning of their own there."""
    plain = " ".join(sentence.replace("|", "/").split())
    cut = plain if len(plain) <= MAX_LINE else plain[: MAX_LINE - 3] + "..."
    seen: Counter[str] = Counter()
    data = []
    for measure in measures:
        seen[measure.name] += 1
        label = measure.name if seen[measure.name] == 1 else f"{measure.name}_{seen[measure.name]}"
        data.append(f"'{label}'={_figure(measure.value)}{measure.unit};{measure.warn};{measure.fail}".rstrip(";"))
    return f"MAILGUARD {_WORDS[status]} - {cut}" + (f" | {' '.join(data)}" if data else "")


def _figure(value: float) -> str:
    """Without an exponent, which not everybody reads."""
    return str(int(value)) if float(value).is_integer() else f"{value:.4f}".rstrip("0")
