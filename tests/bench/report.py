"""The figures told, as ``docs/performance.md`` has them."""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Final

import orjson

import mailguard
from mailguard.lab.postfix import LIBRARIES, UNPACKED
from tests.bench.half_load import Added
from tests.bench.life import SHARE, Life
from tests.bench.loads import Load
from tests.bench.micro import ROUNDS as MICRO_ROUNDS
from tests.bench.micro import Micro
from tests.bench.real_peers import HARAKA, Haraka, Postfix
from tests.bench.rounds import ROUNDS, Figures, Row
from tests.bench.scanning import Scanning
from tests.bench.scanning import section as scanners
from tests.bench.subjects import POOLED

PACKAGES = ("uvloop", "aiosmtpd", "dnspython")
_VERSION_TIMEOUT = 10.0


@dataclass(frozen=True)
class Run:
    """Everything of one run.

    Attributes:
        rows: every load with its figures.
        micros: pure code.
        added: latency at half load, by server; and of which load.
        life: what mailguard takes beside mail; None: not measured.
        scanning: with scanners; None: not measured.
        left_out: peers that could not be measured, and why.
        proxied: clients came in PROXY headers, as the machine had none of their addresses.
        rounds: so many.
        busy: the machine's load average of the last quarter of an hour, at the end.
    """

    rows: Sequence[tuple[Load, Row]]
    micros: Sequence[Micro]
    added: Mapping[str, Added] = field(default_factory=dict)
    life: Life | None = None
    scanning: Scanning | None = None
    left_out: Mapping[str, str] = field(default_factory=dict)
    proxied: bool = False
    rounds: int = ROUNDS
    busy: float = 0.0


OURS: Final = POOLED.name
"""Whose ratios to the others are told."""
LOAD_COLUMNS = (
    "server",
    "a second of its CPU",
    "best",
    "a second",
    "p50",
    "p99",
    "memory",
    f"{OURS} by it",
)
ADDED_COLUMNS = ("server", "messages a second", "adds, p50", "adds, p99", "the backend's own p99")
MICRO_COLUMNS = ("pure code", "one call", "best", "")


def load_rows(row: Row) -> Iterator[tuple[str, ...]]:
    """What stands under :data:`LOAD_COLUMNS` for one load; medians but where it says best."""
    for name, figures in row.items():
        if figures.void:
            yield name, "void", *[""] * (len(LOAD_COLUMNS) - 2)
            continue
        times = (_milliseconds(figures.latency(percent) * 1e3) for percent in (50, 99))
        memory = f"{figures.peak / 1e6:.0f} MB"
        rates = map(_rate, (figures.median, figures.best, figures.wall))
        yield name, *rates, *times, memory, _ratio_to(row, name)


def _ratio_to(row: Row, name: str) -> str:
    ours = row.get(OURS)
    return "" if ours is None or ours.void or name == OURS else _ratio(ours, row[name])


def added_rows(added: Mapping[str, Added]) -> Iterator[tuple[str, ...]]:
    """What stands under :data:`ADDED_COLUMNS`."""
    for name, one in added.items():
        if one.void:
            yield name, "void", "", "", ""
        else:
            yield (
                name,
                _rate(one.rate),
                _milliseconds(one.p50 * 1e3),
                _spread(one.p99s),
                _milliseconds(one.sink_p99 * 1e3),
            )


def micro_rows(micros: Sequence[Micro]) -> Iterator[tuple[str, ...]]:
    """What stands under :data:`MICRO_COLUMNS`."""
    for micro in micros:
        volume = f"{micro.octets / micro.median / 1e6:,.0f} MB/s" if micro.octets else ""
        yield micro.name, _duration(micro.median), _duration(micro.best), volume


def _ratio(ours: Figures, others: Figures) -> str:
    """Round by round, so that what slowed both does not count: the median, the least and the greatest."""
    ratios = [mine / theirs for mine, theirs in zip(ours.rates, others.rates, strict=True)]
    return f"{statistics.median(ratios):.2f}x ({min(ratios):.2f}-{max(ratios):.2f})"


def _rate(value: float) -> str:
    return f"{value:,.0f}"


