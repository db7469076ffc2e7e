"""How `mailguard check --provenance` shows what each rule rests on: a table for people, objects for machines."""

from __future__ import annotations

from itertools import groupby
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mailguard.facts import Direction
from mailguard.policy.dependence import Basis, Dependence
from mailguard.positions import Document

MAX_WIDTH: Final = 140
"""Characters of a row, however wide the terminal: the eye loses a longer one."""
_MOVED: Final = {
    Direction.FREE: "nothing",
    Direction.FALLS: "make it false",
    Direction.RISES: "make it true",
    Direction.ANY: "make it true or false",
}
"""What Received headers can do to a rule's condition."""


def terminal_width() -> int:
    """Characters that fit into a row of the table."""
    return min(Console().width, MAX_WIDTH)


def table(rules: list[Dependence], document: Document, width: int) -> str:
    """The rules in rows: where, what it does, what it rests on, what Received headers can do, what it may do."""
    found = Table(box=None, pad_edge=False, padding=(0, _GAP, 1, 0), show_edge=False)
    for heading, characters in zip(_SHARES, _widths(rules, width), strict=True):
        found.add_column(heading, width=characters, overflow="fold")
    for rule in rules:
        where = document.told(rule.rule.path)
        named = f"{rule.rule.name}\n{where}, {rule.stage.name.lower()}: {rule.rule.action}"
        may = "\n".join((", ".join(rule.may), *rule.because))
        cells = (named, "\n".join(_based(rule)), _MOVED[rule.rule.direction], may)
        found.add_row(*(Text(cell) for cell in cells))
    console = Console(width=width, color_system=None, force_terminal=False)
    with console.capture() as capture:
        console.print(found)
    return "\n".join(line.rstrip() for line in capture.get().rstrip().split("\n"))


_SHARES: Final = {"rule": 4, "rests on": 5, "Received headers can": 3, "it may": 4}
"""The columns, and how they share a row."""
_GAP: Final = 2


def _widths(rules: list[Dependence], width: int) -> list[int]:
    """Of the columns, so that no name of a fact is broken: the others share what is left."""
    room, names = width - _GAP * (len(_SHARES) - 1), [len(basis.fact) for rule in rules for basis in rule.bases]
    of_names = max(room * _SHARES["rests on"] // sum(_SHARES.values()), min(max(names, default=0) + 1, room // 2))
    others = sum(_SHARES.values()) - _SHARES["rests on"]
    shares = {heading: (room - of_names) * share // others for heading, share in _SHARES.items()}
    return list((shares | {"rests on": of_names}).values())


def _based(rule: Dependence) -> list[str]:
    """What a rule rests on, a line for each provenance and tag."""
    if not rule.bases:
        return ["nothing"]
    by = groupby(sorted(rule.bases, key=_kind), key=_kind)
    return [f"{told}: {', '.join(basis.fact for basis in bases)}" for (_, _, told), bases in by]


def _kind(basis: Basis) -> tuple[str, int, str]:
    by_tag = f"tag {basis.tag}, " if basis.tag else ""
    return basis.tag, int(basis.provenance), f"{by_tag}{basis.provenance.name.lower()}"


def rule_as_json(rule: Dependence, document: Document) -> dict[str, Any]:
    """One rule."""
    place = document.place(rule.rule.path)
    return {
        "name": rule.rule.name,
        "file": place.text.file,
        "line": place.line,
        "stage": rule.stage.name.lower(),
        "action": rule.rule.action,
        "mode": "enforce" if rule.rule.enforced else "observe",
        "provenance": [provenance.name.lower() for provenance in rule.provenances],
        "facts": [
            {"name": basis.fact, "provenance": basis.provenance.name.lower(), "tag": basis.tag or None}
            for basis in rule.bases
        ],
        "received_may": [way for way, flag in _WAYS.items() if rule.rule.direction & flag],
        "may": list(rule.may),
        "because": list(rule.because),
    }


_WAYS: Final = {"make_it_true": Direction.RISES, "make_it_false": Direction.FALLS}
