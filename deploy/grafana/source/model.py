"""What a dashboard consists of, without anything of Grafana's: rows of panels, each with its queries and its words.

Every panel has a description: what it shows, and what to do when it looks wrong, for whoever looks at it at 3 am.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

WIDTH: Final = 24
"""Columns of Grafana's grid."""

Kind: TypeAlias = Literal["lines", "stacked", "number", "states", "table", "text"]
"""``number`` is the last value; ``states`` a band a series, coloured by threshold; ``table`` joins queries by label."""

GREEN, YELLOW, RED, BLUE = "green", "orange", "red", "blue"


@dataclass(frozen=True)
class Query:
    """PromQL and how its series are called: ``{{label}}`` stands for a label's value; in a table, the column's name.

    Attributes:
        unit: in a table, the column's unit as Grafana calls it.
    """

    promql: str
    legend: str
    unit: str = ""


@dataclass(frozen=True)
class Steps:
    """Colours by value: ``base`` from minus infinity on, then each colour from its value on."""

    base: str = GREEN
    steps: tuple[tuple[float, str], ...] = ()


def at_least(yellow: float, red: float) -> Steps:
    """The more, the worse."""
    return Steps(GREEN, ((yellow, YELLOW), (red, RED)))


NEVER: Final = Steps(GREEN, ((1e-9, RED),))
"""Anything over 0 is wrong."""

ALWAYS_ONE: Final = Steps(RED, ((1, GREEN),))
"""1 is well, 0 is not."""

PLAIN: Final = Steps(BLUE)
"""No value is better than another."""


@dataclass(frozen=True)
class Panel:
    """One picture.

    Attributes:
        unit: Grafana's name of the unit: ``ops``, ``s``, ``percentunit``, ``bytes``, ``short``.
        alert: the alert of deploy/prometheus that tells of what is wrong here; the panel links to its runbook.
        words: what a value is called: ``{0: "ill"}``.
        width: columns, of 24.
        text: Markdown, of a ``text`` panel.
        silent: what stands there when there is no series at all.
    """

    title: str
    description: str
    kind: Kind
    queries: tuple[Query, ...] = ()
    unit: str = "short"
    steps: Steps = PLAIN
    alert: str = ""
    words: dict[int, str] = field(default_factory=dict)
    width: int = 12
    height: int = 8
    least: float | None = 0
    most: float | None = None
    decimals: int | None = None
    text: str = ""
    silent: str = "none"


@dataclass(frozen=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    """A choice at the top of a dashboard besides datasource, job and instance: the values of a metric's label."""

    name: str
    label: str
    metric: str
    description: str


@dataclass(frozen=True)
class Dashboard:
    """One page; ``slug`` names its file, and with ``mailguard-`` before it its address."""

    slug: str
    title: str
    description: str
    rows: tuple[Row, ...]
    variables: tuple[Variable, ...] = ()


def number(title: str, description: str, promql: str, **more: object) -> Panel:
    """A single figure, four columns wide."""
    look: dict[str, object] = {"width": 4, "height": 4, "silent": "0", **more}
    return Panel(title, description, "number", (Query(promql, title),), **look)  # type: ignore[arg-type]
