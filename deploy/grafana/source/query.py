"""PromQL over mailguard's metrics. What names a metric or label that :mod:`mailguard.metrics` lacks is refused here.

Each selector has the dashboards' variables ``$job`` and ``$instance``. Rates are over ``$__rate_interval``, Grafana's
name for at least four scrapes; sums of a period over ``$__range``, what the dashboard shows.
"""

from __future__ import annotations

import re
from typing import Final

from mailguard.metrics import METRICS

RATE: Final = "$__rate_interval"
PERIOD: Final = "$__range"
EVERYWHERE: Final = 'job=~"$job",instance=~"$instance"'
TARGET_LABELS: Final = frozenset({"job", "instance"})
"""What Prometheus adds to each series."""

_SPECS: Final = {spec.name: spec for spec in METRICS}
_LABEL: Final = re.compile(r'(\w+)(?:=~|!~|!=|=)"')


class UnknownMetric(ValueError):
    """A query names what no mailguard exports; the text says what."""


def _selector(name: str, where: str, by: str, *, kind: str, suffix: str = "") -> str:
    """``mailguard_name{...}``, once name, kind and labels are known to be declared."""
    spec = _SPECS.get(f"mailguard_{name}")
    if spec is None or spec.kind != kind:
        raise UnknownMetric(f"there is no {kind} mailguard_{name}")
    wanted = set(_LABEL.findall(where)) | {label.strip() for label in by.split(",") if label.strip()}
    if unknown := wanted - set(spec.labels) - TARGET_LABELS - ({"le"} if kind == "histogram" else set()):
        raise UnknownMetric(f"mailguard_{name} has no label {', '.join(sorted(unknown))}")
    return f"mailguard_{name}{suffix}{{{','.join(filter(None, (where, EVERYWHERE)))}}}"


def _sum(what: str, by: str) -> str:
    return f"sum by ({by}) ({what})" if by else f"sum({what})"


def rate(name: str, by: str = "", where: str = "") -> str:
    """How often a second, added up over all but the labels ``by``; ``where`` is PromQL: ``result="down"``."""
    return _sum(f"rate({_selector(name, where, by, kind='counter')}[{RATE}])", by)


def count(name: str, by: str = "", where: str = "") -> str:
    """How often in the period that the dashboard shows."""
    return _sum(f"increase({_selector(name, where, by, kind='counter')}[{PERIOD}])", by)


def share(name: str, where: str, by: str = "", of: str = "", over: str = RATE) -> str:
    """Which part, 0 to 1, of a counter's events (of those with ``of``) is ``where``; no value while there are none."""
    part = _sum(f"rate({_selector(name, ','.join(filter(None, (where, of))), by, kind='counter')}[{over}])", by)
    whole = _sum(f"rate({_selector(name, of, by, kind='counter')}[{over}])", by)
    # Where there is a whole and no part, the part is 0: a counter with labels is not there before its first event.
    return f"({part} or {whole} * 0) / ({whole} > 0)"


def quantile(part: float, name: str, by: str = "", where: str = "", over: str = RATE) -> str:
    """What the ``part`` (0 to 1) of a histogram's observations does not exceed."""
    buckets = _selector(name, where, by, kind="histogram", suffix="_bucket")
    return f"histogram_quantile({part:g}, sum by ({', '.join(filter(None, ('le', by)))}) (rate({buckets}[{over}])))"


def gauge(name: str, by: str = "", where: str = "", across: str = "sum") -> str:
    """A gauge of now, put together by ``across`` (``sum``, ``min``, ``max``) over all but the labels ``by``."""
    what = _selector(name, where, by, kind="gauge")
    return f"{across} by ({by}) ({what})" if by else f"{across}({what})"


def raw(name: str, kind: str = "gauge", where: str = "") -> str:
    """The series as they are."""
    return _selector(name, where, "", kind=kind)
