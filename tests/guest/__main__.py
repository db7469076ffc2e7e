"""``make test-guest``: every scenario, and a table of what was seen.

    python -m tests.guest                    # a quarter of an hour, emulated on an idle machine
    python -m tests.guest --write            # and writes what they saw into docs/cluster/guest-run.md
    python -m tests.guest --write split      # that scenario alone: what the page has of the others stays
    python -m tests.guest moved --disk FILE  # that scenario alone, with a disk that has booted before

To be run by ``sh tests/in_namespace.sh``, as root. Ends with status 1 at the first thing that is not as it must be.
"""

from __future__ import annotations

import argparse
import os
import sys
from datetime import UTC, datetime
from pathlib import Path

from mailguard.lab import Lab
from mailguard.lab.process import LabError
from tests.guest import network, time_server
from tests.guest.layout import MONITOR
from tests.guest.report import PAGE, page
from tests.guest.run import Run
from tests.guest.scenarios import SCENARIOS


def main() -> None:
    """Run, print, and write where asked to."""
    parser = argparse.ArgumentParser(prog="python -m tests.guest")
    parser.add_argument(
        "--write", action="store_true", help=f"write into docs/cluster/{PAGE.name}: of each played scenario anew"
    )
    parser.add_argument(
        "--accel", choices=("tcg", "kvm"), default="tcg", help="emulated (default), or by the processor"
    )
    parser.add_argument("--disk", type=Path, help="a disk that has booted, for `moved` without `alone`")
    parser.add_argument("--keep", type=Path, help="keep the disk that `alone` booted, here")
    parser.add_argument("names", nargs="*", help=f"of {', '.join(SCENARIOS)}")
    options = parser.parse_args()
    if unknown := set(options.names) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(unknown)}")
    run = Run(Lab().scratch, options.accel, options.disk, lambda line: print(line, flush=True))
    network.build()
    time_server.serve(MONITOR)
    try:
        for name, scenario in SCENARIOS.items():
            if not options.names or name in options.names:
                run.play(name, scenario)
    except (LabError, OSError) as error:
        sys.exit(f"guest: {error}")
    if options.keep and run.disk:
        run.disk.replace(options.keep)
    if options.write:
        PAGE.write_text(page(run, datetime.now(UTC).date(), os.getloadavg()[2], PAGE.read_text()))


if __name__ == "__main__":
    main()
