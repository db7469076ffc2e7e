"""Where mailguard's own time goes: the functions that were running when py-spy looked, in two loads.

    python -m tests.bench.profile            # a minute; prints a section of docs/performance.md
    python -m tests.bench.profile --write    # and puts it there

It wants py-spy (`pip install py-spy`; it is no dependency) in PATH, or named by the variable ``PY_SPY``, and root. One
worker is looked at; what a function has called in C (the event loop's system calls, a digest) is told as its own.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from mailguard.lab import Lab
from mailguard.lab.process import LabError
from tests.bench.loads import LOADS, Load
from tests.bench.report import machine
from tests.bench.rounds import RunFailed, work
from tests.bench.sections import PAGE, with_section
from tests.bench.subjects import ONE_POOLED
from tests.bench.world import Bench

SECONDS = 12
SAMPLES_A_SECOND = 200
TOP = 10
WAITING = ("Condition.wait", "EpollSelector.select")
"""Where threads stand that wait; py-spy takes some of them for busy."""
HEADING = "## Where the time goes"
_SECTION = """\
{heading}

Written by `python -m tests.bench.profile --write`, {date}; {machine}.
The ten functions with most time of their own, in hundredths of the busy time of all mailguard's processes, one worker
among them; *with callees* is the time that a function or what it called was at work. What runs in C counts for the
Python function that called it, and for the loop (`Runner.run`) where none did. Below each table, own time by package.
"""


@dataclass(frozen=True)
class Share:
    """Of all samples, in %: a function's own, and with what it called."""

    function: str
    own: float
    total: float


@dataclass(frozen=True)
class Profile:
    """The functions, and the own time of packages in %, both with the most first."""

    functions: list[Share]
    packages: list[tuple[str, float]]


def profile(lines: Iterable[str]) -> Profile:
    """What py-spy's raw lines say (``outer (file:line);inner (file:line) COUNT``), threads that wait left out."""
    own: Counter[str] = Counter()
    total: Counter[str] = Counter()
    packages: Counter[str] = Counter()
    for line in lines:
        stack, _, samples = line.rpartition(" ")
        frames = [frame for frame in stack.split(";") if not frame.startswith(("process ", "thread "))]
        if frames[-1].startswith(WAITING):
            continue
        own[frames[-1]] += int(samples)
        packages[_package(frames[-1])] += int(samples)
        total.update(dict.fromkeys(frames, int(samples)))
    all_ = sum(own.values())
    functions = [Share(name, 100 * mine / all_, 100 * total[name] / all_) for name, mine in own.most_common()]
    return Profile(functions, [(name, 100 * mine / all_) for name, mine in packages.most_common()])


def _package(frame: str) -> str:
    """The package of a frame: of mailguard's the second level too."""
    parts = frame.rpartition("(")[2].partition(":")[0].removesuffix(".py").split("/")
    return "/".join(parts[: 2 if parts[0] == "mailguard" else 1])


def profiled(bench: Bench, load: Load, folder: Path) -> Profile:
    """Have one worker do ``load`` again and again for :data:`SECONDS`.

    Raises:
        RunFailed: it did not.
        LabError: py-spy is not there, or cannot look.
    """
    mailguard, turns = bench.mailguard(ONE_POOLED), count()
    work(bench.sink, mailguard, load.scaled(0.05), load.addresses(next(turns)))
    raw = folder / "profile.raw"
    program = _py_spy()
    options = ["--subprocesses", "--function", "--format", "raw", "--rate", str(SAMPLES_A_SECOND)]
    target = ["--duration", str(SECONDS), "--output", str(raw), "--pid", str(mailguard.process.pid)]
    with subprocess.Popen(
        [program, "record", *options, *target], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as spy:
        while spy.poll() is None:
            work(bench.sink, mailguard, load.scaled(0.2), load.addresses(next(turns)))
        assert spy.stderr is not None
        if spy.returncode:
            raise LabError(f"py-spy: {spy.stderr.read().strip()}")
    return profile(raw.read_text().splitlines())


def _py_spy() -> str:
    program = shutil.which(os.environ.get("PY_SPY", "py-spy"))
    if program is None:
        raise LabError("py-spy is not found: `pip install py-spy`, and name it by the variable PY_SPY, or in PATH")
    return program


def table(load: Load, found: Profile) -> str:
    """As Markdown."""
    rows = (f"| {_code(one.function)} | {one.own:.1f} | {one.total:.1f} |" for one in found.functions[:TOP])
    lines = [f"### {load.name}", "", "| function | own | with callees |", "| --- | ---: | ---: |", *rows]
    packages = ", ".join(f"{name} {share:.0f}%" for name, share in found.packages[:TOP])
    return "\n".join(lines) + f"\n\nBy package: {packages}.\n"


def _code(function: str) -> str:
    name, _, file = function.removesuffix(")").partition(" (")
    return f"`{name}` {file}" if file else f"`{name}`"


def main() -> None:
    """Measure, print, and write where asked to."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.profile")
    parser.add_argument("--write", action="store_true", help="put it into docs/performance.md")
    options = parser.parse_args()
    seen = next(load for load in LOADS if load.refused and load.clients)
    twenty = next(load for load in LOADS if load.messages > 1)
    try:
        with Lab() as lab:
            bench = Bench(lab)
            tables = [table(load, profiled(bench, load, lab.scratch)) for load in (seen, twenty)]
    except (RunFailed, LabError) as error:
        sys.exit(f"bench: {error}")
    today = datetime.now(UTC).date()
    text = "\n".join([_SECTION.format(heading=HEADING, date=today, machine=machine()), *tables])
    sys.stdout.write(text)
    if options.write:
        PAGE.write_text(with_section(PAGE.read_text(), text))


if __name__ == "__main__":
    main()
