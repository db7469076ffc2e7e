"""``docs/cluster/guest-run.md``: what a run saw, and how long each step took."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

import mailguard
from tests.bench.report import machine
from tests.guest.scenarios import SCENARIOS, Run
from tests.ha.layout import ROOT

PAGE: Final = ROOT / "docs/cluster/guest-run.md"

_HEAD = """\
# The guest, tried

Written by `sh tests/in_namespace.sh .venv/bin/python -m tests.guest --write`; `make test-guest` plays all scenarios and
only prints it. A run ends at the first thing that is not as it must be.

* Scenarios: {scenarios}
* {date}, mailguard {version}, the image of `make guest`, QEMU without KVM ({accelerator}), one processor each
* {machine}, load average {load:.0f}: what takes minutes here takes seconds by KVM. The order of steps is what lasts

"""
_MIDDLE = """
## The console of the first boot

As the serial console had it, shortened:

```
"""
_FOOT = """
## What was not tried here

* Pacemaker, DRBD and the guest in one piece: each is tried by itself, Pacemaker with mailguard on its nodes
  ([measured](README.md)), its configuration for the guest by crm_simulate. The hosts of this page are kernels with
  DRBD and nothing else; what Pacemaker would order is ordered by the test, and the peer is fenced through the handler
  that DRBD calls.
* QEMU opening /dev/drbd0: it reaches the primary's device by NBD, a machine in an emulated one being too slow.
{left}* KVM, live migration, DRBD 9, real disks, management boards.
"""
_WORTH_SHOWING = re.compile(
    r"GNU GRUB|Welcome to|nftables|cloud-init\.service|systemd-networkd\.service"
    r"|mailguard\.service|clamav-daemon|spamd|chrony|unbound|login:"
)


def page(run: Run, day: date, load: float) -> str:
    """The page; ``load``: the machine's load average of 15 minutes at the end."""
    head = _HEAD.format(
        scenarios=", ".join(run.scenarios),
        date=day,
        version=mailguard.__version__,
        accelerator=run.accelerator,
        machine=machine(),
        load=load,
    )
    missing = [f"`{name}`" for name in SCENARIOS if name not in run.scenarios]
    left = f"* In this run: {', '.join(missing)}\n" if missing else ""
    rows = [f"| {what} | {seconds:.1f} s | {seen} |\n" for what, seconds, seen in run.steps]
    table = "| step | took | seen |\n| --- | ---: | --- |\n" + "".join(rows)
    console = _MIDDLE + "".join(f"{line}\n" for line in excerpt(run.console)) + "```\n" if run.console else ""
    return head + table + console + _FOOT.format(left=left)


def excerpt(console: str) -> list[str]:
    """Lines of its first boot that say something to a reader: no escape sequences, no progress, none twice."""
    console = "".join(re.split(r"(?=GNU GRUB)", console)[:2])
    plain = re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|M)", "", console.replace("\r", "\n"))
    lines = (line.rstrip()[:110] for line in plain.splitlines() if _WORTH_SHOWING.search(line) and "Job " not in line)
    return list(dict.fromkeys(lines))[:40]
