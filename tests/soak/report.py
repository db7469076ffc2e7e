"""``docs/soak.md``: what a soak found, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Final

import mailguard
from tests.bench.report import machine
from tests.bench.sections import split, with_section
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

Each section is written by `sh tests/in_namespace.sh .venv/bin/python -m tests.soak --write PART`; `make soak` does all
of them and only prints what it finds, `make soak ARGS=PART` one. `make test` runs a sample of each. A run ends at the
first thing that is not as it must be, so whatever stands here held for every message.

*How.* `mailguard serve` with two workers, a journal, and the shipped policy without its rules about content (no scanner
runs: SpamAssassin would take all there is), before an Exim that takes messages while the load lasts and delivers them
into Maildirs after it. Each message has an id of its own, and none is sent twice
([why](decisions/0175-what-a-soak-counts.md)). Each connection is of a new client, so lists, reverse name, EHLO name and
sender are asked about. At the end every id is looked for in the Maildirs and in the journal: what was answered 250 is
in the Maildirs exactly once and has its record exactly once; what was answered 4yz is not there; what was not answered
is there once at the most.

Everything shares the machine's cores: mailguard, Exim, resolver, DNS lists, the
senders, and whatever else runs, which the load average shows. The rates are what was left, not what mailguard can do:
that is [performance.md](performance.md).
"""


def section(name: str, figures: Figures, today: date, load: float) -> str:
    """The section of a part; ``load``: the machine's load average of five minutes, at its end."""
    ran = f"{today.isoformat()}, mailguard {mailguard.__version__}; {machine()}; load average {load:.0f}."
    lines = "\n".join(f"| {what} | {figure} |" for what, figure in figures.lines)
    return f"## {_TITLES[name]}\n\n`make soak ARGS={name}`. {ran}\n\n| what | |\n| --- | --- |\n{lines}\n"


def page(before: str, sections: Sequence[str]) -> str:
    """The page with these sections, and those others that stood in it ``before``."""
    text = _HEAD
    for each in (*split(before)[1:], *sections):
        text = with_section(text, each)
    return text
