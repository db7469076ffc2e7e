"""``mailguard check``: everything wrong with settings and policy, each with file, line, column and the line itself.

It reads the files with the functions that the server uses, runs the policy's cases, and starts nothing. Exit status
(sysexits.h): 0, or 78 where there is a problem. Problems go to standard error, and so do warnings: of a certificate
that runs out soon, and of what a policy says that is hardly meant (``policy.analysis``); these fail a check that is
strict. A certificate that has run out is a problem here, though ``serve`` would go on with it. ``--provenance`` adds
what each rule rests on (``policy.dependence``); ``--json`` tells everything as one object on standard output.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from mailguard.cli.as_json import problem_as_json
from mailguard.cli.paths import DEFAULT_CONFIG
from mailguard.cli.provenance import rule_as_json, table, terminal_width
from mailguard.config import Settings, Tls
from mailguard.facts import Stage
from mailguard.journal.key import idle_key
from mailguard.net.certificates import load_credentials
from mailguard.policy.analysis import Finding, Kind, written
from mailguard.policy.compiler import Draft
from mailguard.policy.dependence import Dependence, dependences
from mailguard.policy.engine import CompiledPolicy
from mailguard.policy_files import draft, draft_for, load_settings
from mailguard.positions import Problem, Problems
from mailguard.smtp.identity import DAY


@dataclass(slots=True)
class _Report:
    """What was found.

    Attributes:
        well: what is in order, a sentence each.
        problems: what is wrong.
        soon: what will be.
        doubts: what the settings hardly mean.
        draft: the policy, where it is in order.
    """

    well: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    soon: list[str] = field(default_factory=list)
    doubts: list[str] = field(default_factory=list)
    draft: Draft | None = None

    @property
    def warnings(self) -> tuple[Finding, ...]:
        """What the policy hardly means."""
        return self.draft.policy.warnings if self.draft is not None else ()

    @property
    def rules(self) -> list[Dependence]:
        """What each rule of the policy rests on."""
        return list(dependences(self.draft.policy)) if self.draft is not None else []


def check(
    policy: Path | None,
    config: Path | None,
    fatal: Collection[Kind] = (),
    *,
    provenance: bool = False,
    as_json: bool = False,
) -> int:
    """Check the policy, or the configuration and the policy that it names; tell what was found.

    Args:
        policy: a policy file; in place of the one that ``config`` names where both are given.
        config: a configuration file; None checks none, but for the default one where there is no ``policy`` either.
        fatal: kinds of warnings about the policy that are as bad as a problem.
        provenance: whether to tell what each rule rests on.
        as_json: whether to tell all of it as one JSON object.

    Returns:
        The exit status.
    """
    report = _checked(policy, config if config or policy else DEFAULT_CONFIG)
    if as_json:
        typer.echo(json.dumps(_as_json(report, provenance), indent=2))
    else:
        _tell(report, provenance)
    failed = report.problems or any(warning.kind in fatal for warning in report.warnings)
    return os.EX_CONFIG if failed else os.EX_OK


def _checked(policy: Path | None, config: Path | None) -> _Report:
    report = _Report()
    settings = _settings(config, report) if config is not None else None
    if policy is not None:
        _policy(policy, lambda: _tested(policy), report)
    elif settings is not None:
        _policy(settings.policy, lambda: draft_for(settings, keys_at_hand=False), report)
    return report


def _settings(config: Path, report: _Report) -> Settings | None:
    """Check the settings; None where they are broken."""
    try:
        settings = load_settings(config)
    except Problems as error:
        report.problems += error.problems
        return None
    report.well.append(f"{config}: ok, {settings.hostname} for {', '.join(settings.relay_domains)}")
    _certificate(settings.tls, report, time.time())
    if idle := idle_key(settings.journal):
        report.doubts.append(f"{config}: warning: {idle}")
    return settings


def _certificate(settings: Tls, report: _Report, now: float) -> None:
    """Tell of the certificate's time; ``settings`` were found in order."""
    credentials = load_credentials(settings)
    if credentials is None:
        return
    path, days = str(credentials.path), (credentials.not_after - now) / DAY
    if why := credentials.out_of_date(now):
        report.problems.append(Problem(path, 1, 1, why, "put a new one in its place, then send SIGHUP"))
    elif days < settings.expiry_warning:
        report.soon.append(f"{path}: warning: the certificate runs out on {credentials.expiry}, in {days:.0f} days")
    else:
        report.well.append(f"{path}: ok, a certificate until {credentials.expiry}")


