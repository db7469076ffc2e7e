"""What is tried, step by step: each says what was seen and how long it took, or ends the run.

``defined``: libvirt takes the domain. ``promoted``: DRBD alone, a host's death and return. ``split``: both hosts write
without each other, and are mended as ``docs/cluster/storage.md`` says. ``tended``: the rest of what that page tells to
type. ``migrated``: a live move (:mod:`tests.guest.migrated`). ``neighbours``: the image without scanners, which stand
beside it (:mod:`tests.guest.neighbours`). ``alone``: the image boots, serves, is walled in, knows the time, survives a
hang and shuts down. ``moved``: its disk is on DRBD; the host that runs it dies, the other is promoted and boots it; the
first comes back; then a planned move.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Final

from mailguard.lab.process import wait_until
from tests.guest.guest import Guest, drive, flat, greeting, healthy, overlay, silent
from tests.guest.layout import (
    ADDRESS,
    ADMIN,
    ANSWERS_WITHIN,
    BOOTED_WITHIN,
    CLIENT,
    GROWN,
    GUEST,
    IMAGE,
    MONITOR,
    SETTLED_WITHIN,
)
from tests.guest.migrated import migrated
from tests.guest.neighbours import neighbours
from tests.guest.run import Run, require
from tests.guest.seed import EICAR, make
from tests.guest.steps import boots_from, replicated, small
from tests.guest.storage import Hosts
from tests.ha.layout import ROOT

_ENLARGED = 5376 * 2**20


# --- libvirt --------------------------------------------------------------------------------------------------------


def defined(run: Run) -> None:
    """A real libvirtd takes the domain, and would start what the page says."""
    with run.step("libvirtd defines `domain.xml`") as seen:
        command = ["sh", str(ROOT / "tests/guest/libvirtd.sh"), str(GUEST / "domain.xml")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=ANSWERS_WITHIN)
        require(done.returncode == 0, done.stdout + done.stderr)
        wanted = (
            "i6300esb",
            "-watchdog-action reset",
            "/dev/drbd0",
            '"direct":true',
            "org.qemu.guest_agent.0",
            "virtio-rng",
        )
        require(all(word in done.stdout for word in wanted), done.stdout)
        seen.append(", ".join(done.stdout.splitlines()[:2]).replace("Running ", ""))


# --- the guest alone ------------------------------------------------------------------------------------------------


def alone(run: Run) -> None:
    """From the image to a mail server, and off again."""
    disk = overlay(run.folder, IMAGE, GROWN)
    guest = Guest(run.folder, [drive(disk), make(run.folder)], run.accelerator)
    try:
        _first_boot(run, guest)
        _inside(run, guest)
        _mail(run, guest)
        _walls(run)
        _looked_after(run, guest)
        _hang(run, guest)
        _power_button(run, guest)
    finally:
        run.console = guest.machine.console.read_text(errors="replace") if guest.machine.console.exists() else ""
        guest.close()
    run.disk = flat(disk, run.folder / "guest.disk")


def _first_boot(run: Run, guest: Guest) -> None:
    with run.step("first boot, from power to the greeting") as seen:
        seen.append(f"`{guest.boot()[1]}`")
    with run.step("the seed is through, all units are up") as seen:
        guest.seeded()
        wait_until(
            lambda: guest.machine.shell("systemctl is-active clamav-daemon spamd | sort -u") == "active",
            "scanners",
            300,
        )
        seen.append(f"{guest.well()}; longest: {_longest_units(guest)}")


def _longest_units(guest: Guest) -> str:
    """The units that took longest to start, by systemd; they start beside each other, so these are no sums."""
    return guest.machine.shell("systemd-analyze blame --no-pager | head -5 | sed 's/^ *//; s/.service$//' | paste -sd,")


def _inside(run: Run, guest: Guest) -> None:
    with run.step("nobody can log in but by the seed's key; the disk has grown") as seen:
        passwords = guest.machine.shell("cut -d: -f1,2 /etc/shadow | grep -v ':[!*]' | wc -l")
        require(passwords == "0", "somebody has a password")
        people = guest.machine.shell("awk -F: '$3 >= 1000 && $3 < 60000 { print $1 }' /etc/passwd")
        require(people == "admin", f"users: {people}")
        size = int(guest.machine.shell("df --output=size -m / | tail -1"))
        require(size > 4600, f"/ has {size} MiB")
        seen.append(f"/ has {size:,} MiB of a disk of {GROWN}")
    with run.step("time from the seed's server, by chrony") as seen:
        known = "timeout 90 chronyc waitsync 80 0 0 1 >/dev/null; chronyc -n sources"
        seen.append(guest.machine.shell(known).splitlines()[-1].split()[1])
        clock = guest.machine.shell("runuser -u mailguard -- mailguard doctor --only clock --json")
        require('"ok"' in clock, f"doctor on the clock:\n{clock}")
        seen.append("`mailguard doctor --only clock`: ok")
    with run.step("the watchdog is patted") as seen:
        seen.append(
            guest.machine.shell(
                "cat /sys/class/watchdog/watchdog0/identity /sys/class/watchdog/watchdog0/state | paste -sd,"
            )
        )
        require(seen[0].endswith("active"), "nobody pats the watchdog")


def _mail(run: Run, guest: Guest) -> None:
    with run.step("a message goes through") as seen:
        reply = guest.send("passes", "hello")
        require(reply.startswith("250 ") and guest.arrived("passes"), reply)
        seen.append(f"`{reply[:60]}`")
    with run.step("EICAR is refused by the guest's own clamd") as seen:
        reply = guest.send("eicar", EICAR)
        require(reply.startswith("5") and not guest.arrived("eicar"), reply)
        seen.append(f"`{reply[:60]}`")
    with run.step("its journal has it") as seen:
        found = guest.machine.shell("mailguard search --since 1h --json | grep -c a@client.example")
        seen.append(f"{found} records")


def _looked_after(run: Run, guest: Guest) -> None:
    with run.step("held still by the agent, as for a snapshot: it goes on after") as seen:
        began = time.monotonic()
        held = guest.machine.hold()
        require(guest.machine.let_go() == held > 0, "the agent held nothing")
        seen.append(f"{held} file system, for {time.monotonic() - began:.1f} s")
    with run.step("a larger disk, while it serves") as seen:
        guest.machine.enlarge(_ENLARGED)
        guest.machine.shell("growpart /dev/vda 2 && resize2fs /dev/vda2")
        size = int(guest.machine.shell("df --output=size -m / | tail -1"))
        require(size > 5100, f"/ has {size} MiB")
        require(bool(greeting()), "no greeting after it")
        seen.append(f"/ has {size:,} MiB")


def _walls(run: Run) -> None:
    with run.step("metrics and ssh: from the management network alone") as seen:
        require(healthy() == 200, "/healthz does not answer the monitoring")
        require(
            all(silent(CLIENT, target, port) for target, port in ((ADDRESS, 22), (ADDRESS, 9625), (ADMIN, 9625))),
            "a hole",
        )
        require(not silent(MONITOR, ADMIN, 22), "ssh is closed to the management network")
        seen.append("/healthz is 200; a stranger hears nothing")


def _hang(run: Run, guest: Guest) -> None:
    before = guest.machine.run("/bin/cat", "/proc/sys/kernel/random/boot_id")
    with run.step("the kernel stops: the watchdog resets it, it boots and greets") as seen:
        guest.machine.shell("sync; sysctl -q kernel.panic=0; (sleep 1; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &")
        wait_until(lambda: not greeting(), "the guest hangs", 60)
        seconds, _ = guest.wait_greeting()
        wait_until(guest.machine.answers, "the agent", BOOTED_WITHIN)
        require(guest.machine.run("/bin/cat", "/proc/sys/kernel/random/boot_id") != before, "it is the same boot")
        seen.append(f"{seconds:.0f} s without a greeting, 30 of them the watchdog's patience")


def _power_button(run: Run, guest: Guest) -> None:
    with run.step("the power button: drained, and off"):
        guest.machine.press_power()
        guest.machine.wait_off(180)


# --- on two hosts ---------------------------------------------------------------------------------------------------


def moved(run: Run) -> None:
    """The disk on DRBD: a host's death, its return, a planned move."""
    require(run.disk is not None, "wants a disk that has booted: the scenario `alone` before it, or --disk")
    hosts = Hosts(run.folder, run.disk or IMAGE, run.accelerator)
    guest = Guest(run.folder, [], run.accelerator)
    try:
        replicated(run, hosts)
        boots_from(run, hosts, guest, "mx1", "the guest boots from its disk on mx1")
        _host_dies(run, hosts, guest)
        _host_returns(run, hosts)
        _planned(run, hosts, guest)
    finally:
        guest.close()
        hosts.close()


