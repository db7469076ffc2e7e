"""``make bench``: work per second of server CPU time, mailguard and a stock peer in turn; then pure code alone.

    python -m tests.bench                # about three minutes; prints two tables
    python -m tests.bench --write        # and writes its sections of docs/performance.md anew
    python -m tests.bench --pure         # pure code alone, a minute; with --write, its section alone
    python -m tests.bench --share 0.1    # a tenth of each round: whether it works, not how fast

To be run by ``sh tests/in_namespace.sh``, where clients have addresses of their own; elsewhere PROXY headers name them.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime

from rich.console import Console

from mailguard.lab import Lab
from mailguard.lab.process import LabError
from tests.bench.loads import LOADS
from tests.bench.micro import ROUND_SECONDS, everything
from tests.bench.report import Run, markdown, pure_section, tables
from tests.bench.rounds import ROUNDS, RunFailed, measure
from tests.bench.sections import PAGE, keeping, with_section
from tests.bench.subjects import Bench


def run(console: Console, share: float = 1.0, rounds: int = ROUNDS) -> Run:
    """Measure everything, telling what is under way; ``share``: of each round's work.

    Raises:
        RunFailed: a server did not do its work.
        LabError: a server did not start.
    """
    figures = []
    with Lab() as lab:
        bench = Bench(lab)
        for load in LOADS:
            console.print(f"{load.name} ...", style="dim")
            figures.append((load, measure(bench, load.scaled(share), rounds)))
    console.print("pure code ...", style="dim")
    micros = list(everything(ROUND_SECONDS * share))
    return Run(figures, micros, bench.proxied, rounds)


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--write", action="store_true", help="write its sections of docs/performance.md anew")
    parser.add_argument("--pure", action="store_true", help="measure pure code alone")
    parser.add_argument("--share", type=float, default=1.0, help="of each round's work (default 1)")
    options = parser.parse_args()
    today = datetime.now(UTC).date()
    if options.pure:
        section = pure_section(list(everything(ROUND_SECONDS * options.share)), today)
        print(section)
        if options.write:
            PAGE.write_text(with_section(PAGE.read_text(), section))
        return
    try:
        done = run(Console(stderr=True), options.share)
    except (RunFailed, LabError) as error:
        sys.exit(f"bench: {error}")
    for table in tables(done):
        Console().print(table)
    if options.write:
        PAGE.write_text(keeping(markdown(done, today), PAGE.read_text()))


if __name__ == "__main__":
    main()
