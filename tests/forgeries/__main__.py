"""Plays every row of the table and prints what came of it.

    sh tests/in_namespace.sh .venv/bin/python -m tests.forgeries          through mailguard into a sink, DATA and BDAT
    sh tests/in_namespace.sh .venv/bin/python -m tests.forgeries --exim   and read by Exim, before and behind mailguard
    .venv/bin/python -m tests.forgeries --write                           writes docs/forgeries.md and plays nothing

Exit status 1 where a row did not come out as it must.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from mailguard import log
from tests.forgeries.page import PAGE, page
from tests.forgeries.play import WAYS, EximReader, as_it_must_be, deliver
from tests.forgeries.rows import ROWS, Row

ASKED = [row for row in ROWS if row.header]
"""The rows about which Exim can be asked before mailguard."""


def results(exim: EximReader | None) -> dict[str, set[Row]]:
    """By column, the rows that came out as they must; ``exim`` reads what was sent, and what arrived."""
    good: dict[str, set[Row]] = {}
    for way in WAYS:
        arrived = asyncio.run(deliver(way))
        good[way] = {row.key for row in ROWS if as_it_must_be(row, arrived[row.key])}
    if exim is not None:
        seen = exim.sees(ASKED)
        good["Exim before"] = {row.key for row in ASKED if (row.key in seen) == row.exim}
        good["Exim behind"] = exim.sees_ours_alone(arrived)
    return good


def main() -> int:
    """Play, print, and say whether all went well."""
    parser = argparse.ArgumentParser(prog="tests.forgeries", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--exim", action="store_true", help="read by Exim too")
    parser.add_argument("--write", action="store_true", help="write docs/forgeries.md and play nothing")
    options = parser.parse_args()
    if options.write:
        PAGE.write_text(page())
        return 0
    log.configure("logfmt", "error")
    with tempfile.TemporaryDirectory(prefix="mailguard-forgeries-") as folder:
        good = results(EximReader(Path(folder)) if options.exim else None)
    return report(good)


def report(good: dict[str, set[Row]]) -> int:
    """Print a line for each row and the counts; 1 where a row did not come out as it must."""
    bad = False
    for row in ROWS:
        columns = {name: row.key in rows for name, rows in good.items() if name != "Exim before" or row in ASKED}
        bad |= not all(columns.values())
        told = "  ".join(f"{name} {'ok' if fine else 'WRONG'}" for name, fine in columns.items())
        sys.stdout.write(f"{row.group:8} {row.name:46} {'goes' if row.goes else 'stays':6} {told}\n")
    asked = {name: len(ASKED) if name == "Exim before" else len(ROWS) for name in good}
    totals = ", ".join(f"{name} {len(rows)}/{asked[name]}" for name, rows in good.items())
    sys.stdout.write(f"{len(ROWS)} rows, of which {sum(row.goes for row in ROWS)} are forgeries: {totals}\n")
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
