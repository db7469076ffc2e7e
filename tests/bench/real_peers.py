"""The mail servers that mailguard is compared with, as filters before the same backend: Postfix, Exim and Haraka.

Their configurations are the files in ``tests/bench/peers``, with names like ``@PORT@`` put in here. Postfix is unpacked
and Haraka fetched by ``make bench`` (``deploy/setup/unpack.sh``, ``peers/install.sh``); Exim is Debian's. They know no
other resolver than that of /etc/resolv.conf at port 53, so each runs in a mount namespace of its own where that file
names the laboratory's, and all want root and the tests' namespace.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from typing_extensions import override

import mailguard
from mailguard.lab.folders import group_name, is_root, make_folder
from mailguard.lab.postfix import LIBRARIES, UNPACKED, make_folders
from mailguard.lab.process import find_program
from tests.bench.subjects import Subject

DNS_PORT = 53
CONFIGURATIONS = Path(__file__).parent / "peers"
HARAKA = Path(mailguard.__file__).parents[1] / "build/haraka"
"""Where ``make bench`` puts it: in the source tree."""

_OWN_RESOLVER = 'mount --bind "$0" /etc/resolv.conf && exec "$@"'


class RealPeer(Subject):
    """One of them; its configuration is written when it is made.

    Args:
        folder: for all its files.
        backend: ``host:port`` that its mail goes to.
    """

    configuration: ClassVar[str]
    """The folder of its configuration in :data:`CONFIGURATIONS`."""

    def __init__(self, folder: Path, backend: str) -> None:
        super().__init__(folder)
        self._resolver = folder / "resolv.conf"
        self._resolver.write_text("nameserver 127.0.0.1\n")
        self.make_folders()
        write(CONFIGURATIONS / self.configuration, self.target, self.values(backend))

    @property
    def target(self) -> Path:
        """Where its configuration stands."""
        return self.folder / "etc"

    def make_folders(self) -> None:
        """Make what it does not make itself."""
        make_folder(self.target)

    def values(self, backend: str) -> dict[str, str]:
        """What stands for the names in its configuration."""
        port = backend.rpartition(":")[2]
        return {"FOLDER": str(self.folder), "PORT": str(self.port), "BACKEND": backend, "BACKEND_PORT": port}

    @classmethod
    def missing(cls) -> str:
        """Why it cannot be measured here; empty where it can."""
        return ""

    def arguments(self) -> list[str]:
        """What stands behind the program."""
        raise NotImplementedError

    @override
    def command(self) -> list[str]:
        unshare = find_program("unshare", "util-linux")
        return [unshare, "--mount", "sh", "-c", _OWN_RESOLVER, str(self._resolver), self.binary, *self.arguments()]


def write(source: Path, target: Path, values: Mapping[str, str]) -> None:
    """Write every file of ``source`` into ``target``, ``@NAME@`` replaced by the value of ``NAME``."""
    for file in (path for path in source.iterdir() if path.is_file()):
        text = file.read_text()
        for name, value in values.items():
            text = text.replace(f"@{name}@", value)
        (target / file.name).write_text(text)


class Postfix(RealPeer):
    """smtpd with ``smtpd_proxy_filter``."""

    program: ClassVar[str] = str(UNPACKED / "usr/lib/postfix/sbin/master")
    package, user, environment = "postfix", "daemon", LIBRARIES
    name, configuration = "Postfix", "postfix"
    group = "mail"

    @classmethod
    @override
    def missing(cls) -> str:
        return "" if UNPACKED.is_dir() else f"it is not unpacked in {UNPACKED}"

    @override
    def make_folders(self) -> None:
        make_folders(self.folder, self.run_as, self.group)

    @override
    def values(self, backend: str) -> dict[str, str]:
        return super().values(backend) | {"UNPACKED": str(UNPACKED), "OWNER": self.run_as, "GROUP": self.group}

    @override
    def arguments(self) -> list[str]:
        return ["-c", str(self.target), "-s"]


class Exim(RealPeer):
    """dnslists in the ACL at RCPT, and ``cutthrough_delivery``."""

    program, package, user = "exim4", "exim4-daemon-heavy", "Debian-exim"
    name, configuration = "Exim", "exim"

    @override
    def make_folders(self) -> None:
        make_folder(self.target)
        for name in ("spool", "log"):
            make_folder(self.folder / name, self.run_as)

    @override
    def values(self, backend: str) -> dict[str, str]:
        return super().values(backend) | {"OWNER": self.run_as, "GROUP": group_name(self.user)}

    @override
    def arguments(self) -> list[str]:
        return ["-C", str(self.target / "exim.conf"), "-bdf"]


class Haraka(RealPeer):
    """The plugins dns-list and queue/smtp_proxy, two processes."""

    program, package, user = "node", "nodejs", "root"
    name, configuration = "Haraka", "haraka/config"

    @classmethod
    @override
    def missing(cls) -> str:
        if shutil.which(cls.program) is None:
            return "there is no node"
        return "" if (HARAKA / "node_modules/Haraka").is_dir() else f"it is not in {HARAKA}"

    @property
    @override
    def target(self) -> Path:
        return self.folder / "config"

    @override
    def make_folders(self) -> None:
        for name in ("config", "queue", "plugins"):
            make_folder(self.folder / name)

    @override
    def arguments(self) -> list[str]:
        return [str(HARAKA / "node_modules/Haraka/bin/haraka"), "-c", str(self.folder)]


REAL_PEERS: tuple[type[RealPeer], ...] = (Postfix, Haraka, Exim)


def cannot_run(*, proxied: bool) -> dict[str, str]:
    """Those that cannot be measured here, by name, and why; ``proxied``: clients have no addresses of their own."""
    if proxied or not is_root():
        return {peer.name: "it wants root and the tests' namespace" for peer in REAL_PEERS}
    return {peer.name: why for peer in REAL_PEERS if (why := peer.missing())}