def _host_dies(run: Run, hosts: Hosts, guest: Guest) -> None:
    with run.step("a message by mx1's guest; the host refuses a second primary") as seen:
        reply = guest.send("before the crash", "hello")
        require(reply.startswith("250 "), reply)
        refusal = hosts.machines["mx2"].shell("drbdadm primary guest 2>&1 | head -1")
        require("Multiple primaries not allowed" in refusal, refusal)
        wait_until(lambda: _journalled(guest) > 0, "the journal has it", 60)
        seen.append(f"mx2: `{refusal}`")
    hosts.crash("mx1")
    guest.machine.kill()
    boots_from(run, hosts, guest, "mx2", "mx1 and the guest on it lose their power: mx2 is promoted and boots it")
    with run.step("the disk is the same there") as seen:
        require(hosts.fenced == ["mx1"], f"fenced: {hosts.fenced}")
        wait_until(guest.machine.answers, "the agent", BOOTED_WITHIN)
        seen.append(f"{_journalled(guest)} records of before the crash in the journal")
        require(_journalled(guest) > 0, "the journal lost what it had")
        reply = guest.send("after the crash", "hello")
        require(reply.startswith("250 "), reply)
        seen.append(f"mail again; {hosts.fenced[0]} had been fenced before the promotion; {hosts.state('mx2')}")


