"""clamd with a database of two signatures: the EICAR test file by its body and by its hash.

A signature file of one's own gives names that end in ``.UNOFFICIAL``; ``AlertExceedsMax`` is on, as mailguard requires
(a message over a limit would otherwise pass for clean).
"""

from __future__ import annotations

import hashlib
import socket
from pathlib import Path

from typing_extensions import override

from mailguard.lab.folders import free_port, is_root, make_folder
from mailguard.lab.server import Server

EICAR = b"X5O!P%@AP[4\\PZX54(P^)7CC)7}$" + b"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!" + b"$H+H*"
"""The test file that every virus scanner knows, written in pieces so that none finds it in this source."""

SIGNATURE = "Eicar-Test-Signature"

_CONFIGURATION = """\
Foreground yes
LogFile {folder}/clamd.log
LogFileUnlock yes
LogTime yes
DatabaseDirectory {folder}/db
TemporaryDirectory {folder}/tmp
LocalSocket {folder}/run/clamd.sock
LocalSocketMode 666
FixStaleSocket yes
TCPSocket {port}
TCPAddr 127.0.0.1
MaxThreads 8
MaxQueue 50
StreamMaxLength {stream_max}
MaxScanSize {scan_max}
MaxFileSize {scan_max}
AlertExceedsMax yes
ReadTimeout 30
CommandReadTimeout 30
IdleTimeout 30
SelfCheck 0
"""


class Clamd(Server):
    """One clamd.

    Args:
        folder: for its sockets, database and log.
        stream_max: octets that it takes by INSTREAM.
        scan_max: octets of a message that it looks at.
    """

    program, package, user = "clamd", "clamav-daemon", "clamav"

    def __init__(self, folder: Path, stream_max: int = 100 * 1024 * 1024, scan_max: int = 100 * 1024 * 1024) -> None:
        super().__init__(folder)
        self.port = free_port()
        for name in ("db", "tmp", "run"):
            make_folder(folder / name, self.run_as)
        make_folder(folder, self.run_as)
        self._write_database(folder / "db")
        text = _CONFIGURATION.format(folder=folder, port=self.port, stream_max=stream_max, scan_max=scan_max)
        (folder / "clamd.conf").write_text(text + (f"User {self.run_as}\n" if is_root() else ""))

    @property
    @override
    def address(self) -> str:
        return f"unix:{self.folder}/run/clamd.sock"

    @property
    def tcp_address(self) -> str:
        """Where it listens besides."""
        return f"127.0.0.1:{self.port}"

    @override
    def command(self) -> list[str]:
        return [self.binary, "-c", str(self.folder / "clamd.conf")]

    @override
    def answers(self) -> bool:
        """Whether both sockets answer PING."""
        return self._pong(socket.AF_UNIX, f"{self.folder}/run/clamd.sock") and self._pong(
            socket.AF_INET, ("127.0.0.1", self.port)
        )

    def _pong(self, family: int, address: str | tuple[str, int]) -> bool:
        with socket.socket(family, socket.SOCK_STREAM) as client:
            client.settimeout(2)
            try:
                client.connect(address)
                client.sendall(b"nPING\n")
                return client.recv(16) == b"PONG\n"
            except OSError:
                return False

    def _write_database(self, folder: Path) -> None:
        """Text signatures as the ClamAV manual describes them: extended (.ndb) and by MD5 (.hdb)."""
        digest = hashlib.md5(EICAR, usedforsecurity=False).hexdigest()
        (folder / "test.ndb").write_text(f"{SIGNATURE}:0:*:{EICAR.hex()}\n")
        (folder / "test.hdb").write_text(f"{digest}:{len(EICAR)}:{SIGNATURE}\n")
