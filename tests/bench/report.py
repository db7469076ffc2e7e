"""The figures told: as tables on a terminal, and as ``docs/performance.md``."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Final

from rich.table import Table

import mailguard
from tests.bench.loads import Load
from tests.bench.micro import ROUNDS as MICRO_ROUNDS
from tests.bench.micro import Micro
from tests.bench.rounds import ROUNDS, Figures

PACKAGES = ("uvloop", "aiosmtpd", "dnspython")


@dataclass(frozen=True)
class Run:
    """Everything of one run; ``loads`` with mailguard's figures, then the peer's where it had the load too.

    ``proxied``: clients came in PROXY headers, as the machine had none of their addresses.
    """

    loads: Sequence[tuple[Load, Sequence[Figures]]]
    micros: Sequence[Micro]
    proxied: bool = False
    rounds: int = ROUNDS


LOAD_COLUMNS = ("work per second of server CPU", "mailguard", "its best", "peer", "its best", "ratio", "memory, peer's")
PEER = "peer: a filter put together from stock aiosmtpd and dnspython (tests/bench/peer.py)"
"""What stands under the table of loads, so that nobody need look up who is compared."""
MICRO_COLUMNS = ("pure code", "one call", "best", "")


def load_rows(run: Run) -> Iterator[tuple[str, ...]]:
    """What stands under :data:`LOAD_COLUMNS`; medians but where it says best."""
    for load, (ours, *others) in run.loads:
        memory = ", ".join(f"{figures.peak / 1e6:.0f} MB" for figures in (ours, *others))
        peer = (_rate(others[0].median), _rate(others[0].best)) if others else ("", "")
        ratio = _ratio(ours, others[0]) if others else ""
        yield f"{load.name} ({load.unit})", _rate(ours.median), _rate(ours.best), *peer, ratio, memory


def micro_rows(micros: Sequence[Micro]) -> Iterator[tuple[str, ...]]:
    """What stands under :data:`MICRO_COLUMNS`."""
    for micro in micros:
        volume = f"{micro.octets / micro.median / 1e6:,.0f} MB/s" if micro.octets else ""
        yield micro.name, _duration(micro.median), _duration(micro.best), volume


def _ratio(ours: Figures, others: Figures) -> str:
    """Round by round, so that what slowed both does not count: the median, the least and the greatest."""
    ratios = [mine / theirs for mine, theirs in zip(ours.rates, others.rates, strict=True)]
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"


def _rate(value: float) -> str:
    return f"{value:,.0f}"


def _duration(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} µs"


def tables(run: Run) -> Iterator[Table]:
    """For a terminal."""
    for columns, rows in ((LOAD_COLUMNS, load_rows(run)), (MICRO_COLUMNS, micro_rows(run.micros))):
        table = Table(caption=PEER if columns is LOAD_COLUMNS else None)
        for number, column in enumerate(columns):
            table.add_column(column, justify="right" if number else "left")
        for row in rows:
            table.add_row(*row)
        yield table


def markdown(run: Run, today: date) -> str:
    """``docs/performance.md``."""
    return _PAGE.format(
        date=today.isoformat(),
        machine=machine(),
        version=mailguard.__version__,
        packages=", ".join(f"{package} {version(package)}" for package in PACKAGES),
        clients="named in PROXY headers, to both servers alike" if run.proxied else "at addresses of 198.18.0.0/15",
        rounds=run.rounds,
        peer=PEER,
        loads=_markdown_table(LOAD_COLUMNS, load_rows(run)),
        pure=pure_section(run.micros, today),
    )


_ABOUT_RULES: Final = """\
shared: the best is nearer to what it takes alone. Rules are decided for one recipient of a client that one of three
lists knows. What the first rule takes is nearly all for what is done once a decision, the sum over the lists and the
record of the facts; the rules of a thousand that come after it share that. One in four asks `client.ip in [...]`."""


def pure_section(micros: Sequence[Micro], today: date) -> str:
    """The section of ``docs/performance.md`` about pure code."""
    table = _markdown_table(MICRO_COLUMNS, micro_rows(micros))
    told = f"CPU time of one call, median and best of {MICRO_ROUNDS} rounds, on {today.isoformat()}"
    return f"## Pure code\n\n{table}\n\n{told}, of a machine that other work\n{_ABOUT_RULES}\n"


def machine() -> str:
    """What this machine is, as far as figures depend on it."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        platform.machine(),
    )
    release = platform.release().partition("-")[0]
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{len(os.sched_getaffinity(0))} cores ({model}), {memory:.0f} GiB, Linux {release}, {python}"


def _markdown_table(columns: Sequence[str], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


_PAGE = """\
# How fast mailguard is

Written by `sh tests/in_namespace.sh .venv/bin/python -m tests.bench --write`; `make bench` measures the same and only
prints it. Figures are as measured in one run: another run differs by a tenth or two, another machine by more.

* {date}, mailguard {version}, {packages}
* {machine}

## Servers

{loads}

{peer}; more below.

*How.* Work done per second of CPU time (user and system, all its processes) that the **server** spent, not per second
of time: load generator, backend, resolver and whatever else runs share the cores. Median and best of {rounds} rounds;
the two servers take turns in every load. `ratio` is mailguard's figure by the peer's in the same round: median, least
and greatest. Both come from the same seconds of the same machine, which other work shares: **the ratio is what lasts**,
the absolute figures do not. `memory` is the peak resident size of the server's processes in those rounds, mailguard's
and then the peer's. A round counts only if each client got the replies that it should, and the backend each message.
Where a ratio is below 1, mailguard costs more than the peer.

*mailguard* is `mailguard serve`, one process, as shipped: uvloop, the default policy's three lists and envelope rules,
its Received and other header fields, metrics, a JSON log line for each message and each connection, a PROXY header to
the backend. Besides the lists it asks for the client's reverse name, which Received tells and the peer does without. In
the last line it asks about EHLO name and sender domain as well. It has no scanner, as the peer has none.

*The peer* is [tests/bench/peer.py](../tests/bench/peer.py): stock aiosmtpd on uvloop, dnspython with its cache, a relay
of asyncio streams, a Received line, a log line a message. That is what one gets by putting stock parts together the
obvious way, and it does less: no policy, no bounds, no header surgery, no protection from SMTP smuggling.

Clients come {clients}, say one command at a time, and do not pipeline.
The lists are a local rbldnsd behind a local unbound. The backend is a process that takes every message and keeps none.

{pure}
## What is not measured

* Other mail servers (Postfix, Haraka, Exim): the peer says what stock Python does, not what a mail server in C does.
* Scanning: clamd and SpamAssassin spend CPU time of their own, and mailguard some more to hand them each message.
* Latency, and wall time. Thousands of connections at once, slow clients, many idle ones.
* TLS. IPv6 clients. Several recipients. Messages that are not plain ASCII text.
* A real backend's own time, and a resolver's to lists on the Internet.
* Anything over hours: growth of memory, full caches.
"""