def _journalled(guest: Guest) -> int:
    return int(guest.machine.shell("mailguard search --since 1d --json | grep -c 'a@client.example' || :"))


def _host_returns(run: Run, hosts: Hosts) -> None:
    with run.step("mx1 is back: what changed is sent") as seen:
        hosts.start("mx1")
        hosts.drbd("mx1", "up", "guest")
        hosts.wait_state("mx2", "Connected Primary/Secondary UpToDate/UpToDate", 300)
        sent = hosts.machines["mx2"].shell("sed -n 's/.* ns:\\([0-9]*\\) .*/\\1/p' /proc/drbd")
        seen.append(f"{int(sent) / 1024:.1f} MiB sent")


def _planned(run: Run, hosts: Hosts, guest: Guest) -> None:
    with run.step("a planned move: the guest is shut down") as seen:
        began = time.monotonic()
        guest.machine.press_power()
        guest.machine.wait_off(240)
        seen.append(f"off after {time.monotonic() - began:.0f} s")
        hosts.demote("mx2")
    with run.step("both hosts' disks are compared from outside, as DRBD left them") as seen:
        seen.append(f"{hosts.same() // 2**20:,} MiB, 0 octets differ")
    boots_from(run, hosts, guest, "mx1", "mx1 is promoted and boots it")


def _compared(run: Run, hosts: Hosts) -> None:
    with run.step("both sides are compared, block by block (drbdadm verify)") as seen:
        different = _verified(hosts, "mx1")
        require(different == "0", f"{different} KiB differ")
        seen.append("0 octets differ")


# --- without a guest ------------------------------------------------------------------------------------------------


def promoted(run: Run) -> None:
    """A host's death and return, on a small disk that no guest uses."""
    with small(run, "promoted") as hosts:
        with run.step("mx1 is primary and writes; mx2 may not be") as seen:
            hosts.drbd("mx1", "primary", "guest")
            _write(hosts, "mx1", "before")
            seen.append(f"mx2: `{hosts.machines['mx2'].shell('drbdadm primary guest 2>&1 | head -1')}`")
            require("Multiple primaries not allowed" in seen[0], seen[0])
        hosts.crash("mx1")
        with run.step("mx1 loses its power: mx2 has it fenced, and is primary") as seen:
            hosts.promote("mx2")
            require(hosts.fenced == ["mx1"], f"fenced: {hosts.fenced}")
            require(_read(hosts, "mx2") == "before", f"mx2 has {_read(hosts, 'mx2')!r}")
            seen.append(f"{hosts.state('mx2')}; it has what mx1 wrote last")
        _write(hosts, "mx2", "after")
        _host_returns(run, hosts)
        with run.step("a planned change of sides") as seen:
            hosts.demote("mx2")
            hosts.promote("mx1")
            require(_read(hosts, "mx1") == "after", f"mx1 has {_read(hosts, 'mx1')!r}")
            seen.append(f"mx1: {hosts.state('mx1')}; it has what mx2 wrote")
        _compared(run, hosts)


