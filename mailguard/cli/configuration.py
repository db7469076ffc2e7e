"""``mailguard config show``: every setting as it is in force, and where it comes from.

That is the file with its line, the environment (files of secrets), or the default. Paths are absolute, as the service
takes them. No setting is a secret (``config``), so that all of this can be shown to anybody: of a secret the name of
its file is told, which is not opened. Exit status (sysexits.h): 0, or 78 where the settings are not well written; what
this machine has against them ``mailguard check`` tells.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mailguard.cli.paths import DEFAULT_CONFIG
from mailguard.config import Settings
from mailguard.files import absolute, read_settings, variable_of
from mailguard.positions import Document, Problems
from mailguard.positions import Path as Keys

app = typer.Typer(no_args_is_help=True, add_completion=False)
DEFAULT: Final = "default"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from: a line of a file, a variable of the environment, or neither: the default."""

    file: str = ""
    line: int = 0
    variable: str = ""

    def __str__(self) -> str:
        if self.variable:
            return self.variable
        return f"{self.file}:{self.line}" if self.file else DEFAULT


@dataclass(frozen=True, slots=True)
class Shown:
    """One setting: its name as in the reference, ``value`` as JSON has it, and its unit."""

    name: str
    value: Any
    unit: str
    origin: Origin


def shown(document: Document, written: Settings, in_force: Settings) -> Iterator[Shown]:
    """All settings; ``in_force`` is what ``written``, read from ``document``, comes to."""
    yield from _section(document, written, in_force, ())


def _section(document: Document, written: BaseModel, in_force: BaseModel, path: Keys) -> Iterator[Shown]:
    for name, field in type(in_force).model_fields.items():
        here, value, before = (*path, name), getattr(in_force, name), getattr(written, name)
        if isinstance(value, BaseModel):
            yield from _section(document, before, value, here)
        elif isinstance(value, list) and value and isinstance(value[0], BaseModel):
            for number, (was, entry) in enumerate(zip(before, value, strict=True)):
                yield from _section(document, was, entry, (*here, number))
        else:
            yield Shown(_name(here), _plain(value), _unit(field), _origin(document, here))


def _name(path: Keys) -> str:
    """``listen[0].address``."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")


def _plain(value: Any) -> Any:
    """``value`` as JSON has it."""
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, str | int | float) else str(value)


def _unit(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra.get("unit", "")) if isinstance(extra, dict) else ""


def _origin(document: Document, path: Keys) -> Origin:
    """Where the value at ``path`` stands, if it stands anywhere: a section that is there says nothing of each key."""
    if path not in document.places:
        return Origin()
    place = document.places[path]
    variable = variable_of(place.text.file)
    return Origin(variable=variable) if variable else Origin(place.text.file, place.key[0] if place.key else place.line)


@app.callback()
def config() -> None:
    """Tell about the configuration."""


@app.command()
def show(
    config: Annotated[Path, typer.Option(readable=False, help="The configuration file.")] = DEFAULT_CONFIG,
    changed: Annotated[bool, typer.Option("--changed", help="Only what is not the default.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, by name.")] = False,
) -> None:
    """Show every setting as it is in force, and where it comes from: file and line, environment, or default."""
    try:
        document, written = read_settings(config)
    except Problems as problems:
        typer.echo(str(problems), err=True)
        raise typer.Exit(os.EX_CONFIG) from None
    found = shown(document, written, absolute(written, config.parent.absolute()))
    rows = [each for each in found if not changed or str(each.origin) != DEFAULT]
    if as_json:
        typer.echo(json.dumps({each.name: _object(each) for each in rows}, indent=2))
    else:
        Console().print(_table(rows))


def _object(each: Shown) -> dict[str, Any]:
    origin = each.origin
    where = {"file": origin.file, "line": origin.line} if origin.file else {}
    kind = "environment" if origin.variable else "file" if origin.file else DEFAULT
    variable = {"variable": origin.variable} if origin.variable else {}
    return {"value": each.value, "unit": each.unit, "origin": {"kind": kind, **where, **variable}}


def _table(rows: list[Shown]) -> Table:
    found = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for heading, share in (("setting", 5), ("value", 4), ("from", 3)):
        found.add_column(heading, ratio=share, overflow="fold")
    for each in rows:
        value = "" if each.value in (None, []) else _written(each.value)
        unit = f" {each.unit}" if each.unit and value else ""
        found.add_row(Text(each.name), Text(value + unit), Text(str(each.origin)))
    return found


def _written(value: Any) -> str:
    """As the file has it."""
    if isinstance(value, list):
        return ", ".join(map(_written, value))
    return str(value).lower() if isinstance(value, bool) else str(value)
