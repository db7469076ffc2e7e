"""Who is told of alerts: an HTTP server in a thread that keeps what Alertmanager posts to it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class Webhook:
    """Keeps each alert that was posted, in order. A context manager."""

    def __init__(self) -> None:
        self.alerts: list[dict[str, Any]] = []
        kept = self.alerts

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                posted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                kept.extend(posted["alerts"])
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name of the base class
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def told(self, status: str, since: int = 0, **labels: str) -> list[dict[str, Any]]:
        """The alerts with ``labels`` that were told of as ``firing`` or ``resolved``, from that number of all on."""
        alerts = self.alerts[since:]
        return [alert for alert in alerts if alert["status"] == status and labels.items() <= alert["labels"].items()]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()
