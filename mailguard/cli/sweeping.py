"""What commands that go through all of the journal have in common: a time, processes, errors with their exit status.

Exit status (sysexits.h), besides those of ``asking``: 75 where a process was killed: try again, with fewer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from datetime import UTC, datetime
from typing import Annotated, Final, TypeAlias, TypeVar

import typer

from mailguard.cli.asking import Asked, fail, parse_time, told
from mailguard.journal.folder import Folder
from mailguard.journal.form import Record, microseconds
from mailguard.journal.reader import EVER, Query
from mailguard.journal.sweep import Swept, sweep

T = TypeVar("T")

SINCE: Final = "14d"
"""From when on, where nobody says."""

SinceOption: TypeAlias = Annotated[str, typer.Option(help="From when on: 2d, 36h (ago), 2026-11-21, 2026-11-21T10:00.")]
UntilOption: TypeAlias = Annotated[str, typer.Option(help="Up to when, likewise.")]
ProcessesOption: TypeAlias = Annotated[
    int, typer.Option("--processes", min=0, max=64, help="How many read at once; 0: as many as this may use cores.")
]


def within(since: str, until: str) -> Query:
    """All records of a time as the command line has it, ``until`` empty: up to now. Ends the command if it is none."""
    now = datetime.now(UTC).astimezone()
    try:
        begin = microseconds(parse_time(since, now))
        end = microseconds(parse_time(until, now)) if until else EVER
    except ValueError as error:
        fail(str(error), os.EX_USAGE)
    if begin >= end:
        fail(f"nothing is since {since} and before {until}", os.EX_USAGE)
    return Query(since=begin, until=end)


def swept(
    source: Asked, query: Query, fold: Callable[[Iterator[Record]], T], processes: int, left_out: dict[str, str]
) -> Iterator[Swept[T]]:
    """What ``fold`` makes of each segment's records that answer ``query``; ends the command where it cannot.

    ``left_out``: gets the segments that could not be read, and why.
    """
    processes = processes or len(os.sched_getaffinity(0))
    try:
        with told("reading", worth=2) as progress:
            for part in sweep(Folder(source.folder), query, fold, processes, progress):
                left_out |= part.left_out
                yield part
    except OSError as error:
        source.unreadable(error)
    except BrokenProcessPool:
        fail("a process that read the journal was killed, for want of memory perhaps: --processes 1", os.EX_TEMPFAIL)
