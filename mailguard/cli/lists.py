"""``mailguard lists``: what each DNS list was good for, by the journal; ``hindsight.worth`` says what each number is.

Which refusals a list was needed for is judged by the policy of the configuration, or by ``--policy``; with
``--journal`` alone it is left out. False positives are told only where mail was measured: let in by observe mode or by
the policy's `sample` though the rules would have refused it.

Exit status (sysexits.h): 0, also where no list was asked; 64 no time; 66 no journal that can be read, or not all of it;
75 a process was killed; 78 the configuration is wrong, or the policy does not load.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from mailguard.cli.asking import ConfigOption, FolderOption, asked, tell_left_out, tell_torn
from mailguard.cli.paths import DEFAULT_CONFIG
from mailguard.cli.sweeping import SINCE, ProcessesOption, SinceOption, UntilOption, swept, within
from mailguard.files import absolute, read_settings
from mailguard.hindsight.worth import Lists, Needs, Worth, as_json, weighed
from mailguard.policy_files import load
from mailguard.positions import Problems

_NOT_MEASURABLE: Final = "not measurable"


def lists(
    since: SinceOption = SINCE,
    until: UntilOption = "",
    policy: Annotated[
        Path | None,
        typer.Option("--policy", readable=False, help="Whose refusals are looked at; else the configuration's."),
    ] = None,
    as_json_: Annotated[bool, typer.Option("--json", help="One JSON object, with all of that.")] = False,
    processes: ProcessesOption = 0,
    config: ConfigOption = DEFAULT_CONFIG,
    journal: FolderOption = None,
) -> None:
    """What each DNS list was good for: hits, alone and together, failures, latency, refusals, false positives."""
    query, source = within(since, until), asked(config, journal, None)
    needs = _needs(policy, config if journal is None else None)
    result = Lists()
    left_out: dict[str, str] = {}
    for part in swept(source, query, partial(weighed, needs=needs), processes, left_out):
        part.folded.torn = part.torn
        result.take(part.folded)
    if as_json_:
        typer.echo(json.dumps(as_json(result), indent=2))
    else:
        _tell(result)
        tell_torn(result.torn)
    raise typer.Exit(tell_left_out(left_out))


def _needs(policy: Path | None, config: Path | None) -> Needs | None:
    try:
        if policy is None and config is not None:
            policy = absolute(read_settings(config)[1], config.parent.absolute()).policy
        return None if policy is None else Needs(load(policy))
    except Problems as problems:
        typer.echo(f"{problems}\n\nnothing was counted", err=True)
        raise typer.Exit(os.EX_CONFIG) from None


# --- told to a person -------------------------------------------------------------------------------------------------


def _tell(result: Lists) -> None:
    if not result.worth:
        typer.echo("no list was asked in that time")
        return
    console = Console()
    console.print(_numbers(result))
    typer.echo("\n".join(_notes(result)))
    if len(result.worth) > 1 and result.together:
        typer.echo("\nOf 100 clients that a list lists, so many are listed by another too:\n")
        console.print(_overlaps(result))


def _numbers(result: Lists) -> Table:
    table = Table("list", "asked", "listed", "alone", "unknown", "p50", "p95", "needed for", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, worth in sorted(result.worth.items()):
        table.add_row(
            name,
            f"{worth.asked:,}",
            _share(worth.listed, worth.asked),
            _share(worth.alone, worth.listed),
            f"{worth.unknown.total():,}",
            _milliseconds(worth.seconds(0.5)),
            _milliseconds(worth.seconds(0.95)),
            "-" if result.refusals is None else _share(worth.needed, result.refusals),
        )
    return table


def _share(part: int, whole: int) -> str:
    return f"{part:,} ({part / whole:.0%})" if whole else f"{part:,}"


def _milliseconds(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms"


def _notes(result: Lists) -> Iterator[str]:
    if result.refusals is not None:
        yield f"\nNeeded for: of {result.refusals:,} recipients that the policy would refuse at the envelope."
    failing = {name: worth.unknown for name, worth in sorted(result.worth.items()) if worth.unknown}
    if failing:
        yield "\nNo answer:"
        yield from (f"  {name}: {', '.join(f'{n:,} {k}' for k, n in c.most_common())}" for name, c in failing.items())
    yield "\nFalse positives (let in though the rules would have refused, and clean in content):"
    yield from (f"  {name}: {_false_positives(worth)}" for name, worth in sorted(result.worth.items()))
    if result.unreadable:
        yield f"\n{result.unreadable:,} records are not of the form that they should have"


def _false_positives(worth: Worth) -> str:
    if not worth.measured:
        return _NOT_MEASURABLE
    return f"{worth.clean:,} of {worth.measured:,} messages ({worth.clean / worth.measured:.1%})"


def _overlaps(result: Lists) -> Table:
    names = sorted(result.worth)
    table = Table("", *names, box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for one in names:
        listed = result.worth[one].listed
        cells = (f"{100 * result.overlap(one, other) / listed:.0f}" if listed else "" for other in names)
        table.add_row(one, *("-" if other == one else cell for other, cell in zip(names, cells, strict=True)))
    return table
