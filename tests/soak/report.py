"""``docs/soak.md``: what a soak found, and how."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Final

import mailguard
from tests.bench.report import machine
from tests.soak.figures import Figures

PAGE: Final = Path(__file__).parents[2] / "docs" / "soak.md"

_TITLES: Final[Mapping[str, str]] = {
    "reloading": "Policies and workers replaced under load",
    "ending": "SIGTERM under load",
    "killing": "kill -9 under load",
    "crowd": "Idle and slow connections",
}
_HEAD = """\
# Under load, for long, and with processes killed

Written by `sh tests/in_namespace.sh .venv/bin/python -m tests.soak --write`; `make soak` does the same and only prints
it, `make soak ARGS=killing` one part. `make test` runs a sample of each. A run ends at the first thing that is not as
it must be, so whatever stands here held for every message.

* {date}, mailguard {version}
* {machine}
* Everything shares these cores: mailguard, Exim with processes for each message, resolver, DNS lists, the senders, and
  other work: the load average of the quarter of an hour before was {load:.1f}. The rates are what was left.

*How.* `mailguard serve` with two workers, a journal, and the shipped policy without its rules about content (no scanner
runs: SpamAssassin would take all there is), before an Exim that delivers into Maildirs. Each message has an id of its
own, and none is sent twice. Each connection is of a new client, so lists, reverse name, EHLO name and sender are asked
about. At the end every id is looked for in the Maildirs and in the journal: what was answered 250 is in the Maildirs
exactly once and has its record exactly once; what was answered 4yz is not there; what was not answered is there once at
the most.
"""


def page(found: Mapping[str, Figures], today: date, load: float) -> str:
    """The page; ``load``: the machine's load average before."""
    head = _HEAD.format(date=today.isoformat(), version=mailguard.__version__, machine=machine(), load=load)
    return "\n".join([head, *(_section(name, figures) for name, figures in found.items())])


def _section(name: str, figures: Figures) -> str:
    lines = "\n".join(f"| {what} | {figure} |" for what, figure in figures.lines)
    return f"## {_TITLES[name]}\n\n`make soak ARGS={name}`\n\n| what | |\n| --- | --- |\n{lines}\n"
