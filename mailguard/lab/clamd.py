"""clamd with a database of two signatures: the EICAR test file by its body and by its hash.

A signature file of one's own gives names that end in ``.UNOFFICIAL``; ``AlertExceedsMax`` is on, as mailguard requires
(a message over a limit would otherwise pass for clean). Its date, which ClamAV's own signatures have, comes from an
unsigned database (``daily.cud``) that holds nothing else of use.
"""

from __future__ import annotations

import hashlib
import io
import socket
import tarfile
import time
from pathlib import Path

from typing_extensions import override

from mailguard.lab.folders import free_port, is_root, make_folder
from mailguard.lab.server import Server
from mailguard.scanners import patterns

EICAR = patterns.EICAR

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
TCPAddr {host}
MaxThreads 8
MaxQueue 50
StreamMaxLength {stream_max}
MaxScanSize {scan_max}
MaxFileSize {scan_max}
AlertExceedsMax {alert}
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
        alert_exceeds_max: whether it says so where it did not look at all of a message.
        knows_eicar: whether it has the signatures; without them it has some other.
        dated: when its signatures were made, in seconds since the epoch; None for signatures without a date.
        listen: address and port of its TCP socket; None for loopback and a free port.
    """

    program, package, user = "clamd", "clamav-daemon", "clamav"

    def __init__(
        self,
        folder: Path,
        stream_max: int = 100 * 1024 * 1024,
        scan_max: int = 100 * 1024 * 1024,
        *,
        alert_exceeds_max: bool = True,
        knows_eicar: bool = True,
        dated: float | None = None,
        listen: tuple[str, int] | None = None,
    ) -> None:
        super().__init__(folder)
        self.host, self.port = listen or ("127.0.0.1", free_port())
        for name in ("db", "tmp", "run"):
            make_folder(folder / name, self.run_as)
        make_folder(folder, self.run_as)
        self._write_database(folder / "db", EICAR if knows_eicar else b"a body that no message has")
        if dated is not None:
            self._write_dated(folder / "db", int(dated))
        alert = "yes" if alert_exceeds_max else "no"
        text = _CONFIGURATION.format(
            folder=folder, host=self.host, port=self.port, stream_max=stream_max, scan_max=scan_max, alert=alert
        )
        (folder / "clamd.conf").write_text(text + (f"User {self.run_as}\n" if is_root() else ""))

    @property
    @override
    def address(self) -> str:
        return f"unix:{self.folder}/run/clamd.sock"

    @property
    def tcp_address(self) -> str:
        """Where it listens besides."""
        return f"{self.host}:{self.port}"

    @override
    def command(self) -> list[str]:
        return [self.binary, "-c", str(self.folder / "clamd.conf")]

    @override
    def answers(self) -> bool:
        """Whether both sockets answer PING."""
        return self.answers_on_this_host() and self._pong(socket.AF_INET, (self.host, self.port))

    def answers_on_this_host(self) -> bool:
        """Whether its Unix socket answers PING."""
        return self._pong(socket.AF_UNIX, f"{self.folder}/run/clamd.sock")

    def _pong(self, family: int, address: str | tuple[str, int]) -> bool:
        with socket.socket(family, socket.SOCK_STREAM) as client:
            client.settimeout(2)
            try:
                client.connect(address)
                client.sendall(b"nPING\n")
                return client.recv(16) == b"PONG\n"
            except OSError:
                return False

    def _write_database(self, folder: Path, body: bytes) -> None:
        """Text signatures as the ClamAV manual describes them: extended (.ndb) and by MD5 (.hdb)."""
        digest = hashlib.md5(body, usedforsecurity=False).hexdigest()
        (folder / "test.ndb").write_text(f"{SIGNATURE}:0:*:{body.hex()}\n")
        (folder / "test.hdb").write_text(f"{digest}:{len(body)}:{SIGNATURE}\n")

    def _write_dated(self, folder: Path, made: int) -> None:
        """A container of signatures that says when it was made: a head of 512 octets, then a tar file (cvd.c)."""
        head = (
            f"ClamAV-VDB:{time.strftime('%d %b %Y %H-%M', time.gmtime(made))} +0000:27000:1:90:{'0' * 32}:X:lab:{made}"
        )
        signature = b"Lab.Nothing:0:*:" + b"a body that no other message has".hex().encode() + b"\n"
        info = f"{head}\ndaily.ndb:{len(signature)}:{hashlib.sha256(signature).hexdigest()}\n".encode()
        octets = io.BytesIO()
        with tarfile.open(fileobj=octets, mode="w", format=tarfile.USTAR_FORMAT) as archive:
            for name, content in (("daily.info", info), ("daily.ndb", signature)):
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
        (folder / "daily.cud").write_bytes(head.encode().ljust(512) + octets.getvalue())
