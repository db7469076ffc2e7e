"""mailguard itself as a process of the laboratory: ``mailguard serve`` with a configuration file, as in earnest.

:class:`Serving` has any configuration; :class:`Mailguard` the one that fits all servers of a laboratory.
"""

from __future__ import annotations

import http.client
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
import yaml
from typing_extensions import override

from mailguard.lab.folders import free_port
from mailguard.lab.lab import Lab
from mailguard.lab.server import Server
from mailguard.lab.settings import lab_configuration

_HTTP_TIMEOUT = 30.0


class Serving(Server):
    """One mailguard, logging JSON; :meth:`configure` comes before it is started.

    Args:
        folder: for its configuration and log.
        port: where it listens for clients that are what they are; 0 takes a free one.
    """

    program, package, user = sys.executable, "python3", "root"

    def __init__(self, folder: Path, port: int = 0) -> None:
        super().__init__(folder)
        self.port, self.proxy_port, self.admin_port = port or free_port(), free_port(), free_port()
        self.configuration = folder / "mailguard.yaml"

    @property
    def proxied_address(self) -> str:
        """Where a PROXY header names the client."""
        return f"127.0.0.1:{self.proxy_port}"

    def configure(self, content: Mapping[str, Any]) -> None:
        """Write the configuration: ``content``, but for what is this server's own."""
        own = {
            "admin": {"address": f"127.0.0.1:{self.admin_port}"},
            "log": {"format": "json"},
            "run_dir": str(self.folder / "run"),
        }
        self.configuration.write_text(yaml.safe_dump({**content, **own}, sort_keys=False))

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
        try:
            return self.page("/readyz")[0] == http.HTTPStatus.OK
        except (OSError, http.client.HTTPException):
            return False

    def page(self, path: str) -> tuple[int, str]:
        """Status and text of one of the admin pages.

        Raises:
            OSError: nobody answers.
            HTTPException: what answers speaks no HTTP.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=_HTTP_TIMEOUT)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def events(self) -> Iterator[dict[str, Any]]:
        """The lines of its log, as far as they are whole and JSON (a traceback of a failed start is not)."""
        for line in self.log.read_text(errors="replace").splitlines():
            if line.startswith("{") and line.endswith("}"):
                yield orjson.loads(line)


class Mailguard(Serving):
    """One mailguard before the servers of ``lab``.

    Args:
        folder: for its configuration and log.
        lab: the servers behind it.
        port: where it listens for clients that are what they are; 0 takes a free one.
        settings: see :func:`mailguard.lab.settings.lab_configuration`.
    """

    def __init__(self, folder: Path, lab: Lab, port: int = 0, **settings: Any) -> None:
        super().__init__(folder, port)
        self.configure(lab_configuration(lab, plain=self.address, proxied=self.proxied_address, **settings))
