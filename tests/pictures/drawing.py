"""A dashboard drawn by matplotlib, on the grid of its JSON. It looks like Grafana from afar, and claims no more.

Panels keep their places, titles, legends, thresholds and words; a series that does not exist leaves its panel empty.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from PIL import Image

from tests.pictures.series import Period, Series, Shown

WIDTH: Final = 16.0
"""Inches; the grid has 24 columns."""
ROW: Final = 0.36
"""Inches of a row of the grid."""
DPI: Final = 72
_SHADES: Final = 64
"""Colours of a picture: with more it takes several times the room."""
_COLOURS: Final = {"green": "#3f9b4f", "orange": "#e08b1a", "red": "#d0342c", "blue": "#2f6fb5"}
_LINES: Final = 6
"""Entries of a legend: there is no room for more."""
_DURATIONS: Final = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"), (1e-3, "ms"))


def value(number: float, unit: str) -> str:
    """A value as Grafana writes it, nearly."""
    if unit == "percentunit":
        return f"{number:.1%}"
    if unit == "s" and number:
        size, name = next(((size, name) for size, name in _DURATIONS if abs(number) >= size), (1e-3, "ms"))
        return f"{number / size:.3g} {name}"
    if unit in ("bytes", "Bps"):
        power = next((p for p in (3, 2, 1) if abs(number) >= 1024**p), 0)
        return f"{number / 1024**power:.3g} {('B', 'KiB', 'MiB', 'GiB')[power]}{'/s' if unit == 'Bps' else ''}"
    suffix = "/s" if unit in ("ops", "cps") else ""
    return f"{number:,.0f}{suffix}" if abs(number) >= 1000 or number == int(number) else f"{number:.3g}{suffix}"


def colour(number: float, defaults: Mapping[str, Any]) -> str:
    """By the panel's thresholds."""
    steps = defaults["thresholds"]["steps"]
    name = [step["color"] for step in steps if step["value"] is None or number >= step["value"]][-1]
    return _COLOURS[name]


def word(number: float, defaults: Mapping[str, Any]) -> str:
    """The value's word, where the panel has one for it."""
    for mapping in defaults.get("mappings", ()):
        if (said := mapping["options"].get(f"{number:g}")) is not None:
            return str(said["text"])
    rounded = round(number) if defaults.get("decimals") == 0 else number
    return value(rounded, defaults["unit"])


def _frame(axes: Axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color("#d8d8d8")


def _number(axes: Axes, what: Shown, _period: Period) -> None:
    _frame(axes)
    defaults = what.panel["fieldConfig"]["defaults"]
    last = what.all[0].points[-1][1] if what.all else None
    text = defaults["noValue"] if last is None else word(last, defaults)
    shade = "#888888" if last is None else colour(last, defaults)
    axes.text(0.5, 0.45, text, ha="center", va="center", fontsize=20, color=shade, weight="bold")


def _legend(each: Series, unit: str) -> str:
    return f"{textwrap.shorten(each.legend, 38)}  {value(each.points[-1][1], unit)}"


def _graph(axes: Axes, what: Shown, period: Period) -> None:
    defaults = what.panel["fieldConfig"]["defaults"]
    unit, custom = defaults["unit"], defaults["custom"]
    axes.set_xlim(0, period.seconds)
    axes.tick_params(labelsize=7, colors="#555555")
    axes.grid(color="#ececec")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda number, _: value(number, unit)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f"{int(seconds) // 60}:{int(seconds) % 60:02}"))
    if not what.all:
        axes.text(0.5, 0.5, defaults.get("noValue", "none"), transform=axes.transAxes, ha="center", color="#888888")
        return
    _plot(axes, what.all, period, stacked=custom["stacking"]["mode"] == "normal")
    top = max(axes.get_ylim()[1], 1e-9)
    if custom["thresholdsStyle"]["mode"] == "dashed":
        for step in defaults["thresholds"]["steps"][1:]:
            if step["value"] <= top * 1.2:
                axes.axhline(step["value"], color=_COLOURS[step["color"]], linestyle="--", linewidth=0.8)
    axes.set_ylim(defaults.get("min"), top)
    labels = [_legend(each, unit) for each in what.all[:_LINES]]
    axes.legend(labels, fontsize=6.5, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.12), frameon=False)


def _plot(axes: Axes, series: Sequence[Series], period: Period, *, stacked: bool) -> None:
    if not stacked:
        for each in series:
            axes.plot([when - period.start for when, _ in each.points], [number for _, number in each.points], lw=1.3)
        return
    times = sorted({when for each in series for when, _ in each.points})
    heights = [[dict(each.points).get(when, 0.0) for when in times] for each in series]
    axes.stackplot([when - period.start for when in times], heights, alpha=0.75)


