"""The control socket of a running service asked directly: what a command of mailguard asks, without an interpreter."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mailguard.supervisor.run_dir import connect


def asked(run_dir: Path, within: float, **command: Any) -> dict[str, Any]:
    """The answer to ``command``, which takes no longer than ``within`` seconds for each of its steps.

    Raises:
        NotRunning: no service is there.
        ConnectionError: it went before it answered.
        OSError: it does not answer in time.
    """
    with connect(run_dir, within) as asking:
        asking.sendall(json.dumps(command).encode() + b"\n")
        answer = b"".join(iter(lambda: asking.recv(65536), b""))
    if not answer:
        raise ConnectionAbortedError("it went before it answered")
    found: dict[str, Any] = json.loads(answer)
    return found
