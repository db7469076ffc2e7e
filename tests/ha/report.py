"""``docs/cluster/failover.md``: what a run of all scenarios found, and how."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Final

from rich.table import Table

import mailguard
from tests.bench.report import machine
from tests.ha.account import Account
from tests.ha.layout import ROOT

PAGE: Final = ROOT / "docs/cluster/failover.md"

_COLUMNS: Final = (
    "what happens",
    "outage",
    "fenced",
    "sent",
    "accepted",
    "at the backend",
    "lost",
    "twice",
    "tried again",
)
_HEAD = """\
# Failing over, measured

Written by `sh tests/in_namespace.sh .venv/bin/python -m tests.ha --write`; `make test-ha` does the same and only prints
it. `make test` plays a crash and a planned move. A run ends at the first message that is lost.

* {date}, mailguard {version}, {versions}
* {machine}, load average {load:.0f}; three nodes, each in namespaces of its own, mailguard with two workers
* [corosync.conf](../../deploy/pacemaker/corosync.conf), [service.crm](../../deploy/pacemaker/service.crm) and the
  [agent](../../deploy/pacemaker/mailguard) as shipped, fencing by an agent that kills a node's namespaces at once

Five messages a second come from outside, each open for 0.3 s in the middle of its content; whatever is not answered
250 is kept and sent again after three seconds. A probe connects to the virtual address every 0.2 s: *outage* is for how
many seconds no connection was greeted, all of them together. *Lost*: answered 250 and not in Exim's Maildirs; *twice*:
there more than once, which a sender that had no answer brings about by sending again (RFC 1047).

"""
_FOOT = """
What makes up the seconds of a failover: 3 s of silence until the token counts as lost and 3.6 s until the others agree
on it (`token` in corosync.conf), fencing (here at once, of a real management board some seconds), the address (0.1 s),
then mailguard's start, which is two seconds of an idle core and as many more as other work takes of it. A process that
died is noticed at the next monitor operation, up to 10 s later. A node without the mail network drains sessions that
have lost their clients, for all of `drain`. Without fencing a node that was cut off may still have the address when it
comes back: Pacemaker then stops both and starts one. Two or three seconds where nothing failed over are the machine's
own: a probe that is not connected within 0.5 s counts.
"""


def page(accounts: Sequence[Account], versions: Mapping[str, str], day: date, load: float) -> str:
    """The page; ``load``: the machine's load average of 15 minutes at the end."""
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    head = _HEAD.format(date=day, version=mailguard.__version__, versions=named, machine=machine(), load=load)
    rows = [_COLUMNS, tuple("---" for _ in _COLUMNS), *_rows(accounts)]
    return head + "".join(f"| {' | '.join(row)} |\n" for row in rows) + _FOOT


def table(accounts: Sequence[Account]) -> Table:
    """The same for a terminal."""
    made = Table(*_COLUMNS)
    for row in _rows(accounts):
        made.add_row(*row)
    return made


def _rows(accounts: Sequence[Account]) -> Iterator[tuple[str, ...]]:
    for each in accounts:
        outage = f"{each.outage:.1f} s" if each.outage else "none"
        counts = (each.sent, each.accepted, each.arrived, each.lost, each.duplicated, each.again)
        yield (each.name, outage, ", ".join(each.fenced) or "-", *(f"{count:,}" for count in counts))