# --- split brain ----------------------------------------------------------------------------------------------------


def split(run: Run) -> None:
    """Made by hand, as mistakes make it; mended as the page says."""
    with small(run, "split") as hosts:
        _both_write(run, hosts)
        _mended(run, hosts)


def _write(hosts: Hosts, name: str, text: str) -> None:
    hosts.machines[name].shell(f"echo {text} | dd of=/dev/drbd0 bs=4096 seek=9 conv=sync,fsync,notrunc 2>/dev/null")


def _read(hosts: Hosts, name: str) -> str:
    return hosts.machines[name].shell("dd if=/dev/drbd0 bs=4096 skip=9 count=1 2>/dev/null | tr -d '\\0'")


def _both_write(run: Run, hosts: Hosts) -> None:
    with run.step("both are forced to be primary without each other, and write") as seen:
        for name in hosts.machines:
            hosts.drbd(name, "disconnect", "guest")
            hosts.machines[name].shell("/lib/drbd/drbdsetup-84 disk-options 0 --fencing=dont-care")
            hosts.drbd(name, "primary", "--force", "guest")
            _write(hosts, name, name)
        for name in hosts.machines:
            hosts.drbd(name, "connect", "guest")
        wait_until(lambda: hosts.state("mx1").startswith("StandAlone"), "DRBD sees it", 60)
        log = hosts.machines["mx1"].shell("dmesg | grep -o 'Split-Brain detected.*' | tail -1")
        seen.append(f"`{log}`; {hosts.state('mx1')}")


def _mended(run: Run, hosts: Hosts) -> None:
    with run.step("mx2's writes are thrown away") as seen:
        hosts.drbd("mx2", "secondary", "guest")
        hosts.machines["mx2"].shell("drbdadm disconnect guest || :")
        hosts.machines["mx2"].shell("drbdadm -- --discard-my-data connect guest")
        hosts.machines["mx1"].shell("drbdadm connect guest || :")
        hosts.wait_state("mx1", "Connected Primary/Secondary UpToDate/UpToDate")
        hosts.drbd("mx1", "secondary", "guest")
        hosts.drbd("mx2", "primary", "guest")
        require(_read(hosts, "mx2") == "mx1", f"mx2 has {_read(hosts, 'mx2')!r}")
        seen.append("both have what mx1 wrote")


# --- what the storage page tells to type ----------------------------------------------------------------------------


def tended(run: Run) -> None:
    """Snapshot and return to it, a disk that dies and its successor, an error nobody saw, a larger volume."""
    with small(run, "tended") as hosts:
        _snapshot(run, hosts)
        _disk_dies(run, hosts)
        _silent_error(run, hosts)
        _larger(run, hosts)


def _typed(hosts: Hosts, name: str, *lines: str) -> str:
    """Lines as the page has them; what the last one said."""
    return [hosts.machines[name].shell(f"{line} 2>&1") for line in lines][-1]


def _snapshot(run: Run, hosts: Hosts) -> None:
    with run.step("a snapshot below DRBD, on the primary; a write after it") as seen:
        hosts.drbd("mx1", "primary", "guest")
        _write(hosts, "mx1", "old")
        _typed(hosts, "mx1", "lvcreate --snapshot --name guest-before --size 16M vg0/guest")
        _write(hosts, "mx1", "new")
        seen.append(_typed(hosts, "mx1", "lvs --noheadings -o lv_name,lv_size,origin,data_percent vg0/guest-before"))
    with run.step("back to it on mx1; mx2 is sent all of it") as seen:
        for name in hosts.machines:
            hosts.drbd(name, "down", "guest")
        seen.append(_typed(hosts, "mx1", "lvconvert --merge vg0/guest-before").splitlines()[-1])
        _typed(hosts, "mx1", "drbdadm create-md --force guest", "drbdadm up guest", "drbdadm primary --force guest")
        _typed(hosts, "mx2", "drbdadm create-md --force guest", "drbdadm up guest")
        hosts.wait_state("mx1", "Connected Primary/Secondary UpToDate/UpToDate", SETTLED_WITHIN)
        _change_sides(hosts, "mx1", "mx2")
        require(_read(hosts, "mx2") == "old", f"mx2 has {_read(hosts, 'mx2')!r}")
        _change_sides(hosts, "mx2", "mx1")
        seen.append("both have what was written before the snapshot")


