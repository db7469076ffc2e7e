"""``make bench``: work per second of server CPU time, mailguard and its peers in turn; then pure code alone.

    python -m tests.bench                # about fifteen minutes; prints what it found, as Markdown
    python -m tests.bench --write        # and writes its sections of docs/performance.md anew
    python -m tests.bench --pure         # pure code alone, a minute; with --write, its section alone
    python -m tests.bench --share 0.1    # a tenth of each round: whether it works, not how fast

To be run by ``sh tests/in_namespace.sh``, as root, where clients have addresses of their own; elsewhere PROXY headers
name them, and none but the peer of stock Python takes part.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime

from rich.console import Console

from mailguard.lab import Lab
from mailguard.lab.process import LabError
from tests.bench.half_load import added
from tests.bench.life import life
from tests.bench.loads import LOADS, read_share
from tests.bench.micro import ROUND_SECONDS, everything
from tests.bench.report import Run, markdown, pure_section
from tests.bench.rounds import ROUNDS, RunFailed, measure
from tests.bench.scanning import scanning
from tests.bench.sections import PAGE, keeping, with_section
from tests.bench.world import Bench


def run(console: Console, share: float = 1.0, rounds: int = ROUNDS) -> Run:
    """Measure everything, telling what is under way; ``share``: of each round's work.

    Raises:
        RunFailed: a server did not do work that is no comparison's.
        LabError: a server did not start.
    """
    with Lab() as lab:
        bench = Bench(lab)
        for name, why in bench.left_out.items():
            console.print(f"without {name}: {why}")
        rows = []
        for load in LOADS:
            console.print(f"{load.name} ...", style="dim")
            rows.append((load, measure(bench, load.scaled(share), rounds)))
        console.print("half load, scanners, what mailguard takes beside mail ...", style="dim")
        single, row = next((load, row) for load, row in rows if not load.refused)
        latency = added(bench, single, row, rounds)
        scanned, beside = scanning(lab, bench), life(bench)
    console.print("pure code ...", style="dim")
    micros = list(everything(ROUND_SECONDS * share))
    return Run(rows, micros, latency, beside, scanned, bench.left_out, bench.proxied, rounds, os.getloadavg()[2])


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench")
    parser.add_argument("--write", action="store_true", help="write its sections of docs/performance.md anew")
    parser.add_argument("--pure", action="store_true", help="measure pure code alone")
    parser.add_argument("--share", type=read_share, default=1.0, help="of each round's work (default 1)")
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
    except KeyboardInterrupt:
        sys.exit("bench: interrupted, so nothing is told and nothing was written")
    page = markdown(done, today)
    print(page)
    if options.write:
        PAGE.write_text(keeping(page, PAGE.read_text()))


if __name__ == "__main__":
    main()
