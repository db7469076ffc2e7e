"""Prometheus that scrapes mailguard once a second, with rules, and asked over its HTTP API."""

from __future__ import annotations

import json
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError

import yaml
from typing_extensions import override

from mailguard.lab.folders import free_port, make_folder
from mailguard.lab.process import LabError
from mailguard.lab.server import Server

_TIMEOUT = 30.0
"""Seconds for an answer of its API."""


class Prometheus(Server):
    """One Prometheus.

    Args:
        folder: for its configuration and data.
        targets: ``host:port`` of each mailguard's admin pages.
        rules: files of rules.
        alertmanager: ``host:port`` of who is told of alerts; empty for nobody.
    """

    program, package, user = "prometheus", "prometheus", "root"

    def __init__(self, folder: Path, targets: Sequence[str], rules: Sequence[Path], alertmanager: str = "") -> None:
        super().__init__(folder)
        self.port = free_port()
        self._configuration = folder / "prometheus.yml"
        make_folder(folder / "data")
        self._configuration.write_text(yaml.safe_dump(_configuration(targets, rules, alertmanager)))

    @property
    @override
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @override
    def command(self) -> list[str]:
        return [
            self.binary,
            f"--config.file={self._configuration}",
            f"--storage.tsdb.path={self.folder / 'data'}",
            f"--web.listen-address={self.address}",
        ]

    @override
    def answers(self) -> bool:
        """Whether it calls itself ready."""
        return is_ready(self.address)

    def query(self, expression: str) -> list[Mapping[str, Any]]:
        """The series that ``expression`` (PromQL) gives now: each with its labels and its value.

        Raises:
            LabError: it is refused; with what Prometheus says.
        """
        found: list[Mapping[str, Any]] = self._asked("query", query=expression)["result"]
        return found

    def rules(self) -> list[Mapping[str, Any]]:
        """All rules as they are now, with their health and last error."""
        return [rule for group in self._asked("rules")["groups"] for rule in group["rules"]]

    def _asked(self, what: str, **parameters: str) -> Any:
        url = f"http://{self.address}/api/v1/{what}"
        try:
            with urllib.request.urlopen(
                url, urllib.parse.urlencode(parameters).encode() if parameters else None, _TIMEOUT
            ) as answer:
                return json.load(answer)["data"]
        except HTTPError as error:
            raise LabError(f"Prometheus: {parameters}: {error.read().decode()}") from None


def is_ready(address: str) -> bool:
    """Whether the Prometheus or Alertmanager at ``address`` calls itself ready."""
    try:
        with urllib.request.urlopen(f"http://{address}/-/ready", timeout=_TIMEOUT):
            return True
    except (URLError, OSError):
        return False


def _configuration(targets: Sequence[str], rules: Sequence[Path], alertmanager: str) -> Mapping[str, Any]:
    managers = [{"static_configs": [{"targets": [alertmanager]}]}] if alertmanager else []
    return {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(path) for path in rules],
        "alerting": {"alertmanagers": managers},
        "scrape_configs": [{"job_name": "mailguard", "static_configs": [{"targets": list(targets)}]}],
    }
