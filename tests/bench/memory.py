"""How much memory mailguard takes for long messages: one, a hundred and a thousand at once, by DATA and by BDAT.

    sh tests/in_namespace.sh .venv/bin/python -m tests.bench.memory            # about six minutes
    sh tests/in_namespace.sh .venv/bin/python -m tests.bench.memory --write    # and into docs/performance.md
    sh tests/in_namespace.sh .venv/bin/python -m tests.bench.memory --few      # without the hundreds

The figure is the sum of the high-water marks of resident memory (VmHWM) of mailguard's processes while a load was
done, set back before each (:func:`tests.bench.rounds.forget_peak`): of the same processes, one worker among them, the
smallest load first. Two mailguards, before a backend that takes messages by DATA and one that takes them by BDAT.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import starmap

from mailguard.config import Limits
from mailguard.lab import Lab
from mailguard.lab.process import LabError
from mailguard.lab.rbldnsd import Rbldnsd
from tests.bench.loads import CLEAN, Load
from tests.bench.report import machine
from tests.bench.rounds import RunFailed, forget_peak, peak_memory, work
from tests.bench.sections import PAGE, with_section
from tests.bench.subjects import LISTS, Mailguard, SinkProcess, can_come_from

LARGE = 45_000_000
ALL = Limits().max_connections
LOADS = (
    Load("4 KB by DATA", connections=40, at_once=1),
    Load("45 MB by DATA", connections=2, at_once=1, size=LARGE),
    Load("45 MB by BDAT, chunks of 64 KiB", connections=2, at_once=1, size=LARGE, chunk=65536),
    Load("45 MB by BDAT, one chunk", connections=2, at_once=1, size=LARGE, chunk=LARGE),
    Load("100 at once, 4 KB by DATA", connections=400, at_once=100),
    Load("100 at once, 45 MB by DATA", connections=100, at_once=100, size=LARGE),
    Load("100 at once, 45 MB by BDAT, one chunk", connections=100, at_once=100, size=LARGE, chunk=LARGE),
    Load("1,000 at once, 5 MB by DATA", connections=ALL, at_once=ALL, size=5_000_000),
)


@dataclass(frozen=True)
class Peak:
    """Octets that mailguard was resident in at the most, by how its backend takes messages."""

    load: Load
    by_data: int
    by_bdat: int


def peaks(lab: Lab, loads: Sequence[Load]) -> list[Peak]:
    """Do all ``loads`` with both.

    Raises:
        RunFailed: a message did not arrive.
    """
    lab.server("rbldnsd", Rbldnsd, lambda folder: Rbldnsd(folder, LISTS))
    by_data, by_bdat = (_peaks(lab, loads, chunking=chunking) for chunking in (False, True))
    return list(starmap(Peak, zip(loads, by_data, by_bdat, strict=True)))


def _peaks(lab: Lab, loads: Sequence[Load], *, chunking: bool) -> list[int]:
    dns, proxied = lab.dns().address, not can_come_from(str(CLEAN[1]))
    way = "bdat" if chunking else "data"
    sink = lab.server(f"sink-{way}", SinkProcess, lambda folder: SinkProcess(folder, chunking=chunking))
    mailguard = lab.server(
        f"mailguard-{way}",
        Mailguard,
        lambda folder: Mailguard(folder, dns, sink.address, proxied=proxied, limits={"reserved_share": 0}),
    )
    found = []
    for load in loads:
        work(sink, mailguard, load.scaled(0.1), load.addresses(0))
        forget_peak(mailguard.process.pid)
        work(sink, mailguard, load, load.addresses(0))
        found.append(peak_memory(mailguard.process.pid))
    return found


HEADING = "## Memory"
_SECTION = """\
{heading}

Written by `sh tests/in_namespace.sh .venv/bin/python -m tests.bench.memory --write`, {date}; {machine}.

| the most resident memory | backend by DATA | backend by BDAT |
| --- | ---: | ---: |
{rows}

The high-water marks (VmHWM) of all processes while a load was done, added up, so that what they share counts in each;
one worker, from line to line the same; 1 MB = 10^6 octets. Every message goes the whole way: spooled, stripped, judged,
handed on; no scanner runs. A message of more than `max_message_memory`, {memory} KiB, leaves memory for a file without
a name in `spool_dir`; what its connections take besides are buffers. So what many messages at once can take is
`max_connections` times that bound, and long ones take less of it.
"""


def section(found: Sequence[Peak]) -> str:
    """The section of docs/performance.md."""
    rows = [f"| {one.load.name} | {one.by_data / 1e6:.0f} MB | {one.by_bdat / 1e6:.0f} MB |" for one in found]
    memory = Limits().max_message_memory // 1024
    today = datetime.now(UTC).date()
    return _SECTION.format(heading=HEADING, date=today, machine=machine(), rows="\n".join(rows), memory=memory)


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.memory")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/performance.md")
    parser.add_argument("--few", action="store_true", help="one message at a time only")
    options = parser.parse_args()
    try:
        with Lab() as lab:
            text = section(peaks(lab, [load for load in LOADS if load.at_once == 1 or not options.few]))
    except (RunFailed, LabError) as error:
        sys.exit(f"bench: {error}")
    sys.stdout.write(text)
    if options.write:
        PAGE.write_text(with_section(PAGE.read_text(), text))


if __name__ == "__main__":
    main()
