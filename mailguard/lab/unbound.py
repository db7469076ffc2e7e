"""unbound: the resolver that mailguard and SpamAssassin ask, all of its world local (:mod:`mailguard.lab.world`).

Nothing leaves the machine: the root is a static zone. A list can be made to fail while unbound runs, and to heal.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from typing_extensions import override

from mailguard.lab import world
from mailguard.lab.folders import answers_datagram, free_port
from mailguard.lab.process import LabError, find_program
from mailguard.lab.server import Server

_CONTROL_TIMEOUT = 60.0

_CONFIGURATION = """\
server:
  directory: "{folder}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  logfile: ""
  interface: 127.0.0.1@{port}
  access-control: 127.0.0.0/8 allow
  do-ip6: no
  do-not-query-localhost: no
  module-config: "iterator"
  num-threads: 1
  cache-max-negative-ttl: 60
  extended-statistics: yes
  local-zone: "." static
  local-data: ". 300 IN SOA ns.test.invalid. hostmaster.test.invalid. 1 3600 600 86400 60"
  include: "{folder}/records.conf"
remote-control:
  control-enable: yes
  control-interface: "{folder}/control.sock"
  control-use-cert: no
"""

_LIST = """\
server:
  local-zone: "{zone}." transparent
stub-zone:
  name: "{zone}."
  stub-addr: {upstream}
"""

_FAULT = 'server:\n  local-zone: "{zone}." {kind}\n'
_ANSWER = '  local-data: "{zone}. 60 IN A {address}"\n'


class Unbound(Server):
    """One unbound before the lists' servers at ``lists_address``.

    Args:
        folder: for its configuration and control socket.
        lists_address: ``host:port`` of rbldnsd.
        zones: the lists that rbldnsd serves.
        port: where it listens; 0 takes a free one. Programs that know no other than the system's resolver want 53.
    """

    program, package, user = "unbound", "unbound", "unbound"

    def __init__(
        self, folder: Path, lists_address: str, zones: Sequence[str] = tuple(world.LISTS), *, port: int = 0
    ) -> None:
        super().__init__(folder)
        self._control = find_program("unbound-control", self.package)
        self.port = port or free_port()
        self._configuration = folder / "unbound.conf"
        self._configuration.write_text(self._server_part() + self._zones_part(lists_address.replace(":", "@"), zones))
        (folder / "records.conf").write_text("".join(f"local-data: '{record}'\n" for record in world.records()))

    @property
    @override
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @override
    def command(self) -> list[str]:
        return [self.binary, "-d", "-p", "-c", str(self._configuration)]

    @override
    def answers(self) -> bool:
        """Whether a question about the root comes back."""
        return answers_datagram(self.port, b"\0\1\1\0\0\1\0\0\0\0\0\0\0\0\6\0\1")

    def control(self, *arguments: str) -> str:
        """Run one command of unbound-control(8) and give its output.

        Raises:
            LabError: unbound did not take it.
        """
        command = [self._control, "-c", str(self._configuration), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=_CONTROL_TIMEOUT)  # noqa: S603
        if done.returncode:
            raise LabError(f"unbound-control {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout

    def break_zone(self, zone: str, fault: str) -> None:
        """Let ``zone`` fail from now on in the way ``fault`` (a key of :data:`mailguard.lab.world.FAULTS`)."""
        kind, address = world.FAULTS[fault]
        self.control("local_zone", f"{zone}.", kind)
        if address:
            self.control("local_data", f"{zone}. 60 IN A {address}")

    def heal_zone(self, zone: str) -> None:
        """Let ``zone`` be served by rbldnsd again, nothing of it remembered.

        It is changed back and never removed: unbound does not know what lies above a zone that is added while it runs,
        and fails for names that stand near it.
        """
        self.control("local_data_remove", f"{zone}.")
        self.control("local_zone", f"{zone}.", "transparent")
        self.forget(zone)

    def forget(self, zone: str) -> None:
        """Drop what is cached of ``zone``."""
        self.control("flush_zone", f"{zone}.")

    def add_record(self, record: str) -> None:
        """Add one record in master file format to the world."""
        self.control("local_data", record)

    def questions(self) -> int:
        """How many questions came in so far."""
        statistics = dict(line.split("=", 1) for line in self.control("stats_noreset").splitlines())
        return int(statistics["total.num.queries"])

    def _server_part(self) -> str:
        return _CONFIGURATION.format(folder=self.folder, port=self.port)

    def _zones_part(self, upstream: str, zones: Sequence[str]) -> str:
        servfail = world.fault_zone(world.SERVFAIL)  # rbldnsd refuses what it does not serve; that is SERVFAIL for us
        text = "".join(_LIST.format(zone=zone, upstream=upstream) for zone in (*zones, servfail))
        for fault, (kind, address) in world.FAULTS.items():
            zone = world.fault_zone(fault)
            text += _FAULT.format(zone=zone, kind=kind)
            text += _ANSWER.format(zone=zone, address=address) if address else ""
        return text + _FAULT.format(zone=world.UNANSWERED_REVERSE, kind="refuse")
