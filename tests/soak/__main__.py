"""``make soak``: every part in its large form, and a table of what it found.

    python -m tests.soak                 # about ten minutes
    python -m tests.soak --write         # and writes its sections of docs/soak.md anew
    python -m tests.soak killing crowd   # these parts alone

To be run by ``sh tests/in_namespace.sh``. Ends with status 1 at the first thing that is not as it must be.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

import uvloop
from rich.console import Console
from rich.table import Table

from mailguard.lab.process import LabError
from tests.soak.crowd import crowd
from tests.soak.ending import ending
from tests.soak.failure import SoakFailed
from tests.soak.figures import Figures
from tests.soak.killing import killing
from tests.soak.place import Place
from tests.soak.reloading import reloading
from tests.soak.report import PAGE, page, section

SENDERS: Final = 20
"""Connections at the same time: more make no more messages of two cores, they only wait."""
PARTS: Final[Mapping[str, Callable[[Place], Awaitable[Figures]]]] = {
    "reloading": lambda place: reloading(place, reloads=100, generations=5, senders=SENDERS),
    "ending": lambda place: ending(place, drains=5, senders=SENDERS),
    "killing": lambda place: killing(place, workers=10, admins=3, supervisors=3, senders=SENDERS),
    "crowd": lambda place: crowd(place, idle=2000, slow=200, messages=200, grace=30.0),
}


async def soak(names: Sequence[str], write: bool) -> None:
    """Run these parts, telling what each found, and writing it to :data:`PAGE` where asked to.

    Raises:
        SoakFailed: something is not as it must be.
        LabError: a server did not start.
    """
    console = Console()
    with Place() as place:
        for name in names:
            console.print(f"{name} ...", style="dim")
            began = time.monotonic()
            figures = await PARTS[name](place)
            figures.tell("took", f"{time.monotonic() - began:.0f} s")
            console.print(_table(name, figures))
            if write:
                _write(section(name, figures, datetime.now(UTC).date(), os.getloadavg()[1]))


def _write(text: str) -> None:
    before = PAGE.read_text() if PAGE.exists() else ""
    PAGE.write_text(page(before, [text]))


def _table(name: str, figures: Figures) -> Table:
    table = Table("what", "figure", title=name)
    for line in figures.lines:
        table.add_row(*line)
    return table


def main() -> None:
    """Run, print, and write where asked to."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--write", action="store_true", help=f"write these sections of docs/{PAGE.name} anew")
    parser.add_argument("parts", nargs="*", help=", ".join(PARTS))
    options = parser.parse_args()
    if unknown := set(options.parts) - PARTS.keys():
        parser.error(f"no part: {', '.join(sorted(unknown))}")
    try:
        uvloop.run(soak(options.parts or list(PARTS), options.write))
    except (SoakFailed, LabError) as error:
        sys.exit(f"soak: {error}")


if __name__ == "__main__":
    main()
