"""What each process imports before it does its work: a start is little else (decisions 0137 and 0198).

Modules are counted and not timed; the figures are what there is and a little more, so that an import that brings dozens
is a change that somebody meant.
"""

from __future__ import annotations

import subprocess
import sys
from functools import cache

import pytest

IMPORTED = {
    "supervisor": "mailguard.cli.serving, mailguard.supervisor.control, mailguard.supervisor.supervisor",
    "loader": "mailguard.children.loader",
    "worker": "mailguard.children.worker, mailguard.worker, uvloop",
    "admin": "mailguard.children.admin",
}
MOST = {"supervisor": 430, "loader": 315, "worker": 655, "admin": 485}
NEVER = ["rich", "mailguard.doctor", "mailguard.lab", "cryptography"]
WITHOUT = {
    "supervisor": [
        "aiohttp",
        "aiosmtpd",
        "dns",
        "uvloop",
        "importlib.metadata",
        "mailguard.policy",
        "mailguard.worker",
    ],
    "loader": [
        "aiohttp",
        "aiosmtpd",
        "asyncio",
        "dns",
        "email",
        "importlib.metadata",
        "prometheus_client",
        "structlog",
        "typer",
        "mailguard.cli",
    ],
    "worker": ["aiohttp", "typer", "mailguard.cli", "mailguard.supervisor"],
    "admin": ["aiosmtpd", "dns", "importlib.metadata", "typer", "uvloop", "mailguard.cli", "mailguard.policy"],
}


@cache
def imported(process: str) -> frozenset[str]:
    code = f"import sys, {IMPORTED[process]}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    return frozenset(done.stdout.split())


@pytest.mark.parametrize(("process", "name"), [(each, name) for each in IMPORTED for name in NEVER + WITHOUT[each]])
def test_it_does_without(process: str, name: str) -> None:
    assert "mailguard.config" in imported(process)
    assert name not in imported(process)


def test_the_first_loader_begins_before_the_supervisor_imports_what_takes_long() -> None:
    code = "import sys, mailguard.cli, mailguard.cli.serve; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    imported = set(done.stdout.split())
    assert "mailguard.supervisor.early" in imported
    assert imported.isdisjoint({"pydantic", "yaml", "structlog", "prometheus_client", "asyncio", "mailguard.config"})


@pytest.mark.parametrize("process", IMPORTED)
def test_no_more_modules_than_are_needed(process: str) -> None:
    assert len(imported(process)) <= MOST[process]


def test_what_is_left_out_for_structlog_can_be_imported_behind_it() -> None:
    code = "import mailguard.log, rich.console; print(rich.console.Console.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "Console\n"


def test_what_is_imported_is_never_looked_through() -> None:
    """Objects that no collection sees: those of an import; and collections go on behind it."""
    code = """
import gc
from mailguard.lasting import lasting
with lasting():
    enabled = gc.isenabled()
    import mailguard.config
print(enabled, gc.isenabled(), gc.get_freeze_count() > 10_000, len(gc.get_objects()) < 1_000)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False True True True\n"
