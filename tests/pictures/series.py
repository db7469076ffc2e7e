"""What the panels of a dashboard ask Prometheus, and its answers: no drawing here, and nothing made up.

Grafana's variables are put in as Grafana would: everything chosen, rates over :data:`RATE` seconds, and the period
shown. Times are Unix time in seconds.
"""

from __future__ import annotations

import json
import math
import re
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

RATE: Final = 15
"""Seconds that rates are taken over: at Grafana four scrapes at least, here fifteen of a second each."""
_STEP: Final = 2
_TIMEOUT: Final = 30.0


@dataclass(frozen=True)
class Series:
    """One series: its legend, and its points as (time, value); a figure has one."""

    legend: str
    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Period:
    """What is shown."""

    start: float
    end: float

    @property
    def seconds(self) -> int:
        return round(self.end - self.start)


@dataclass(frozen=True)
class Shown:
    """A panel of the JSON and the series of each of its queries, by their letter."""

    panel: Mapping[str, Any]
    series: Mapping[str, list[Series]] = field(default_factory=dict)

    @property
    def all(self) -> list[Series]:
        return [each for found in self.series.values() for each in found]


def put_in(expression: str, period: Period) -> str:
    """``expression`` as Grafana sends it, with everything chosen."""
    for name, value in (("__rate_interval", f"{RATE}s"), ("__range", f"{period.seconds}s")):
        expression = expression.replace(f"${name}", value)
    return re.sub(r"\$\w+", ".*", expression)


def legend(template: str, labels: Mapping[str, str]) -> str:
    """``{{label}}`` replaced by what the series has."""
    return re.sub(r"\{\{(\w+)\}\}", lambda match: labels.get(match[1], ""), template)


def _asked(address: str, path: str, **parameters: str) -> list[dict[str, Any]]:
    body = urllib.parse.urlencode(parameters).encode()
    with urllib.request.urlopen(f"http://{address}/api/v1/{path}", body, _TIMEOUT) as answer:
        found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
    return found


def _points(found: Mapping[str, Any]) -> tuple[tuple[float, float], ...]:
    values = found["values"] if "values" in found else [found["value"]]
    return tuple((float(when), float(value)) for when, value in values if not math.isnan(float(value)))


def ask(address: str, expression: str, period: Period, template: str = "", *, instant: bool = False) -> list[Series]:
    """The series of ``expression``, of the period's end alone where ``instant``; none without a value."""
    query = put_in(expression, period)
    if instant:
        found = _asked(address, "query", query=query, time=str(period.end))
    else:
        bounds = {"start": str(period.start), "end": str(period.end), "step": str(_STEP)}
        found = _asked(address, "query_range", query=query, **bounds)
    made = [Series(legend(template, each["metric"]), each["metric"], _points(each)) for each in found]
    return sorted((each for each in made if each.points), key=lambda each: each.legend)


def shown(address: str, panel: Mapping[str, Any], period: Period) -> Shown:
    """A panel with what it shows."""
    series = {
        target["refId"]: ask(
            address, target["expr"], period, target["legendFormat"], instant=bool(target.get("instant"))
        )
        for target in panel.get("targets", ())
    }
    return Shown(panel, series)


def dashboard(address: str, file: Path, period: Period) -> tuple[list[Shown], list[tuple[str, float]]]:
    """All panels of a dashboard's JSON, and its marks: name and first moment of each."""
    page = json.loads(file.read_text())
    marks = [
        (mark["name"], each.points[0][0])
        for mark in page["annotations"]["list"]
        for each in ask(address, mark["expr"], period)
    ]
    return [shown(address, panel, period) for panel in page["panels"]], sorted(set(marks), key=lambda mark: mark[1])
