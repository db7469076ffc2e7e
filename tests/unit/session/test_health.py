"""The admin pages of a running mailguard: /healthz is about the process alone, /readyz about sending clients here."""

from __future__ import annotations

from typing import Any

import aiohttp
import pytest

from tests.unit.session.conftest import Service, Start


async def page(service: Service, path: str) -> tuple[int, dict[str, Any]]:
    """Status and content of an admin page."""
    address = f"http://127.0.0.1:{service.worker.admin_port}{path}"
    async with aiohttp.ClientSession() as http, http.get(address) as answer:
        return answer.status, await answer.json()


async def test_all_is_well(start: Start) -> None:
    service = await start()
    status, ready = await page(service, "/readyz")
    assert (status, ready["ok"], ready["reasons"]) == (200, True, [])
    status, healthy = await page(service, "/healthz")
    assert (status, healthy["ok"], healthy["policy"]) == (200, True, ready["policy"])


async def test_without_a_backend_it_is_not_ready_but_healthy(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    service = await start()
    monkeypatch.setattr("mailguard.relay.Relay.available", False)
    status, ready = await page(service, "/readyz")
    assert (status, ready["ok"], ready["reasons"]) == (503, False, ["no backend answers"])
    status, healthy = await page(service, "/healthz")
    assert (status, healthy["ok"]) == (200, True)
