"""A machine under QEMU, with the devices that ``deploy/guest/domain.xml`` has. ``kill`` is what a power cut is.

Emulated unless it is told to use KVM: slower by a factor of ten, and anywhere the same.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mailguard.lab.process import LabError, Process
from tests.guest import agent
from tests.guest.layout import ANSWERS_WITHIN
from tests.guest.network import cards

_POLL = 0.3
_CPU = {"tcg": "Westmere,vendor=AuthenticAMD", "kvm": "host"}
"""No AVX, which is emulated slowly. Of AMD, since on Intel's the kernel keeps its own page tables from programs'
(Meltdown): each system call would empty what the emulator has learnt of them; a boot takes half as long again."""


class Machine:
    """One machine.

    Args:
        folder: for its console and sockets.
        name: short, since its network devices are called so.
        drives: its disks, as QEMU's ``-drive`` has them; may be changed while it is off (``drives``).
        wanted: its cards, MAC addresses by bridge.
        accelerator: ``tcg`` or ``kvm``.
        memory: in MiB.
        processors: how many.
        boot: QEMU's arguments for a kernel of its own; else the first disk boots.

    Attributes:
        console: the file that its serial console writes to, from its first boot on.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        drives: Sequence[str],
        wanted: Mapping[str, str],
        *,
        accelerator: str = "tcg",
        memory: int = 1536,
        processors: int = 1,
        boot: Sequence[str] = (),
    ) -> None:
        self.name = name
        self.drives = list(drives)
        self.console = folder / f"{name}.console"
        self._folder, self._wanted = folder, wanted
        self._accelerator, self._memory, self._processors, self._boot = accelerator, memory, processors, boot
        self._process: Process | None = None

    def start(self, awaited: str = "") -> None:
        """Power on. What it did before stays on its console.

        Args:
            awaited: where another machine's state is to come in by :meth:`migrate`, which then goes on here.
        """
        command = [*self._command(), *(("-incoming", awaited) if awaited else ())]
        self._process = Process(command, self._folder / f"{self.name}.log")

    def _command(self) -> list[str]:
        base = ["qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none"]
        engine = ["-machine", f"q35,accel={self._accelerator}", "-cpu", _CPU[self._accelerator]]
        engine += ["-m", str(self._memory), "-smp", str(self._processors)]
        lines = ["-chardev", f"file,id=tty,path={self.console},append=on", "-serial", "chardev:tty"]
        spoken = ["-chardev", f"socket,id=qga,path={self._socket('agent')},server=on,wait=off"]
        spoken += ["-device", "virtio-serial-pci", "-device", "virtserialport,chardev=qga,name=org.qemu.guest_agent.0"]
        spoken += ["-qmp", f"unix:{self._socket('qmp')},server=on,wait=off"]
        more = ["-device", "i6300esb", "-action", "watchdog=reset", "-device", "virtio-rng-pci"]
        drives = [word for drive in self.drives for word in ("-drive", drive)]
        return [*base, *engine, *lines, *spoken, *more, *drives, *self._boot, *cards(self.name, self._wanted)]

    def _socket(self, kind: str) -> Path:
        return self._folder / f"{self.name}.{kind}"

    @property
    def running(self) -> bool:
        """Whether it has power."""
        return self._process is not None and self._process.running

    def run(self, *command: str, timeout: float = ANSWERS_WITHIN) -> str:
        """What a command in it wrote, which must succeed.

        Raises:
            LabError: it did not; with what it wrote.
        """
        try:
            said = agent.ask(self._socket("agent"), command, timeout)
        except agent.NoAnswerError as error:
            raise LabError(f"{self.name}: {error}\n{self.console_tail()}") from None
        if said.status:
            raise LabError(f"{self.name}: {' '.join(command)}: status {said.status}\n{said.text}")
        return said.text.strip()

    def shell(self, script: str, timeout: float = ANSWERS_WITHIN) -> str:
        """The same of a shell's words."""
        return self.run("/bin/sh", "-c", script, timeout=timeout)

    def answers(self) -> bool:
        """Whether its agent does."""
        try:
            return agent.ask(self._socket("agent"), ["/bin/true"], 10.0).status == 0
        except agent.NoAnswerError:
            return False

    def hold(self) -> int:
        """File systems flushed and held, as by ``virsh domfsfreeze``; how many. Nothing runs until :meth:`let_go`."""
        held: int = agent.tell(self._socket("agent"), "guest-fsfreeze-freeze")
        return held

    def let_go(self) -> int:
        """As by ``virsh domfsthaw``; how many."""
        freed: int = agent.tell(self._socket("agent"), "guest-fsfreeze-thaw")
        return freed

    def press_power(self) -> None:
        """The power button, as ``virsh shutdown`` presses it."""
        self._order("system_powerdown")

    def enlarge(self, octets: int) -> None:
        """Its first disk is larger from now on, as by ``virsh blockresize``."""
        self._order("block_resize", device="virtio0", size=octets)

    def awaits(self) -> bool:
        """Whether it waits for another one's state to come in."""
        try:
            state: str = self._order("query-status")["status"]
        except OSError:  # it has no monitor yet
            return False
        return state == "inmigrate"

    def migrate(self, where: str, pause: float, timeout: float) -> dict[str, Any]:
        """Send its state there while it runs; what QEMU says of it at the end, times in milliseconds.

        Args:
            where: the address that the other one awaits it at.
            pause: seconds that it may stand still at the end.
            timeout: seconds for all of it.

        Raises:
            LabError: it failed, or was not done in time; then it is called off, and goes on here.
        """
        limits = {"downtime-limit": round(pause * 1000), "max-bandwidth": 2**30}
        self._order("migrate-set-parameters", **limits)
        self._order("migrate", uri=where)
        deadline = time.monotonic() + timeout
        while (state := self._order("query-migrate"))["status"] != "completed":
            if state["status"] == "failed" or time.monotonic() > deadline:
                self._order("migrate_cancel")
                raise LabError(f"{self.name}: {state}")
            time.sleep(_POLL)
        answer: dict[str, Any] = state
        return answer

    def _order(self, what: str, **arguments: str | int) -> Any:
        """One command of QEMU's own, and what it returns."""
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(10.0)
            monitor.connect(str(self._socket("qmp")))
            lines = monitor.makefile("rb")
            for order in ({"execute": "qmp_capabilities"}, {"execute": what, "arguments": arguments}):
                monitor.sendall(json.dumps(order).encode() + b"\n")
                while b'"return"' not in (line := lines.readline()):
                    if not line or b'"error"' in line:
                        raise LabError(f"{self.name}: {what}: {line.decode() or 'QEMU is gone'}")
            lines.close()
        return json.loads(line)["return"]

    def wait_off(self, timeout: float) -> None:
        """Until it has switched itself off.

        Raises:
            LabError: not in time.
        """
        deadline = time.monotonic() + timeout
        while self.running:
            if time.monotonic() > deadline:
                raise LabError(f"{self.name}: not off within {timeout:g} s\n{self.console_tail()}")
            time.sleep(_POLL)

    def kill(self) -> None:
        """Cut the power."""
        if self._process is not None:
            self._process.kill()
            self._process = None

    def console_tail(self) -> str:
        """The end of its console."""
        if not self.console.exists():
            return ""
        return self.console.read_text(errors="replace")[-3000:]
