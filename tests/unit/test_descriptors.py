"""How many connections so many file descriptors are enough for: what all of them may take at once, and no more."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mailguard.cli.descriptors import SPARE, connections_within
from mailguard.config import Settings
from mailguard.files import read_settings

SHARED = SPARE + 512 + 2 * (8 + 5) + 200
"""At the defaults: questions, scans, and connections to one backend."""
IN_MEMORY = {"max_message_size": 1 << 20, "max_message_memory": 1 << 20}
PROXIED = [{"address": "127.0.0.1:2525", "proxy_protocol_from": ["192.0.2.1"]}]


def settings(folder: Path, **changes: Any) -> Settings:
    """The defaults but for ``changes``."""
    file = folder / "mailguard.yaml"
    backends = [{"address": "127.0.0.1:2526"}]
    listen = [{"address": "127.0.0.1:2525"}]
    required = {"hostname": "mx.example.com", "relay_domains": ["example.com"], "policy": "policy.yaml"}
    file.write_text(yaml.safe_dump({**required, "listen": listen, "backends": backends, **changes}))
    return read_settings(file)[1]


@pytest.mark.parametrize(
    ("changes", "descriptors", "connections"),
    [
        ({}, SHARED + 2 * 1000, 1000),
        ({}, SHARED + 2 * 1000 - 1, 999),
        ({"limits": IN_MEMORY}, SHARED + 1000, 1000),
        ({"limits": IN_MEMORY | {"max_message_size": (1 << 20) + 1}}, SHARED + 1000, 500),
        ({"listen": PROXIED, "limits": {"reserved_share": 10}}, SHARED + 2100, 1000),
        ({"listen": PROXIED, "limits": {"reserved_share": 10}}, SHARED + 2099, 999),
        ({"backends": [{"address": f"127.0.0.1:{port}"} for port in (1, 2)]}, SHARED + 200 + 2 * 700, 700),
        ({"dns": {"max_questions": 100}}, SHARED - 412 + 2 * 700, 700),
        ({"clamav": {"connections": 9}, "spamassassin": {"connections": 6}}, SHARED + 4 + 2 * 700, 700),
        ({}, SHARED, 1),
        ({}, 10, 1),
    ],
)
def test_what_fits(tmp_path: Path, changes: dict[str, Any], descriptors: int, connections: int) -> None:
    assert connections_within(settings(tmp_path, **changes), descriptors) == connections
