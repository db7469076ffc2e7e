"""``docs/cluster/guest-run.md``: what runs saw, and how long each step took; a section for each scenario.

A run writes the sections of what it played, and leaves the others as they are.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Final

import mailguard
from tests.bench.report import machine
from tests.guest.run import Run
from tests.guest.scenarios import SCENARIOS
from tests.ha.layout import ROOT

PAGE: Final = ROOT / "docs/cluster/guest-run.md"

_HEAD = """\
# The guest, tried

Written by `sh tests/in_namespace.sh .venv/bin/python -m tests.guest --write`; scenarios that are named behind it are
written anew, and the others stay. `make test-guest` plays all, and only prints. A run ends at the first thing that is
not as it must be. What takes minutes here takes seconds by KVM; the order of steps is what lasts.

"""
_SECTION = """\
## {name}

{about}

{date}, mailguard {version}, QEMU without KVM ({accelerator}), one processor each; {machine},
load average {load:.0f}

"""
_CONSOLE = """
### The console of the first boot

As the serial console had it, shortened:

```
"""
_LEFT = "What was not tried here"
_FOOT = f"""\
## {_LEFT}

* Pacemaker, DRBD and the guest in one piece: each is tried by itself, Pacemaker with mailguard on its nodes
  ([measured](README.md)), its configuration for the guest by crm_simulate. The hosts of this page are kernels with
  DRBD and nothing else; what Pacemaker would order is ordered by the test, and the peer is fenced through the handler
  that DRBD calls.
* QEMU opening /dev/drbd0: it reaches the primary's device by NBD, a machine in an emulated one being too slow.
* A live move of the guest itself, and by libvirt: what moved is a small machine, by QEMU's own order.
{{left}}* KVM, DRBD 9, real disks, management boards.
"""
_WORTH_SHOWING = re.compile(
    r"GNU GRUB|Welcome to|nftables|cloud-init\.service|systemd-networkd\.service"
    r"|mailguard\.service|clamav-daemon|spamd|chrony|unbound|login:"
)


def page(run: Run, day: date, load: float, before: str) -> str:
    """The page.

    Args:
        run: whose scenarios are written anew.
        day: of the run.
        load: the machine's load average of 15 minutes at the end.
        before: the page as it is.
    """
    sections = _sections(before) | {name: _section(run, name, day, load) for name in run.steps}
    missing = [f"`{name}`" for name in SCENARIOS if name not in sections]
    left = f"* On this page: {', '.join(missing)}\n" if missing else ""
    told = "\n".join(sections[name] for name in SCENARIOS if name in sections)
    return f"{_HEAD}{told}\n{_FOOT.format(left=left)}"


def _sections(before: str) -> dict[str, str]:
    """What the page has of each scenario, by its name."""
    found = re.findall(r"^## (.+)\n((?:(?!## ).*\n)*)", before, re.MULTILINE)
    return {name: f"## {name}\n{text}".rstrip("\n") + "\n" for name, text in found if name in SCENARIOS}


def _section(run: Run, name: str, day: date, load: float) -> str:
    head = _SECTION.format(
        name=name,
        about=(SCENARIOS[name].__doc__ or "").splitlines()[0],
        date=day,
        version=mailguard.__version__,
        accelerator=run.accelerator,
        machine=machine(),
        load=load,
    )
    rows = [f"| {what} | {seconds:.1f} s | {seen} |\n" for what, seconds, seen in run.steps[name]]
    table = "| step | took | seen |\n| --- | ---: | --- |\n" + "".join(rows)
    shown = _CONSOLE + "".join(f"{line}\n" for line in excerpt(run.console)) + "```\n" if name == "alone" else ""
    return head + table + shown


def excerpt(console: str) -> list[str]:
    """Lines of its first boot that say something to a reader: no escape sequences, no progress, none twice."""
    console = "".join(re.split(r"(?=GNU GRUB)", console)[:2])
    plain = re.sub(r"\x1b(\[[0-9;?]*[A-Za-z]|M)", "", console.replace("\r", "\n"))
    lines = (line.rstrip()[:110] for line in plain.splitlines() if _WORTH_SHOWING.search(line) and "Job " not in line)
    return list(dict.fromkeys(lines))[:40]
