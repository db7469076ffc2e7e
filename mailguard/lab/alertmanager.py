"""Alertmanager that tells one webhook of each alert at once, and of its end."""

from __future__ import annotations

from pathlib import Path

import yaml
from typing_extensions import override

from mailguard.lab.folders import free_port, make_folder
from mailguard.lab.prometheus import is_ready
from mailguard.lab.server import Server


class Alertmanager(Server):
    """One Alertmanager.

    Args:
        folder: for its configuration and data.
        webhook: the URL that alerts are posted to.
    """

    program, package, user = "prometheus-alertmanager", "prometheus-alertmanager", "root"

    def __init__(self, folder: Path, webhook: str) -> None:
        super().__init__(folder)
        self.port = free_port()
        self._configuration = folder / "alertmanager.yml"
        make_folder(folder / "data")
        route = {"receiver": "hook", "group_wait": "0s", "group_interval": "1s", "group_by": ["alertname"]}
        receiver = {"name": "hook", "webhook_configs": [{"url": webhook, "send_resolved": True}]}
        self._configuration.write_text(yaml.safe_dump({"route": route, "receivers": [receiver]}))

    @property
    @override
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @override
    def command(self) -> list[str]:
        return [
            self.binary,
            f"--config.file={self._configuration}",
            f"--storage.path={self.folder / 'data'}",
            f"--web.listen-address={self.address}",
            "--cluster.listen-address=",
        ]

    @override
    def answers(self) -> bool:
        """Whether it calls itself ready."""
        return is_ready(self.address)
