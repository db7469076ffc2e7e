"""The guest agent as a host asks it: JSON lines on QEMU's socket. There is no other way in that the test needs.

What a machine does not answer in time is a :class:`NoAnswerError`: it boots, it hangs, or it is off.
"""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_POLL = 0.3
_SYNCHRONISED_WITHIN = 60.0
"""Seconds for an answer of the agent itself: an emulated processor that others slow down takes that long."""


class NoAnswerError(Exception):
    """The agent said nothing in time."""


@dataclass(frozen=True)
class Said:
    """What a command ended with, and all that it wrote."""

    status: int
    text: str


def ask(path: Path, command: Sequence[str], timeout: float) -> Said:
    """Run a command in the machine, as root.

    Raises:
        NoAnswerError: it, or the agent itself, did not end within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    try:
        with _Session(path) as session:
            started = session.do("guest-exec", path=command[0], arg=list(command[1:]), **{"capture-output": True})
            while not (state := session.do("guest-exec-status", pid=started["pid"]))["exited"]:
                if time.monotonic() > deadline:
                    raise NoAnswerError(f"{' '.join(command)}: not within {timeout:g} s")
                time.sleep(_POLL)
    except (OSError, EOFError) as error:
        raise NoAnswerError(f"{' '.join(command)}: {error!r}") from error
    out = b"".join(base64.b64decode(state.get(key, "")) for key in ("out-data", "err-data"))
    return Said(state.get("exitcode", 128 + state.get("signal", 0)), out.decode(errors="replace"))


def tell(path: Path, what: str) -> Any:
    """One command of the agent itself, without arguments; its answer.

    Raises:
        NoAnswerError: it refused, or said nothing in time.
    """
    try:
        with _Session(path) as session:
            return session.do(what)
    except (OSError, EOFError) as error:
        raise NoAnswerError(f"{what}: {error!r}") from error


class _Session:
    """One connection, in step: answers to what somebody before us asked are read and thrown away."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(_SYNCHRONISED_WITHIN)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> _Session:
        number = time.monotonic_ns() % 1_000_000_007
        self._send("guest-sync", id=number)
        while self._answer().get("return") != number:
            pass
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()

    def do(self, what: str, **arguments: Any) -> Any:
        """One command of the agent."""
        self._send(what, **arguments)
        answer = self._answer()
        if "error" in answer:
            raise NoAnswerError(f"{what}: {answer['error']}")
        return answer["return"]

    def _send(self, what: str, **arguments: Any) -> None:
        self._socket.sendall(json.dumps({"execute": what, "arguments": arguments}).encode() + b"\n")

    def _answer(self) -> dict[str, Any]:
        line = self._lines.readline()
        if not line:
            raise EOFError
        answer: dict[str, Any] = json.loads(line.lstrip(b"\xff"))
        return answer
