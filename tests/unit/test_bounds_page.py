"""docs/bounds.md: every bound is there, with the default that it has, and a test that exists."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest

from mailguard.config import Clamav, Limits, Section, Spamassassin

ROOT = Path(__file__).parents[2]
GROUPS: dict[str, type[Section]] = {"limits": Limits, "clamav": Clamav, "spamassassin": Spamassassin}
ROWS = [
    [cell.strip() for cell in line.split(" | ")]
    for line in (ROOT / "docs/bounds.md").read_text().splitlines()
    if line.startswith("| ") and "`" in line
]


def field(name: str) -> Any:
    """The field of a setting as it stands in the page; ``limits`` may be left out."""
    group, _, key = name.rpartition(".")
    return GROUPS[group or "limits"].model_fields[key]


def told(value: float, unit: str) -> str:
    """A default as people read it."""
    if unit == "octets":
        power = next(power for power in (20, 10, 0) if value % (1 << power) == 0)
        return f"{int(value) >> power} { {20: 'MiB', 10: 'KiB', 0: 'octets'}[power] }"
    return f"{value:g} {unit}"


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[1])
def test_a_row(row: list[str]) -> None:
    _what, setting, default, happens, test = row
    declared = field(setting.strip("`"))
    assert default == told(declared.default, declared.json_schema_extra["unit"])
    assert declared.description
    assert happens
    path, _, name = test.removesuffix(" |").strip("`").partition("::")
    tree = ast.parse((ROOT / path).read_text())
    assert name in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_no_bound_is_missing() -> None:
    assert {row[1].strip("`") for row in ROWS} >= set(Limits.model_fields) | {"clamav.timeout", "spamassassin.timeout"}


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [(5.0, "s", "5 s"), (1.5, "s", "1.5 s"), (52428800, "octets", "50 MiB"), (2048, "octets", "2 KiB")],
)
def test_defaults_as_they_are_told(value: float, unit: str, text: str) -> None:
    assert told(value, unit) == text
