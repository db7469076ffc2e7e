"""The rules, dashboards and rule tests that are shipped for Prometheus, as data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
RULE_FILES = (PROMETHEUS / "mailguard.recording.yml", PROMETHEUS / "mailguard.alerts.yml")
TESTS = PROMETHEUS / "tests" / "alerts.test.yml"
EDGES = PROMETHEUS / "tests" / "edges.test.yml"
GRAFANA = DEPLOY / "grafana"

_DURATION = re.compile(r"(\[|\boffset )(\d+)([mhd])\b")
_MINUTES = {"m": 1, "h": 60, "d": 1440}
_VARIABLES = {"__rate_interval": "1m", "__range": "5m", "__interval": "15s"}


def rules() -> list[dict[str, Any]]:
    """Every rule, alerts and records, in order."""
    return [
        rule for file in RULE_FILES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]
    ]


def alerts() -> dict[str, dict[str, Any]]:
    """Each alert by its name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def records() -> dict[str, str]:
    """Each recorded expression by its name."""
    return {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}


def seconds_for_minutes(text: str) -> str:
    """A duration, or the ranges and offsets in an expression, with a second in the place of each minute."""
    whole = re.sub(r"^(\d+)([mhd])$", lambda found: f"{int(found[1]) * _MINUTES[found[2]]}s", text)
    return _DURATION.sub(lambda found: f"{found[1]}{int(found[2]) * _MINUTES[found[3]]}s", whole)


def hasty(folder: Path) -> list[Path]:
    """Copies of the rule files in ``folder`` in which a minute is a second, so that no test waits for minutes.

    Every range, offset, ``for`` and interval of evaluation is shortened alike; names, thresholds and selectors stay.
    """
    made = []
    for file in RULE_FILES:
        content = yaml.safe_load(file.read_text())
        for group in content["groups"]:
            group.update({key: seconds_for_minutes(group[key]) for key in ("interval",) if key in group})
            for rule in group["rules"]:
                rule.update({key: seconds_for_minutes(rule[key]) for key in ("expr", "for") if key in rule})
        made.append(folder / file.name)
        made[-1].write_text(yaml.safe_dump(content, sort_keys=False))
    return made


def panels() -> Iterator[tuple[str, str, str]]:
    """Each question that a dashboard asks Prometheus: file, panel, expression with variables filled in."""
    for file in sorted(GRAFANA.rglob("*.json")):
        for panel in _panels(json.loads(file.read_text())):
            for target in panel.get("targets", ()):
                if "expr" in target and _asks_prometheus(panel, target):
                    yield file.name, panel.get("title", "?"), fill_in(target["expr"])


def _panels(board: Any) -> Iterator[dict[str, Any]]:
    for panel in board.get("panels", ()) if isinstance(board, dict) else ():
        yield panel
        yield from _panels(panel)


def _asks_prometheus(panel: dict[str, Any], target: dict[str, Any]) -> bool:
    source = target.get("datasource") or panel.get("datasource") or {}
    return not isinstance(source, dict) or source.get("type", "prometheus") == "prometheus"


def fill_in(expression: str) -> str:
    """``expression`` as Grafana would ask it, every variable of a dashboard at "All"."""
    for name, value in _VARIABLES.items():
        expression = expression.replace(f"${{{name}}}", value).replace(f"${name}", value)
    return re.sub(r"\$\{\w+(:\w+)?\}|\$[a-z_]\w*|\[\[\w+\]\]", ".*", expression)
