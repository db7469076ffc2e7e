"""Two hosts with the guest's disk on DRBD, by ``deploy/pacemaker/guest.res`` as shipped, and who fences them.

A host is a kernel of Debian and some twenty files in memory, so that it boots in seconds where it is emulated. DRBD
lies on a volume of LVM, as the page has it. A host gives the device out by NBD, since a virtual machine in an emulated
one would take half an hour to boot: QEMU, which on a real host opens /dev/drbd0, reaches it that way. What DRBD does
with each octet and with each flush is the same.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import threading
from pathlib import Path
from typing import Final

from mailguard.lab.process import LabError, wait_until
from tests.guest.layout import ANSWERS_WITHIN, MANAGEMENT, MONITOR
from tests.guest.machine import Machine
from tests.ha.layout import DEPLOYED, ROOT

ADDRESSES: Final = {"mx1": "198.51.100.11", "mx2": "198.51.100.12"}
"""As ``guest.res`` has them."""
_CARDS = {"mx1": "52:54:00:00:01:11", "mx2": "52:54:00:00:01:12"}
_NEEDED = "virtio_pci virtio_blk virtio_net virtio_console crc32c_generic sha256_generic hmac libcrc32c drbd"
_NEEDED_BY_LVM = "dm-mod dm-bufio dm-snapshot"
_PROGRAMS = {
    "/bin/busybox": "busybox-static",
    "/usr/sbin/drbdadm": "drbd-utils",
    "/usr/sbin/drbdsetup": "drbd-utils",
    "/usr/sbin/drbdmeta": "drbd-utils",
    "/lib/drbd/drbdadm-84": "drbd-utils",
    "/lib/drbd/drbdsetup-84": "drbd-utils",
    "/bin/nbd-server": "nbd-server",
    "/sbin/dmsetup": "dmsetup",
}
"""Of this machine, by their packages."""
_UNPACKED = {"qemu-guest-agent": "usr/sbin/qemu-ga", "lvm2": "sbin/lvm"}
_LVM_NAMES = ("pvcreate", "vgcreate", "vgchange", "lvcreate", "lvconvert", "lvextend", "lvs")
"""Further names of the one program that LVM is."""
_NBD_PORT = 10809
_EXTENT = 4 * 2**20
"""Octets: what LVM gives out at once, and more than DRBD's own data at the end of the volume takes."""
_FIRST = 2**20
"""Where the first extent of a disk begins."""
_ROOM = 96 * 2**20
"""Octets of a disk that the volume does not take: for a snapshot, and to grow."""
_LVM = """\
devices { obtain_device_list_from_udev = 0 external_device_info_source = "none" use_devicesfile = 0 }
activation { udev_sync = 0 udev_rules = 0 monitoring = 0 }
global { use_lvmpolld = 0 }
"""
"""There is no udev."""
_EXPORT = f"""\
[generic]
  port = {_NBD_PORT}
  allowlist = true
[guest]
  exportname = /dev/drbd0
  flush = true
  fua = true
"""


def part(name: str) -> Path:
    """A folder with the files of a package that is not installed.

    Raises:
        LabError: it is not there.
    """
    folder = ROOT / "build/guest-parts" / name
    if not folder.is_dir():
        raise LabError(f"{folder} is missing: sh tests/guest/parts.sh")
    return folder


