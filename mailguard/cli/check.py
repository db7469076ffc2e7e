"""``mailguard check``: everything wrong with settings and policy, each with file, line, column and the line itself.

It reads the files with the functions that the server uses, runs the policy's cases, and starts nothing. Exit status
(sysexits.h): 0, or 78 where there is a problem. Problems go to standard error, and so do warnings: of a certificate
that runs out soon, and of what a policy says that is hardly meant (``policy.analysis``); these fail a check that is
strict. A certificate that has run out is a problem here, though ``serve`` would go on with it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated

import typer

from mailguard.config import Settings, Tls
from mailguard.facts import Stage
from mailguard.files import DEFAULT_CONFIG
from mailguard.net.certificates import load_credentials
from mailguard.policy.analysis import Kind, written
from mailguard.policy.engine import CompiledPolicy
from mailguard.policy_files import load, load_for, load_settings
from mailguard.positions import Problem, Problems
from mailguard.smtp.identity import DAY


def check(policy: Path | None, config: Path | None, fatal: Collection[Kind] = ()) -> int:
    """Check the policy, or the configuration and the policy that it names; tell what was found.

    Args:
        policy: a policy file; in place of the one that ``config`` names where both are given.
        config: a configuration file; None checks none, but for the default one where there is no ``policy`` either.
        fatal: kinds of warnings about the policy that are as bad as a problem.

    Returns:
        The exit status.
    """
    problems: list[Problem] = []
    if config is None and policy is None:
        config = DEFAULT_CONFIG
    settings = _settings(config, problems) if config is not None else None
    loaded = None
    if policy is not None:
        loaded = _policy(policy, lambda: load(policy), problems)
    elif settings is not None:
        loaded = _policy(settings.policy, lambda: load_for(settings), problems)
    warnings = loaded.warnings if loaded is not None else ()
    if warnings:
        typer.echo(f"{written(warnings)}\n\n{_counted(len(warnings), 'warning')}", err=True)
    if problems:
        typer.echo(f"{Problems(problems)}\n\n{_counted(len(problems), 'problem')}", err=True)
    return os.EX_CONFIG if problems or any(warning.kind in fatal for warning in warnings) else os.EX_OK


def _settings(config: Path, problems: list[Problem]) -> Settings | None:
    """Check the settings; None where they are broken."""
    try:
        settings = load_settings(config)
    except Problems as error:
        problems += error.problems
        return None
    typer.echo(f"{config}: ok, {settings.hostname} for {', '.join(settings.relay_domains)}")
    _certificate(settings.tls, problems, time.time())
    return settings


def _certificate(settings: Tls, problems: list[Problem], now: float) -> None:
    """Tell of the certificate's time; ``settings`` were found in order."""
    credentials = load_credentials(settings)
    if credentials is None:
        return
    path, days = str(credentials.path), (credentials.not_after - now) / DAY
    if why := credentials.out_of_date(now):
        problems.append(Problem(path, 1, 1, why, "put a new one in its place, then send SIGHUP"))
    elif days < settings.expiry_warning:
        typer.echo(f"{path}: warning: the certificate runs out on {credentials.expiry}, in {days:.0f} days", err=True)
    else:
        typer.echo(f"{path}: ok, a certificate until {credentials.expiry}")


def _policy(path: Path, load_it: Callable[[], CompiledPolicy], problems: list[Problem]) -> CompiledPolicy | None:
    """Load the policy; None where it is broken."""
    try:
        policy = load_it()
    except Problems as error:
        problems += error.problems
        return None
    typer.echo(f"{path}: ok, {_summary(policy)}")
    return policy


def _summary(policy: CompiledPolicy) -> str:
    everything = policy.trial or policy.force
    counts = [_counted(len(everything.stages[stage].rules), f"{stage.name.lower()} rule") for stage in Stage]
    counts.append(_counted(len(everything.scales.lists), "DNS list"))
    observed = ", some only observed" if policy.trial is not None else ""
    return f"{', '.join(counts)}{observed}, {_counted(policy.cases, 'case')} passed, digest {policy.digest[:12]}"


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
) -> None:
    """Check configuration and policy: every problem, with file, line and column."""
    raise typer.Exit(check(policy, config, set(Kind) - set(allow or ()) if strict else ()))