def _states(axes: Axes, what: Shown, period: Period) -> None:
    _frame(axes)
    defaults = what.panel["fieldConfig"]["defaults"]
    axes.set_xlim(0, period.seconds)
    axes.set_ylim(len(what.all) - 0.4, -0.6)
    for line, each in enumerate(what.all):
        for (when, number), (until, _) in zip(each.points, [*each.points[1:], (period.end, 0.0)], strict=True):
            start = when - period.start
            axes.barh(line, until - when, left=start, height=0.6, color=colour(number, defaults), linewidth=0)
        text = f"{each.legend}: {word(each.points[-1][1], defaults)}"
        axes.text(each.points[0][0] - period.start + 2, line, text, va="center", fontsize=8, color="white")


def _table(axes: Axes, what: Shown, _period: Period) -> None:
    """The queries' series joined by their labels, as the transformation ``merge`` does."""
    _frame(axes)
    units = {each["matcher"]["options"]: each["properties"][0]["value"] for each in _overrides(what)}
    names = {target["refId"]: target["legendFormat"] for target in what.panel["targets"]}
    labels = sorted({label for each in what.all for label in each.labels})
    rows: list[dict[str, str]] = []
    for ref, found in what.series.items():
        for each in found:
            number = each.points[-1][1]
            unit = units.get(names[ref], "short")
            text = value(round(number) if unit == "short" else number, unit)
            _merge(rows, {**each.labels, ref: text})
    cells = sorted([row.get(column, "") for column in (*labels, *names)] for row in rows)[:12]
    if not cells:
        return
    heads = [textwrap.fill(name, 14) for name in (*labels, *names.values())]
    drawn = axes.table(cells, colLabels=heads, loc="upper center", cellLoc="left", edges="horizontal")
    drawn.auto_set_font_size(False)
    drawn.set_fontsize(7)
    drawn.auto_set_column_width(list(range(len(heads))))
    for (row, _), cell in drawn.get_celld().items():
        cell.set_height(0.14 if row == 0 else 0.075)
        cell.set_edgecolor("#dddddd")


def _merge(rows: list[dict[str, str]], cells: dict[str, str]) -> None:
    """Add ``cells`` to the first row that says nothing else in any of them, or as a row of their own."""
    for row in rows:
        if all(row.get(column, text) == text for column, text in cells.items()):
            row.update(cells)
            return
    rows.append(cells)


def _overrides(what: Shown) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = what.panel["fieldConfig"].get("overrides", [])
    return found


def _text(axes: Axes, what: Shown, _period: Period) -> None:
    _frame(axes)
    plain = what.panel["options"]["content"].replace("**", "").replace("`", "")
    wrapped = "\n\n".join(textwrap.fill(part, 62) for part in plain.split("\n\n"))
    axes.text(0.02, 0.95, wrapped, va="top", fontsize=7.5)


_KINDS: Final[Mapping[str, Callable[[Axes, Shown, Period], None]]] = {
    "stat": _number,
    "timeseries": _graph,
    "state-timeline": _states,
    "table": _table,
    "text": _text,
}


def _place(figure: Figure, panel: Mapping[str, Any], height: float) -> Axes:
    """Axes at the panel's place, with room for its title above and a legend below."""
    place = panel["gridPos"]
    below = 2.2 if panel["type"] == "timeseries" else 0.25
    left = place["x"] + (1.0 if panel["type"] == "timeseries" else 0.15)
    right = place["x"] + place["w"] - 0.2
    bottom, top = place["y"] + place["h"] - below + 2, place["y"] + 0.9 + 2
    return figure.add_axes((left / 24, 1 - bottom / height, (right - left) / 24, (bottom - top) / height))


def draw(title: str, panels: Sequence[Shown], marks: Sequence[tuple[str, float]], period: Period, file: Path) -> None:
    """Write the picture of one dashboard."""
    height = max(each.panel["gridPos"]["y"] + each.panel["gridPos"]["h"] for each in panels) + 2.5
    figure = plt.figure(figsize=(WIDTH, height * ROW), facecolor="white")
    note = "drawn by matplotlib from this dashboard's own queries, of a real Prometheus (make pictures); not Grafana"
    figure.text(0.006, 1 - 1.2 / height, title, fontsize=15, weight="bold")
    figure.text(0.994, 1 - 1.1 / height, note, fontsize=8.5, ha="right", color="#666666")
    for each in panels:
        if each.panel["type"] == "row":
            y = 1 - (each.panel["gridPos"]["y"] + 0.75 + 2) / height
            figure.text(0.006, y, each.panel["title"], fontsize=11, weight="bold", color="#444444")
            continue
        axes = _place(figure, each.panel, height)
        axes.set_title(each.panel["title"], fontsize=8.5, loc="left", pad=3)
        _KINDS[each.panel["type"]](axes, each, period)
        if each.panel["type"] == "timeseries":
            for _, when in marks:
                axes.axvline(when - period.start, color="#5b7fb5", linestyle=":", linewidth=1)
    figure.savefig(file, dpi=DPI)
    plt.close(figure)
    with Image.open(file) as picture:
        small = picture.convert("RGB").quantize(_SHADES)
    small.save(file, optimize=True)
