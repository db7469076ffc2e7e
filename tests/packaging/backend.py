"""A mail server for the tests of the package and of the guest: takes any message, and appends it to a file.

Run by Debian's own Python, with nothing installed: ``backend.py FILE [ADDRESS PORT]``; else on 127.0.0.1:10025.
"""

from __future__ import annotations

import socketserver
import sys
from pathlib import Path

MAILS = Path(sys.argv[1])
ADDRESS, PORT = sys.argv[2:4] or ("127.0.0.1", "10025")


class Session(socketserver.StreamRequestHandler):
    """One session: 250 to everything, 354 to DATA."""

    timeout = 60

    def handle(self) -> None:
        """Serve until QUIT, or until the client is gone."""
        self._say(b"220 backend.example ESMTP")
        while line := self.rfile.readline():
            verb = line[:4].upper().strip()
            if verb == b"DATA":
                self._say(b"354 go on")
                self._keep()
            self._say(b"221 bye" if verb == b"QUIT" else b"250 ok")
            if verb == b"QUIT":
                return

    def _keep(self) -> None:
        with MAILS.open("ab") as kept:
            while (line := self.rfile.readline()) not in (b".\r\n", b""):
                kept.write(line)

    def _say(self, reply: bytes) -> None:
        self.wfile.write(reply + b"\r\n")


class Server(socketserver.ThreadingTCPServer):
    """Listens where the settings of the test have their backend."""

    allow_reuse_address = True
    daemon_threads = True


Server((ADDRESS, int(PORT)), Session).serve_forever()
