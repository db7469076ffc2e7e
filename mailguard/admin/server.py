"""The HTTP server of the operator's face, on aiohttp: three pages to read, nothing to change.

/metrics costs some 10 ms of processor time, more with every rule and list, and everybody who reaches the port may ask
for it. So it is written in a thread, beside which health is told, and once for all who ask while an earlier one is
written: whoever asks gets what was counted until then, and more who ask cost no more.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path

from aiohttp import web
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from mailguard.admin.health import Health
from mailguard.metric_store import exposition


class Shared:
    """What ``write`` gives, in a thread, one at a time, and one for all who ask before it begins."""

    def __init__(self, write: Callable[[], bytes]) -> None:
        self._write = write
        self._one_at_a_time = asyncio.Lock()
        self._next: asyncio.Task[bytes] | None = None

    async def __call__(self) -> bytes:
        """Written after this was called."""
        if self._next is None:
            self._next = asyncio.create_task(self._written())
        return await asyncio.shield(self._next)

    async def _written(self) -> bytes:
        async with self._one_at_a_time:
            self._next = None
            return await asyncio.to_thread(self._write)


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
        self._exposition = Shared(lambda: exposition(metrics, *more))
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
        return web.Response(body=await self._exposition(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _healthz(self, _request: web.Request) -> web.Response:
        health = self._health()
        return web.json_response(health.alive(), status=503 if health.dead else 200)

    async def _readyz(self, _request: web.Request) -> web.Response:
        health = self._health()
        return web.json_response(health.ready(), status=503 if health.not_ready else 200)
