"""``make test-ha``: every scenario, and a table of what it found.

    python -m tests.ha               # about ten minutes
    python -m tests.ha --write       # and writes docs/cluster/failover.md anew
    python -m tests.ha move crash    # those scenarios whose name holds one of these words alone

To be run by ``sh tests/in_namespace.sh``, as root. Ends with status 1 at the first thing that is not as it must be.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console

from mailguard.lab.process import LabError
from tests.ha.account import Account, played, require_nothing_lost
from tests.ha.cluster import Cluster
from tests.ha.report import PAGE, page, table
from tests.ha.scenarios import SCENARIOS


async def play(names: Sequence[str], console: Console) -> tuple[list[Account], dict[str, str]]:
    """Play these scenarios on one cluster; what became of the mail, and the versions of the cluster's parts.

    Raises:
        LabError: something is not as it must be.
    """
    accounts = []
    console.print("three nodes ...", style="dim")
    with Cluster() as cluster:
        for name in names:
            console.print(f"{name} ...", style="dim")
            account = await played(cluster, name, SCENARIOS[name])
            console.print(f"  {account}", style="dim")
            require_nothing_lost(account)
            accounts.append(account)
        return accounts, cluster.versions()


def main() -> None:
    """Run, print, and write where asked to."""
    parser = argparse.ArgumentParser(prog="python -m tests.ha")
    parser.add_argument("--write", action="store_true", help=f"write docs/cluster/{PAGE.name} anew; of all alone")
    parser.add_argument("words", nargs="*", help="play the scenarios whose name holds one of these")
    options = parser.parse_args()
    names = [name for name in SCENARIOS if not options.words or any(word in name for word in options.words)]
    if (options.write and options.words) or not names:
        parser.error("--write is for all scenarios; their names are: " + "; ".join(SCENARIOS))
    console = Console()
    try:
        accounts, versions = asyncio.run(play(names, console))
    except (LabError, TimeoutError) as error:
        sys.exit(f"ha: {error!r}" if isinstance(error, TimeoutError) else f"ha: {error}")
    console.print(table(accounts))
    if options.write:
        PAGE.write_text(page(accounts, versions, datetime.now(UTC).date(), os.getloadavg()[2]))


if __name__ == "__main__":
    main()