def _milliseconds(value: float) -> str:
    return f"{value:.0f} ms" if abs(value) >= 10 else f"{value:.1f} ms"


def _spread(seconds: Sequence[float]) -> str:
    """The median, the least and the greatest, of sorted values."""
    least, greatest = (_milliseconds(value * 1e3).removesuffix(" ms") for value in (seconds[0], seconds[-1]))
    return f"{_milliseconds(statistics.median(seconds) * 1e3)} ({least}-{greatest})"


def _duration(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds >= 1e-3 else f"{seconds * 1e6:.1f} µs"


def markdown(run: Run, today: date) -> str:
    """``docs/performance.md``."""
    return _PAGE.format(
        date=today.isoformat(),
        machine=machine(),
        busy=run.busy,
        versions=", ".join(f"{name} {number}" for name, number in versions().items()),
        clients="named in PROXY headers, to all servers alike" if run.proxied else "at addresses of 198.18.0.0/15",
        rounds=run.rounds,
        left_out="".join(f"\n{name} is not here: {why}." for name, why in run.left_out.items()),
        loads="\n".join(_load_section(load, row) for load, row in run.rows),
        beside="\n".join(_beside(run)),
    ) + (pure_section(run.micros, today) if run.micros else "")


def _load_section(load: Load, row: Row) -> str:
    void = "".join(
        f"\n{name} is void: {figures.void.splitlines()[0]}\n" for name, figures in row.items() if figures.void
    )
    return f"### {load.name}: {load.unit}\n\n{_markdown_table(LOAD_COLUMNS, load_rows(row))}\n{void}"


def _beside(run: Run) -> Iterator[str]:
    """The sections about what is not a rate."""
    if run.added:
        yield _ADDED.format(rounds=run.rounds, table=_markdown_table(ADDED_COLUMNS, added_rows(run.added)))
    if run.scanning:
        yield scanners(run.scanning)
    if run.life:
        yield _life(run.life)


def _life(life: Life) -> str:
    wall, cpu = (statistics.median(values) for values in zip(*life.second_worker, strict=True))
    return _LIFE.format(
        start=statistics.median(life.start),
        best=min(life.start),
        cpu=statistics.median(life.start_cpu),
        idle=life.idle_cpu * 1e3,
        memory=life.memory / 1e6,
        connection=life.connection / 1024,
        wall=wall,
        per_cpu=cpu,
        apart=_apart(life.apart),
        reload=_taken(life.reload),
        renewal=_taken(life.renewal),
    )


def _taken(times: Sequence[tuple[float, float]]) -> str:
    wall, cpu = (statistics.median(values) for values in zip(*times, strict=True))
    return f"{wall:.2f} s, {cpu:.2f} s of CPU time"


def _apart(ratios: list[float]) -> str:
    if not ratios:
        return "With a share of a core for each worker it was not measured: no control groups here."
    return (
        f"With {SHARE:.0%} of a core for each worker, so that the rest is short of nothing: "
        f"{statistics.median(ratios):.2f} times ({min(ratios):.2f}-{max(ratios):.2f})."
    )


def versions() -> dict[str, str]:
    """Of mailguard, of what it stands on, and of the peers that are here."""
    found = {"mailguard": mailguard.__version__} | {package: version(package) for package in PACKAGES}
    if not Postfix.missing():
        postconf = [str(UNPACKED / "usr/sbin/postconf"), "-c", str(UNPACKED / "etc/postfix"), "-dh", "mail_version"]
        found["Postfix"] = _said(postconf, LIBRARIES)
    if not Haraka.missing():
        package = orjson.loads((HARAKA / "node_modules/Haraka/package.json").read_bytes())
        found["Haraka"] = f"{package['version']} on node {_said(['node', '--version'])}"
    if shutil.which("exim4", path="/usr/sbin:/usr/bin"):
        found["Exim"] = _said(["/usr/sbin/exim4", "-bV"]).split()[2]
    return found


def _said(command: Sequence[str], environment: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=_VERSION_TIMEOUT,
        check=True,
        env={**os.environ, **(environment or {})},
    )
    return done.stdout.strip()


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


_PAGE: Final = """\
# How fast mailguard is

Written by `make bench ARGS=--write`; `make bench` measures the same and only prints it. Figures are as measured in one
run: another run differs by a tenth or two, another machine by more.

* {date}, {versions}
* {machine}
* load average at the end, of a quarter of an hour: {busy:.0f}. Some four are the measurement's own; what is above them
  is other work, which makes every figure of time worse, and shares caches with every server.

## Servers

{loads}
*How.* Work done per second of CPU time (user and system, all its processes) that the **server** spent, not per second
of time: load generator, backend, resolver and whatever else runs share the cores. Median and best of {rounds} rounds;
the servers take turns in every load, and a round is as much work as costs the server some 0.8 s of CPU. The last column
is mailguard's figure by that server's, round by round: median, least and greatest; **below 1 mailguard costs more**.
All come from the same minutes of the same machine, which other work shares: the ratio is what lasts, the absolute
figures do not, and least of all those of time: work a second, and latencies. Those are from connecting to the refusal,
or from MAIL to the last reply, at full speed, 40 refusals or 20 messages (6 large ones) at once. `memory` is the most
that the server's processes had together, what they share counted once (PSS, ten times a second). A round counts only if
each client got the replies that it should, a refusal being 5xx and nothing else, and the backend each message; else the
server's row is void.{left_out}

*mailguard* is `mailguard serve` as shipped, two workers: uvloop, the default policy's three lists and envelope rules,
its Received and other header fields, metrics, a JSON log line for each message and each connection, journal; all its
processes count, supervisor and admin too. Besides the lists it asks for the client's reverse name, which Received tells
and the peers do without. Its backend learns no client (`client_identity: none`), so its connections are used again;
*mailguard, PROXY* names each client to the backend by a connection of its own. *mailguard, all questions* asks about
EHLO name and sender domain as well. It has no scanner here, as the peers have none.

*The peers* ask the same three lists, two black and one white, before RCPT is answered, and hand messages to the same
backend while its client waits: Postfix' smtpd with `smtpd_proxy_filter`, Haraka with dns-list and smtp_proxy in two
processes, Exim with dnslists and `cutthrough_delivery`. Their configurations are in
[tests/bench/peers](../tests/bench/peers). *stock Python* is [tests/bench/peer.py](../tests/bench/peer.py), one process:
stock aiosmtpd on uvloop, dnspython with its cache, a relay of asyncio streams: what one gets by putting stock parts
together the obvious way. All of them do less: no rules beyond the lists, no header surgery, no journal. *bare Python*,
[tests/bench/bare.py](../tests/bench/bare.py), does next to nothing, not even log: it is no filter, and shows what
Python, uvloop and the kernel leave to be had.

Clients come {clients}, say one command at a time, and do not pipeline.
The lists are a local rbldnsd behind a local unbound. The backend is a process that takes every message and keeps none.

{beside}
## What is not measured

* Thousands of busy connections at once, slow clients.
* TLS. IPv6 clients. Messages that are not plain ASCII text.
* A real backend's own time, and a resolver's to lists on the Internet.
* Anything over hours: growth of memory, full caches.

"""

_ADDED: Final = """\
## Latency at half load

{table}

4 KB, a connection each, begun evenly at half the rate that the server reached above; {rounds} rounds, the servers in
turn. What it adds is the latency through it less that of the backend alone at the same rate: medians of the rounds, of
the p99 the least and the greatest round, too. That rate keeps the two cores busy more than half the time, for clients
and backend run on them as well: the slowest in a hundred are those that met others' work.
"""

_LIFE: Final = """\
## Beside mail

* From `mailguard serve` to the first greeting, two workers: {start:.2f} s, at best {best:.2f} s, in which all its
  processes use {cpu:.2f} s of CPU time.
* A reload of settings and policy, until it is in force: {reload}; one that makes new workers: {renewal}.
* Idle, without a client: {idle:.1f} ms of CPU time a second, {memory:.0f} MB of all processes together (PSS).
* An idle connection: {connection:.1f} KiB.
* Two workers by one, relaying 20 messages a connection: {wall:.2f} times the messages a second, {per_cpu:.2f} times the
  messages a second of CPU. Clients, backend and two workers share the two cores here, so the first cannot come to two.
  {apart}
"""
