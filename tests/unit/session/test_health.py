"""The admin pages of a running mailguard: /healthz is about the process alone, /readyz about sending clients here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mailguard.session.spooling import REMEMBERED, Spooling
from mailguard.spool import Folder, SpoolFull
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


async def test_a_spool_folder_that_goes_is_told(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    folder.mkdir()
    service = await start(spool_dir=folder)
    assert (await page(service, "/readyz"))[0] == 200
    folder.rmdir()
    status, ready = await page(service, "/readyz")
    assert (status, ready["reasons"]) == (503, [f"no spool for long messages: {folder}: No such file or directory"])
    folder.mkdir()
    assert (await page(service, "/readyz"))[0] == 200


async def test_a_disk_that_is_nearly_full_is_told(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = await start(spool_dir=tmp_path, limits={"min_spool_free": 5000})
    monkeypatch.setattr(os, "statvfs", lambda _path: os.statvfs_result((1, 1, 99_999, 5000, 5000, 0, 0, 0, 0, 255)))
    status, ready = await page(service, "/readyz")
    reason = f"no spool for long messages: {tmp_path}: of 5000 octets 5000 must stay free"
    assert (status, ready["reasons"]) == (503, [reason])


def test_a_failure_is_remembered_though_a_trial_succeeds(tmp_path: Path) -> None:
    clock = iter([100.0, 100.0 + REMEMBERED - 1, 100.0 + REMEMBERED])
    spooling = Spooling(0, Folder(tmp_path), lambda: next(clock))
    spooling.failed(SpoolFull("no space left"), "REFERENCE-1")
    assert [spooling.trouble(), spooling.trouble()] == ["no space left", ""]
