"""``mailguard test``: runs the cases of a policy, its own and those in files beside it, and tells what they cover.

A line a case; then each failure with the rules that were tried and the weights that counted; then the rules that no
case exercises and the thresholds that are shown from one side only (``policy.coverage``). The network is not asked.

Exit status: 0 where all cases come out as expected, whatever they cover; 1 where one does not; 78 (sysexits.h) where
the policy does not load, or the settings that name it. Problems of that kind go to standard error.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from mailguard.cli.as_json import problem_as_json
from mailguard.cli.paths import DEFAULT_CONFIG
from mailguard.files import absolute, read_settings
from mailguard.policy.coverage import Coverage, Threshold, cover
from mailguard.policy.suites import Result, results
from mailguard.policy_files import draft
from mailguard.positions import Problem, Problems

_FAILED = 1


def command(
    argument: Annotated[
        Path | None, typer.Argument(metavar="[POLICY]", readable=False, help="The policy to test; as --policy.")
    ] = None,
    policy: Annotated[Path | None, typer.Option(readable=False, help="The policy to test.")] = None,
    config: Annotated[
        Path, typer.Option(readable=False, help="Test the policy that this configuration names, where none is given.")
    ] = DEFAULT_CONFIG,
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Every rule with its cases, every threshold with the nearest values."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with all of that.")] = False,
) -> None:
    """Run the cases of a policy, and those in files beside it; tell what no case exercises."""
    if argument is not None and policy is not None:
        raise typer.BadParameter("the policy is named twice: as an argument, and by --policy")
    try:
        path = argument or policy or _named_by(config)
        found = draft(path)
    except Problems as problems:
        _tell_problems(problems, as_json)
        raise typer.Exit(os.EX_CONFIG) from None
    came_out = list(results(found.policy, found.suites))
    covered = cover(found.policy, found.document, found.suites)
    if as_json:
        digest = found.policy.digest
        typer.echo(json.dumps({"policy": str(path), "digest": digest, **_as_json(came_out, covered)}, indent=2))
    else:
        typer.echo("\n".join(_told(came_out, covered, verbose)))
    raise typer.Exit(_FAILED if any(result.problem for result in came_out) else os.EX_OK)


def _named_by(config: Path) -> Path:
    """The policy that ``config`` names.

    Raises:
        Problems: everything that is wrong with how ``config`` is written.
    """
    return absolute(read_settings(config)[1], config.parent.absolute()).policy


def _tell_problems(problems: Problems, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"problems": [problem_as_json(problem) for problem in problems.problems]}, indent=2))
    else:
        typer.echo(f"{problems}\n\nnothing was tested", err=True)


def _told(came_out: list[Result], covered: Coverage, verbose: bool) -> Iterator[str]:
    for result in came_out:
        yield f"{result.file}:{result.line}: {'FAILED' if result.problem else 'passed'}: {result.case.name}"
    for problem in _failures(came_out):
        yield f"\n{problem}"
    holes = [*_idle(covered), *_loose(covered)]
    if holes:
        yield ""
        yield from holes
    if verbose:
        yield ""
        yield from _details(covered)
    yield ""
    yield _summary(came_out, covered)


def _failures(came_out: list[Result]) -> list[Problem]:
    return [result.problem for result in came_out if result.problem is not None]


def _idle(covered: Coverage) -> Iterator[str]:
    for rule in covered.idle:
        yield f"{rule.file}:{rule.line}: not exercised: in no case rule '{rule.rule}' fires"


def _loose(covered: Coverage) -> Iterator[str]:
    for threshold in covered.loose:
        missing = [str(truth).lower() for truth in (True, False) if threshold.nearest(truth) is None]
        yield (
            f"{threshold.file}:{threshold.line}: one side only: in no case `{threshold.comparison}`"
            f"{_limit(threshold)} settles rule '{threshold.rule}' by being {' or '.join(missing)}"
        )


def _limit(threshold: Threshold) -> str:
    return f" ({threshold.limit:g}, of profile {threshold.profile})" if threshold.profile else ""


def _details(covered: Coverage) -> Iterator[str]:
    for rule in covered.rules:
        yield f"{rule.file}:{rule.line}: rule '{rule.rule}': {', '.join(rule.cases) or 'no case'}"
    for threshold in covered.thresholds:
        near = (f"{truth} at {_number(threshold.nearest(truth))}" for truth in (True, False))
        yield (
            f"{threshold.file}:{threshold.line}: rule '{threshold.rule}': `{threshold.comparison}`{_limit(threshold)}: "
            f"{', '.join(near).lower()}"
        )


def _number(value: float | None) -> str:
    return "no value" if value is None else f"{value:g}"


def _summary(came_out: list[Result], covered: Coverage) -> str:
    failed = len(_failures(came_out))
    rules, thresholds = len(covered.rules), len(covered.thresholds)
    return (
        f"{len(came_out) - failed} passed, {failed} failed; {rules - len(covered.idle)} of {rules} rules exercised, "
        f"{thresholds - len(covered.loose)} of {thresholds} thresholds shown from both sides"
    )


def _as_json(came_out: list[Result], covered: Coverage) -> dict[str, Any]:
    failed = len(_failures(came_out))
    return {
        "passed": len(came_out) - failed,
        "failed": failed,
        "cases": [
            {
                "name": result.case.name,
                "file": result.file,
                "line": result.line,
                "passed": result.problem is None,
                "problem": problem_as_json(result.problem) if result.problem is not None else None,
            }
            for result in came_out
        ],
        "rules": [
            {"name": rule.rule, "file": rule.file, "line": rule.line, "cases": rule.cases} for rule in covered.rules
        ],
        "thresholds": [
            {
                "rule": threshold.rule,
                "file": threshold.file,
                "line": threshold.line,
                "comparison": threshold.comparison,
                "profile": threshold.profile or None,
                "limit": threshold.limit,
                "nearest_true": threshold.nearest(True),
                "nearest_false": threshold.nearest(False),
            }
            for threshold in covered.thresholds
        ],
    }
