"""The HTTP server of the operator's face, on aiohttp: three pages to read, nothing to change."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from mailguard.admin.health import Health
from mailguard.metric_store import exposition


class Admin:
    """Serves the pages on ``host``:``port`` (0: a free one) between ``start`` and ``stop``.

    ``metrics``: the folder of :mod:`mailguard.metric_store`; None for those of this process. ``more``: what /metrics
    shows besides those of the folder.
    """

    def __init__(
        self, host: str, port: int, health: Callable[[], Health], metrics: Path | None = None, *more: Collector
    ) -> None:
        self._host = host
        self._port = port
        self._health = health
        self._folder = metrics
        self._more = more
        self._runner: web.AppRunner | None = None

    async def start(self, bound: socket.socket | None = None) -> int:
        """Listen, on the socket ``bound`` if it is given, and return the port.

        Raises:
            OSError: the address cannot be listened on.
        """
        application = web.Application()
        application.add_routes(
            [
                web.get("/metrics", self._metrics),
                web.get("/healthz", self._healthz),
                web.get("/readyz", self._readyz),
            ]
        )
        self._runner = web.AppRunner(application, access_log=None, handle_signals=False)
        await self._runner.setup()
        site = web.SockSite(self._runner, bound) if bound else web.TCPSite(self._runner, self._host, self._port)
        await site.start()
        port: int = self._runner.addresses[0][1]
        return port

    async def stop(self) -> None:
        """Stop listening; requests under way end."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=exposition(self._folder, *self._more), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _healthz(self, _request: web.Request) -> web.Response:
        health = self._health()
        return web.json_response(health.alive(), status=503 if health.dead else 200)

    async def _readyz(self, _request: web.Request) -> web.Response:
        health = self._health()
        return web.json_response(health.ready(), status=503 if health.not_ready else 200)
