"""spamd with the rules that the Debian package ships, asking the laboratory's resolver.

Its ``trusted_networks`` hold nothing but loopback: the topmost Received line is mailguard's own, so the client that it
names is the last external relay. ``deploy/spamassassin/mailguard.cf`` is the very file that an administrator installs.
"""

from __future__ import annotations

import shutil
import socket
from pathlib import Path

from typing_extensions import override

from mailguard.lab.folders import free_port, is_root, make_folder, shipped
from mailguard.lab.server import Server
from mailguard.scanners import patterns

GTUBE = patterns.GTUBE

RULES = Path("/usr/share/spamassassin")
"""The rules of Debian's package; not those that sa-update may have fetched, so that every machine has the same."""

_CONFIGURATION = """\
required_score 5.0
report_safe 0
clear_trusted_networks
clear_internal_networks
trusted_networks 127.0.0.0/8
internal_networks 127.0.0.0/8
dns_available yes
dns_server [{host}]:{port}
rbl_timeout 15 15
use_bayes 0
use_razor2 0
use_pyzor 0
"""
"""It waits for lists as long as it does unless told, also where most have answered: a late one would lack points."""


class Spamd(Server):
    """One spamd.

    Args:
        folder: for its site configuration, home and log.
        resolver: ``host:port`` of the resolver; None for no network tests at all.
        children: scorings at the same time.
        rules: lines added to the site configuration.
    """

    program, package, user = "spamd", "spamd", "debian-spamd"

    def __init__(self, folder: Path, resolver: str | None, children: int = 2, rules: str = "") -> None:
        super().__init__(folder)
        self.port = free_port()
        self.children = children
        self._local_only = resolver is None
        host, _, port = (resolver or "127.0.0.1:53").rpartition(":")
        # Its DMARC plugin asks by a resolver of its own, which would be that of /etc/resolv.conf, outside of here.
        self.environment = {"RES_NAMESERVERS": host, "RES_OPTIONS": f"port:{port}"}
        self.site = make_folder(folder / "etc")
        (self.site / "local.cf").write_text(_CONFIGURATION.format(host=host, port=port) + rules)
        shutil.copy(shipped("deploy/spamassassin/mailguard.cf"), self.site / "mailguard.cf")
        for plugins in Path("/etc/spamassassin").glob("*.pre"):
            shutil.copy(plugins, self.site)
        for name in ("home", "run"):
            make_folder(folder / name, self.run_as)

    @property
    @override
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def unix_address(self) -> str:
        """Where it listens besides."""
        return f"unix:{self.folder}/run/spamd.sock"

    @property
    def rule_dirs(self) -> list[Path]:
        """The folders of its live rules."""
        return [RULES, self.site]

    @override
    def command(self) -> list[str]:
        options = [
            f"--listen={self.address}",
            f"--listen={self.folder}/run/spamd.sock",
            "--socketmode=666",
            "--nouser-config",
            f"--max-children={self.children}",
            f"--min-children={self.children}",
            f"--configpath={RULES}",
            f"--siteconfigpath={self.site}",
            f"--helper-home-dir={self.folder}/home",
            "--syslog=stderr",
            f"--pidfile={self.folder}/run/pid",
        ]
        options += [f"--username={self.run_as}"] if is_root() else []
        return [self.binary, *options, *(["--local"] if self._local_only else [])]

    @override
    def answers(self) -> bool:
        """Whether a child answers PING (spamd listens half a second before it has one)."""
        return self._pong(socket.AF_INET, ("127.0.0.1", self.port))

    def answers_on_this_host(self) -> bool:
        """The same by its Unix socket."""
        return self._pong(socket.AF_UNIX, self.unix_address.removeprefix("unix:"))

    def _pong(self, family: int, address: str | tuple[str, int]) -> bool:
        with socket.socket(family, socket.SOCK_STREAM) as client:
            client.settimeout(5)
            try:
                client.connect(address)
                client.sendall(b"PING SPAMC/1.5\r\n\r\n")
                return b"PONG" in client.recv(64)
            except OSError:
                return False