class Hosts:
    """Both, and what they are made of.

    Args:
        folder: for their disks and consoles.
        guest: the guest's disk, which both begin with.
        accelerator: ``tcg`` or ``kvm``.
    """

    def __init__(self, folder: Path, guest: Path, accelerator: str) -> None:
        self._folder = folder
        self._size = guest.stat().st_size
        self.volume_size = -(-self._size // _EXTENT) * _EXTENT + _EXTENT
        kernel = next((part("kernel") / "boot").glob("vmlinuz-*"))
        memory = self._initial_memory(kernel.name.removeprefix("vmlinuz-"))
        self._booted = ["-kernel", str(kernel), "-initrd", str(memory), "-append"]
        self._accelerator = accelerator
        self.machines: dict[str, Machine] = {}
        for name, address in ADDRESSES.items():
            disk = self._disk(name)
            copy = ["dd", f"if={guest}", f"of={disk}", "bs=1M", f"seek={_FIRST // 2**20}", "conv=sparse", "status=none"]
            subprocess.run(copy, check=True, timeout=300)
            os.truncate(disk, _FIRST + self.volume_size + _ROOM)
            spare = folder / f"{name}.spare"
            spare.touch()
            os.truncate(spare, _FIRST + self.volume_size + _ROOM)
            machine = self.small(name, name, address, _CARDS[name])
            machine.drives = [f"file={file},if=virtio,format=raw,cache=writeback" for file in (disk, spare)]
            self.machines[name] = machine
        self.fenced: list[str] = []  # whom DRBD found gone, and the test's cluster confirmed to be off
        self.kept: list[str] = []  # who was well, and was kept from being primary
        self._power = socket.create_server((MONITOR, 7))
        threading.Thread(target=self._fence_for_ever, daemon=True).start()

    def small(self, name: str, node: str, address: str, card: str) -> Machine:
        """A machine without disks, of the kernel and the files that hosts have.

        Args:
            name: of the machine.
            node: what it calls itself.
            address: in the management network.
            card: MAC address.
        """
        words = f"console=ttyS0 quiet panic=1 node={node} address={address}"
        boot = [*self._booted, words]
        cards = {MANAGEMENT: card}
        return Machine(self._folder, name, [], cards, accelerator=self._accelerator, memory=320, boot=boot)

    def _disk(self, name: str) -> Path:
        return self._folder / f"{name}.disk"

    def _initial_memory(self, version: str) -> Path:
        root = self._folder / "node"
        for name in (
            "bin",
            "dev",
            "proc",
            "sys",
            "usr/lib/drbd",
            "etc/drbd.d",
            "usr/sbin",
            "lib/drbd",
            "sbin",
            "etc/lvm",
        ):
            (root / name).mkdir(parents=True)
        programs = {Path(program): program for program in _PROGRAMS}
        programs |= {part(package) / program: f"/{program}" for package, program in _UNPACKED.items()}
        for program, place in programs.items():
            if not program.exists():
                raise LabError(f"{program} is missing: apt-get install {_PROGRAMS[place]}")
            shutil.copy(program, root / place.lstrip("/"))
            self._libraries(program, root)
        here = Path(__file__).parent
        for source, place in ((here / "node-init", "init"), (here / "fence-peer", "usr/lib/drbd/crm-fence-peer.sh")):
            shutil.copy(source, root / place)
            (root / place).chmod(0o755)
        (root / "usr/lib/drbd/crm-unfence-peer.sh").symlink_to("/bin/true")
        for name in _LVM_NAMES:
            (root / "sbin" / name).symlink_to("lvm")
        (root / "etc/lvm/lvm.conf").write_text(_LVM)
        (root / "sbin/drbdadm").symlink_to("/usr/sbin/drbdadm")  # where the kernel looks for it, to run the handlers
        shutil.copy(DEPLOYED / "guest.res", root / "etc/drbd.d/guest.res")
        (root / "etc/drbd.conf").write_text('global { usage-count no; }\ninclude "/etc/drbd.d/*.res";\n')
        (root / "etc/nbd").write_text(_EXPORT)
        modules = root / "lib/modules" / version
        self._modules(part("kernel") / "lib/modules" / version, modules)
        subprocess.run(["depmod", "-b", str(root), version], check=True, timeout=60)
        made = self._folder / "node.cpio"
        pack = f"find . | cpio --quiet -o -H newc >{made}"
        subprocess.run(["sh", "-c", pack], cwd=root, check=True, timeout=60)
        shutil.rmtree(root)
        return made

    @staticmethod
    def _libraries(program: Path, root: Path) -> None:
        """The libraries that a program is linked with, where it looks for them.

        Raises:
            LabError: one is not there.
        """
        ours = {**os.environ, "LD_LIBRARY_PATH": str(part("libdevmapper-event1.02.1") / "lib/x86_64-linux-gnu")}
        said = subprocess.run(["ldd", str(program)], capture_output=True, text=True, timeout=20, env=ours).stdout
        if "not found" in said:
            raise LabError(f"{program} lacks libraries: {said}")
        for path in re.findall(r"(/\S+) \(0x", said):
            place = root / path.removeprefix(str(part("libdevmapper-event1.02.1"))).lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)

    @staticmethod
    def _modules(source: Path, target: Path) -> None:
        """Those that a host needs, with those that they need."""
        for module in source.rglob("*.ko"):
            top = module.relative_to(source).parts[:3]
            kinds = {
                ("kernel", "crypto"),
                ("kernel", "lib"),
                ("kernel", "drivers", "virtio"),
                ("kernel", "drivers", "block"),
            }
            if (
                module.stem in f"{_NEEDED} {_NEEDED_BY_LVM}".split()
                or top[:2] in kinds
                or top in kinds
                or module.stem in ("failover", "net_failover")
            ):
                place = target / module.relative_to(source)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(module, place)
        for name in ("modules.builtin", "modules.order", "modules.builtin.modinfo"):
            shutil.copy(source / name, target / name)

    # --- what an administrator or Pacemaker does ----------------------------------------------------------------

    def start(self, name: str) -> None:
        """Power on, and wait until the agent answers."""
        machine = self.machines[name]
        machine.start()
        wait_until(machine.answers, f"{name} answers", ANSWERS_WITHIN)

    def volume(self, name: str) -> None:
        """The volume below DRBD, as the page has it made, but that what the disk has there already stays."""
        machine = self.machines[name]
        machine.shell("pvcreate --dataalignment 1m /dev/vda && vgcreate vg0 /dev/vda")
        machine.shell(f"lvcreate -Wn -Zn --name guest --size {self.volume_size}b vg0")

    NEW_DISK: Final = ("dmsetup remove vg0-guest", "rm -r /dev/vg0", "pvcreate /dev/vdb", "vgcreate vg0 /dev/vdb")
    """What a host types whose only disk is another one now; the second is what udev does by itself."""

    def pull_disk(self, name: str) -> None:
        """Somebody pulls it out: the kernel has it no more, and who uses it is told of errors."""
        self.machines[name].shell("echo 1 >/sys/block/vda/device/../remove")

    def drbd(self, name: str, *words: str, timeout: float = ANSWERS_WITHIN) -> str:
        """``drbdadm WORDS`` on a host."""
        return self.machines[name].run("/usr/sbin/drbdadm", *words, timeout=timeout)

    def state(self, name: str) -> str:
        """Connection, role and disks, as ``/proc/drbd`` has them."""
        return " ".join(self.drbd(name, what, "guest") for what in ("cstate", "role", "dstate"))

    def wait_state(self, name: str, wanted: str, timeout: float = ANSWERS_WITHIN) -> None:
        """Until :meth:`state` begins so."""
        wait_until(lambda: self.state(name).startswith(wanted), f"{name} is {wanted}", timeout)

    def promote(self, name: str) -> None:
        """Primary, and its disk given out to QEMU."""
        wait_until(lambda: self._primary(name), f"{name} may be primary", ANSWERS_WITHIN)
        self.machines[name].run("/bin/nbd-server", "-C", "/etc/nbd")
        wait_until(lambda: _listens(ADDRESSES[name]), f"{name} gives out its disk", ANSWERS_WITHIN)

    def _primary(self, name: str) -> bool:
        """Try, as DRBD's agent does: refused until it has noticed that the peer is gone, and had it fenced."""
        return self.machines[name].shell("drbdadm primary guest >/tmp/said 2>&1; echo $?") == "0"

    def demote(self, name: str) -> None:
        """Nobody uses the disk any more; secondary."""
        self.machines[name].shell("killall nbd-server; while pidof nbd-server >/dev/null; do sleep 0.1; done")
        self.drbd(name, "secondary", "guest")

    @staticmethod
    def drive(name: str) -> str:
        """The guest's disk, as QEMU reaches it where that host is primary."""
        where = f"file.host={ADDRESSES[name]},file.port={_NBD_PORT},file.export=guest"
        return f"file.driver=nbd,{where},if=virtio,format=raw,cache=none"

    def same(self) -> int:
        """Octets of the guest's disk, which both sides must have the same; nobody writes meanwhile.

        Raises:
            LabError: they differ; with the first octet that does.
        """
        skip = f"--ignore-initial={_FIRST}"
        command = ["cmp", skip, f"--bytes={self._size}", *(str(self._disk(name)) for name in ADDRESSES)]
        said = subprocess.run(command, capture_output=True, text=True, timeout=300)
        if said.returncode:
            raise LabError(f"the sides differ: {said.stdout}{said.stderr}")
        return self._size

    def crash(self, name: str) -> None:
        """A power cut."""
        self.machines[name].kill()

    def close(self) -> None:
        """Power off, and nobody fences."""
        self._power.shutdown(socket.SHUT_RDWR)  # close() alone does not wake who waits in accept()
        self._power.close()
        for machine in self.machines.values():
            machine.kill()

    # --- fencing ------------------------------------------------------------------------------------------------

    def _fence_for_ever(self) -> None:
        """Whoever says a host's name on port 7 of the management network has it switched off, unless it is well."""
        while True:
            try:
                connection, _ = self._power.accept()
            except OSError:  # the run is over: close() has closed it
                return
            with connection, contextlib.suppress(OSError):  # who asked may be dead by now: the peer was faster
                name = connection.recv(100).decode().strip()
                well = self.machines[name].running
                if not well:
                    self.crash(name)
                (self.kept if well else self.fenced).append(name)
                connection.sendall(b"kept\n" if well else b"off\n")


def _listens(address: str) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((address, _NBD_PORT), 5.0):
        return True
    return False
