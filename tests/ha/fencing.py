"""Who holds the switch of every node's power; ``fence_namespace`` asks it, over a socket that all nodes can see.

"Reboot" switches off and leaves the node off: a machine that boots is away for minutes, and a test says itself when it
comes back.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.ha.node import Node

_DONE: Final = "0 "
_FAILED: Final = "1 "
_OFF: Final = "2 "
_ANSWERED_WITHIN = 20.0


class Switch:
    """Serves while it is entered.

    Attributes:
        fenced: when (``time.monotonic``) and which node was switched off because the cluster asked for it.
    """

    def __init__(self, path: Path, nodes: Mapping[str, Node]) -> None:
        self.path = path
        self.fenced: list[tuple[float, str]] = []
        self._nodes = nodes
        self._listener = socket.socket(socket.AF_UNIX)
        self._thread = threading.Thread(target=self._serve, name="switch")

    def __enter__(self) -> Self:
        """Begin to serve."""
        self._listener.bind(str(self.path))
        self._listener.listen(8)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(_ANSWERED_WITHIN)

    def _serve(self) -> None:
        while True:
            try:
                asking, _ = self._listener.accept()
            except OSError:
                return
            with asking:
                asking.settimeout(_ANSWERED_WITHIN)
                action, _, name = asking.recv(200).decode().strip().partition(" ")
                asking.sendall(self._answer(action, name).encode())

    def _answer(self, action: str, name: str) -> str:
        if action == "monitor":
            return _DONE
        if action == "list":
            return _DONE + "".join(f"{known},\n" for known in self._nodes)
        if (node := self._nodes.get(name)) is None:
            return _FAILED
        if action in ("off", "reboot"):
            node.crash()
            self.fenced.append((time.monotonic(), name))
            return _DONE
        if action == "status":
            return _DONE if node.running else _OFF
        return _FAILED  # on: a node is switched on by hand
