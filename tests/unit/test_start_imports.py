"""What a worker imports before it serves: a start is little else (decision 0198)."""

from __future__ import annotations

import subprocess
import sys

import pytest

IMPORTED = "import sys, mailguard.children.worker, mailguard.worker; print(*sys.modules)"


@pytest.fixture(scope="module")
def imported() -> set[str]:
    done = subprocess.run([sys.executable, "-c", IMPORTED], capture_output=True, text=True, timeout=60, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "name", ["rich", "typer", "aiohttp", "cryptography", "mailguard.cli", "mailguard.doctor", "mailguard.lab"]
)
def test_a_worker_does_without(imported: set[str], name: str) -> None:
    assert "mailguard.session" in imported
    assert name not in imported


def test_what_is_left_out_for_structlog_can_be_imported_behind_it() -> None:
    code = "import mailguard.log, rich.console; print(rich.console.Console.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "Console\n"
