"""``mailguard replay``: what a changed policy would have done with the mail that the journal tells of.

The facts of each record, raw answers of lists included, are judged by the policy given; nothing is asked of the
network. Told is what would fare otherwise, by kind and rule, and the newest of it; and what cannot be judged: a list
that nobody asked, an address under a pseudonym, the content of what was refused at the envelope.

Exit status as diff(1): 0 nothing would fare otherwise, 1 something would; and of sysexits.h: 64 no time, 66 no journal
that can be read, 75 a process was killed, 78 the policy does not load, or the configuration is wrong.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mailguard.cli.asking import ConfigOption, FolderOption, asked, tell_left_out, tell_torn
from mailguard.cli.paths import DEFAULT_CONFIG
from mailguard.cli.sweeping import SINCE, ProcessesOption, SinceOption, UntilOption, swept, within
from mailguard.hindsight.judging import Judge, Judged
from mailguard.hindsight.replay import Change, Replay, as_json, replayed, told
from mailguard.journal.telling import shown
from mailguard.policy.engine import CompiledPolicy
from mailguard.policy_files import load
from mailguard.positions import Problems

_CHANGED: Final = 1
_LIMIT: Final = 50
_MOST: Final = 10_000
"""Changes that can be listed: each is kept in memory, in each process."""


def replay(
    policy: Annotated[Path, typer.Option("--policy", readable=False, help="The policy to judge by.")],
    since: SinceOption = SINCE,
    until: UntilOption = "",
    enforced: Annotated[
        bool, typer.Option("--enforced", help="As though nothing were only observed, neither then nor now.")
    ] = False,
    limit: Annotated[int, typer.Option(min=0, max=_MOST, help="List at the most so many, the newest.")] = _LIMIT,
    as_json_: Annotated[bool, typer.Option("--json", help="One JSON object, with all of that.")] = False,
    processes: ProcessesOption = 0,
    config: ConfigOption = DEFAULT_CONFIG,
    journal: FolderOption = None,
) -> None:
    """Judge the journal's mail again by another policy: which mail would fare otherwise, and by which rule."""
    query, source = within(since, until), asked(config, journal, None)
    compiled = _loaded(policy)
    fold = partial(replayed, judge=Judge(compiled, enforced), limit=limit)
    result = Replay(limit)
    left_out: dict[str, str] = {}
    for part in swept(source, query, fold, processes, left_out):
        part.folded.torn = part.torn
        result.take(part.folded)
    if as_json_:
        typer.echo(json.dumps({"policy": str(policy), "digest": compiled.digest, **as_json(result)}, indent=2))
    else:
        _tell(result, f"{policy} (digest {compiled.digest[:12]})")
        tell_torn(result.torn)
    raise typer.Exit(tell_left_out(left_out) or (_CHANGED if result.changed else os.EX_OK))


def _loaded(path: Path) -> CompiledPolicy:
    try:
        return load(path)
    except Problems as problems:
        typer.echo(f"{problems}\n\nnothing was judged", err=True)
        raise typer.Exit(os.EX_CONFIG) from None


# --- told to a person -------------------------------------------------------------------------------------------------


def _tell(result: Replay, policy: str) -> None:
    typer.echo("\n".join(_summary(result, policy)))
    console = Console()
    if result.kinds:
        console.print("\nWhat would fare otherwise, by rule:\n")
        console.print(_kinds(result))
    if result.newest:
        console.print(f"\nThe newest {len(result.newest)} of {result.changed:,}:\n")
        console.print(_changes(result.changes))


def _summary(result: Replay, policy: str) -> Iterator[str]:
    count = result.outcomes
    yield f"{result.judged:,} messages and refused recipients judged by {policy}:"
    yield f"  {result.changed:,} would fare otherwise"
    yield f"  {count[Judged.SAME] + count[Judged.OTHER_RULE]:,} the same, {count[Judged.OTHER_RULE]:,} by another rule"
    if count[Judged.UNKNOWN]:
        yield f"{count[Judged.UNKNOWN]:,} more cannot be judged, for a rule looks at what was not written down:"
        yield from (f"  {number:,}: {what}" for what, number in result.lacking.most_common())
    if count[Judged.ELSEWHERE]:
        yield f"{count[Judged.ELSEWHERE]:,} more were refused by the backend or by mailguard itself, not by policy"
    if count[Judged.UNREADABLE]:
        yield f"{count[Judged.UNREADABLE]:,} records are not of the form that they should have"


def _kinds(result: Replay) -> Table:
    table = Table("count", "was", "would be", "rule then", "rule now", box=None, pad_edge=False)
    table.columns[0].justify = "right"
    for kind, number in result.kinds.most_common():
        cells = (f"{number:,}", kind.before, kind.now, kind.rule_before or "-", kind.rule_now or "-")
        table.add_row(*(Text(shown(cell), overflow="fold") for cell in cells))
    return table


def _changes(changes: Sequence[Change]) -> Table:
    table = Table("time", "ref", "from", "to", "was", "would be", "rule now", box=None, pad_edge=False)
    table.columns[1].no_wrap = True
    for change in changes:
        cells = (
            _local(change.time),
            change.ref,
            change.sender,
            change.recipient,
            told(change.before),
            told(change.now),
            change.now.rule or "-",
        )
        table.add_row(*(Text(shown(cell), overflow="fold") for cell in cells))
    return table


def _local(time: str) -> str:
    """A record's time in the zone of who asks."""
    try:
        return f"{datetime.fromisoformat(time).astimezone():%m-%d %H:%M:%S}"
    except ValueError:
        return time