def _policy(path: Path, load_it: Callable[[], Draft], report: _Report) -> None:
    try:
        report.draft = load_it()
    except Problems as error:
        report.problems += error.problems
    else:
        report.well.append(f"{path}: ok, {_summary(report.draft.policy)}")
        report.well += [f"  {what}: {place}" for what, place in report.draft.read]


def _tested(path: Path) -> Draft:
    """The policy at ``path``.

    Raises:
        Problems: what is wrong with it, or the cases that fail.
    """
    found = draft(path)
    found.tested()
    return found


def _tell(report: _Report, provenance: bool) -> None:
    for line in report.well:
        typer.echo(line)
    for line in report.soon + report.doubts:
        typer.echo(line, err=True)
    if report.warnings:
        typer.echo(f"{written(report.warnings)}\n\n{_counted(len(report.warnings), 'warning')}", err=True)
    if report.problems:
        typer.echo(f"{Problems(report.problems)}\n\n{_counted(len(report.problems), 'problem')}", err=True)
    if provenance and report.draft is not None:
        typer.echo("\n" + table(report.rules, report.draft.document, terminal_width()))


def _as_json(report: _Report, provenance: bool) -> dict[str, Any]:
    found: dict[str, Any] = {
        "problems": [problem_as_json(problem) for problem in Problems(report.problems).problems],
        "warnings": [_warning_as_json(finding) for finding in report.warnings],
        "certificate": report.soon,
        "settings": report.doubts,
    }
    if report.draft is not None:
        policy = report.draft.policy
        found |= {
            "policy": str(policy.path),
            "digest": policy.digest,
            "read": [{"what": what, "place": place} for what, place in report.draft.read],
            "allowed": [{**_warning_as_json(each.finding), "because": each.because} for each in policy.allowed],
        }
    if provenance and report.draft is not None:
        found["rules"] = [rule_as_json(rule, report.draft.document) for rule in report.rules]
    return found


def _warning_as_json(finding: Finding) -> dict[str, Any]:
    return {"kind": finding.kind, "about": finding.about, **problem_as_json(finding.problem)}


def _summary(policy: CompiledPolicy) -> str:
    everything = policy.trial or policy.force
    counts = [_counted(len(everything.stages[stage].rules), f"{stage.name.lower()} rule") for stage in Stage]
    counts.append(_counted(len(everything.scales.lists), "DNS list"))
    observed = ", some only observed" if policy.trial is not None else ""
    allowed = f", {_counted(len(policy.allowed), 'warning')} allowed" if policy.allowed else ""
    passed = f"{_counted(policy.cases, 'case')} passed"
    return f"{', '.join(counts)}{observed}, {passed}{allowed}, digest {policy.digest[:12]}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def command(
    policy: Annotated[Path | None, typer.Option(readable=False, help="Check this policy.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(readable=False, help=f"Check this configuration; without any option {DEFAULT_CONFIG}."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Fail on warnings about the policy too.")] = False,
    allow: Annotated[
        list[Kind] | None, typer.Option(help="Not on this kind of warning, with --strict; may be given again.")
    ] = None,
    provenance: Annotated[
        bool, typer.Option("--provenance", help="Tell what each rule rests on, and so what it may do.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with all that was found.")] = False,
) -> None:
    """Check configuration and policy: every problem, with file, line and column."""
    fatal = set(Kind) - set(allow or ()) if strict else ()
    raise typer.Exit(check(policy, config, fatal, provenance=provenance, as_json=as_json))
