"""mailguard itself as a process of the laboratory: ``mailguard serve`` with a configuration file, as in earnest."""

from __future__ import annotations

import http.client
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import yaml
from typing_extensions import override

from mailguard.lab.folders import free_port
from mailguard.lab.lab import Lab
from mailguard.lab.server import Server
from mailguard.lab.settings import lab_configuration

_HTTP_TIMEOUT = 5.0


class Mailguard(Server):
    """One mailguard before the servers of ``lab``, logging JSON.

    Args:
        folder: for its configuration and log.
        lab: the servers behind it.
        port: where it listens for clients that are what they are; 0 takes a free one.
        settings: see :func:`mailguard.lab.settings.lab_configuration`.
    """

    program, package, user = sys.executable, "python3", "root"

    def __init__(self, folder: Path, lab: Lab, port: int = 0, **settings: Any) -> None:
        super().__init__(folder)
        self.port, self.proxy_port, self.admin_port = port or free_port(), free_port(), free_port()
        self.configuration = folder / "mailguard.yaml"
        content = lab_configuration(
            lab,
            plain=self.address,
            proxied=f"127.0.0.1:{self.proxy_port}",
            admin={"address": f"127.0.0.1:{self.admin_port}"},
            log={"format": "json"},
            run_dir=str(folder / "run"),
            **settings,
        )
        self.configuration.write_text(yaml.safe_dump(content, sort_keys=False))

    @property
    @override
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def admin_url(self) -> str:
        """Where /metrics, /healthz and /readyz are."""
        return f"http://127.0.0.1:{self.admin_port}"

    @override
    def command(self) -> list[str]:
        return [sys.executable, "-m", "mailguard", "serve", "--config", str(self.configuration)]

    @override
    def answers(self) -> bool:
        """Whether it says that it is ready, a backend included."""
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=_HTTP_TIMEOUT)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def events(self) -> Iterator[dict[str, Any]]:
        """The lines of its log, as far as they are whole and JSON (a traceback of a failed start is not)."""
        for line in self.log.read_text(errors="replace").splitlines():
            if line.startswith("{") and line.endswith("}"):
                yield orjson.loads(line)