def _change_sides(hosts: Hosts, ours: str, other: str) -> None:
    hosts.drbd(ours, "secondary", "guest")
    hosts.drbd(other, "primary", "guest")


def _disk_dies(run: Run, hosts: Hosts) -> None:
    with run.step("the primary's disk is gone: it writes on, over the network") as seen:
        hosts.pull_disk("mx1")
        _write(hosts, "mx1", "without a disk")
        require("Primary/Secondary Diskless/UpToDate" in hosts.state("mx1"), hosts.state("mx1"))
        seen.append(hosts.state("mx1"))
    with run.step("the guest moves to the side with a disk; mx1 gets a new one, and all of it is sent") as seen:
        _change_sides(hosts, "mx1", "mx2")
        require(_read(hosts, "mx2") == "without a disk", f"mx2 has {_read(hosts, 'mx2')!r}")
        _typed(hosts, "mx1", "drbdadm down guest", *hosts.NEW_DISK)
        _typed(hosts, "mx1", f"lvcreate -y --name guest --size {hosts.volume_size}b vg0")
        _typed(hosts, "mx1", "drbdadm create-md --force guest", "drbdadm up guest")
        hosts.wait_state("mx2", "Connected Primary/Secondary UpToDate/UpToDate", SETTLED_WITHIN)
        require(not hosts.fenced, f"fenced: {hosts.fenced}")
        seen.append(hosts.state("mx1"))


def _silent_error(run: Run, hosts: Hosts) -> None:
    with run.step("mx1's disk has changed by itself; drbdadm verify sees it, a new connection mends it") as seen:
        hosts.machines["mx1"].shell("echo rot | dd of=/dev/vg0/guest bs=4096 seek=99 conv=sync,fsync,notrunc 2>&1")
        seen.append(f"{_verified(hosts, 'mx2')} KiB differ")
        require(not seen[0].startswith("0 "), "verify saw nothing")
        _typed(hosts, "mx2", "drbdadm disconnect guest", "drbdadm connect guest")
        hosts.wait_state("mx2", "Connected Primary/Secondary UpToDate/UpToDate", SETTLED_WITHIN)
        after = _verified(hosts, "mx2")
        require(after == "0", f"{after} KiB differ still")
        seen.append("then 0")


def _verified(hosts: Hosts, name: str) -> str:
    """KiB that differ, by a comparison that begins now."""
    hosts.drbd(name, "verify", "guest")
    wait_until(lambda: hosts.state(name).startswith("Connected"), "the comparison ends", SETTLED_WITHIN)
    return hosts.machines[name].shell("sed -n 's/.* oos:\\([0-9]*\\).*/\\1/p' /proc/drbd")


def _larger(run: Run, hosts: Hosts) -> None:
    with run.step("larger, while it is in use") as seen:
        size = "blockdev --getsize64 /dev/drbd0"
        before = int(_typed(hosts, "mx2", size))
        for name in hosts.machines:
            _typed(hosts, name, f"lvextend --size {hosts.volume_size + 32 * 2**20}b vg0/guest")
        _typed(hosts, "mx2", "drbdadm resize guest")
        hosts.wait_state("mx2", "Connected Primary/Secondary UpToDate/UpToDate", SETTLED_WITHIN)
        gained = int(_typed(hosts, "mx2", size)) - before
        require(gained == 32 * 2**20, f"{gained} octets more")
        require(_read(hosts, "mx2") == "without a disk", f"mx2 has {_read(hosts, 'mx2')!r}")
        seen.append(f"{gained // 2**20} MiB more")


SCENARIOS: Final[dict[str, Callable[[Run], None]]] = {
    "defined": defined,
    "promoted": promoted,
    "split": split,
    "tended": tended,
    "migrated": migrated,
    "neighbours": neighbours,
    "alone": alone,
    "moved": moved,
}
"""By name, in their order: ``moved`` goes on with the disk that ``alone`` booted."""
