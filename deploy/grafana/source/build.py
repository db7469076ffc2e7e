"""Grafana's JSON of a dashboard, by grafana-foundation-sdk, whose classes are Grafana's own schema."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from typing import Any, Final

from grafana_foundation_sdk.builders import common, prometheus, stat, statetimeline, table, text, timeseries
from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.source import frame
from deploy.grafana.source.model import Dashboard, Panel, Query, Steps

_IDENTITIES: Final = "ABCDEFGHIJ"


def _thresholds(steps: Steps) -> grafana.ThresholdsConfig:
    found = [models.Threshold(value=None, color=steps.base)]
    found += [models.Threshold(value=value, color=colour) for value, colour in steps.steps]
    return grafana.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(found)


def _words(panel: Panel) -> list[models.ValueMapping]:
    options = {
        str(value): models.ValueMappingResult(text=word, index=index)
        for index, (value, word) in enumerate(panel.words.items())
    }
    return [models.ValueMap(options=options)] if options else []


def _target(query: Query, ref: str, panel: Panel) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.promql).legend_format(query.legend).ref_id(ref).datasource(frame.SOURCE)
    if panel.kind == "table":
        return target.instant().format(PromQueryFormat.TABLE)
    return target.instant() if panel.kind == "number" else target.range()


def _lines(panel: Panel) -> timeseries.Panel:
    stacked = panel.kind == "stacked"
    style = "dashed" if panel.steps.steps else "off"
    return (
        timeseries.Panel()
        .legend(
            common.VizLegendOptions()
            .display_mode(shapes.LegendDisplayMode.TABLE)
            .placement(shapes.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs(["lastNotNull", "mean", "max"])
        )
        .tooltip(common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI).sort(shapes.SortOrder.DESCENDING))
        .draw_style(shapes.GraphDrawStyle.LINE)
        .line_width(1)
        .fill_opacity(40 if stacked else 0)
        .show_points(shapes.VisibilityMode.NEVER)
        .color_scheme(grafana.FieldColor().mode(models.FieldColorModeId.PALETTE_CLASSIC))
        .stacking(
            common.StackingConfig().mode(shapes.StackingMode.NORMAL if stacked else shapes.StackingMode.NONE).group("A")
        )
        .thresholds_style(common.GraphThresholdsStyleConfig().mode(shapes.GraphThresholdsStyleMode(style)))
    )


def _number(_panel: Panel) -> stat.Panel:
    return (
        stat.Panel()
        .graph_mode(shapes.BigValueGraphMode.NONE)
        .color_mode(shapes.BigValueColorMode.VALUE)
        .text_mode(shapes.BigValueTextMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).fields("").values(False))
        .color_scheme(grafana.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    )


def _states(_panel: Panel) -> statetimeline.Panel:
    return (
        statetimeline.Panel()
        .show_value(shapes.VisibilityMode.AUTO)
        .merge_values(True)
        .row_height(0.8)
        .legend(
            common.VizLegendOptions()
            .display_mode(shapes.LegendDisplayMode.LIST)
            .placement(shapes.LegendPlacement.BOTTOM)
            .show_legend(True)
            .calcs([])
        )
        .color_scheme(grafana.FieldColor().mode(models.FieldColorModeId.THRESHOLDS))
    )


def _table(panel: Panel) -> table.Panel:
    """The queries' rows joined by their labels, a column a query: ``merge``, then names in place of ``Value #A``."""
    columns = {f"Value #{ref}": query.legend for ref, query in zip(_IDENTITIES, panel.queries, strict=False)}
    made = (
        table.Panel()
        .show_header(True)
        .filterable(True)
        .with_transformation(models.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            models.DataTransformerConfig(
                id_val="organize", options={"excludeByName": {"Time": True}, "renameByName": columns}
            )
        )
        .color_scheme(grafana.FieldColor().mode(models.FieldColorModeId.FIXED).fixed_color("text"))
    )
    for query in panel.queries:
        if query.unit:
            made = made.override_by_name(query.legend, [models.DynamicConfigValue(id_val="unit", value=query.unit)])
    return made


def _text(panel: Panel) -> text.Panel:
    return text.Panel().content(panel.text)


_KINDS: Final[dict[str, Callable[[Panel], Any]]] = {
    "lines": _lines,
    "stacked": _lines,
    "number": _number,
    "states": _states,
    "table": _table,
    "text": _text,
}


def _values(made: Any, panel: Panel) -> None:
    """How values are shown: unit, colours, words, bounds of the axis."""
    made.unit(panel.unit).thresholds(_thresholds(panel.steps)).mappings(_words(panel)).no_value(panel.silent)
    if panel.decimals is not None:
        made.decimals(panel.decimals)
    if panel.kind in ("lines", "stacked"):
        if panel.least is not None:
            made.min(panel.least)
        if panel.most is not None:
            made.max(panel.most)


def _panel(panel: Panel, identity: int) -> Any:
    made = _KINDS[panel.kind](panel)
    made.id(identity).title(panel.title).description(panel.description).span(panel.width).height(panel.height)
    if panel.alert:
        made.links([frame.runbook(panel.alert)])
    if panel.queries:
        made.datasource(frame.SOURCE)
        _values(made, panel)
    for ref, query in zip(_IDENTITIES, panel.queries, strict=False):
        made.with_target(_target(query, ref, panel))
    return made


def build(page: Dashboard) -> models.Dashboard:
    """The dashboard as Grafana's model; panels stand in rows, from left to right."""
    made = grafana.Dashboard(f"mailguard: {page.title}").uid(f"mailguard-{page.slug}").description(page.description)
    made.tags([frame.TAG]).time("now-6h", "now").refresh("1m").timezone("browser").editable()
    made.tooltip(models.DashboardCursorSync.CROSSHAIR)
    frame.add_variables(made, page.variables)
    frame.add_links(made)
    frame.add_marks(made)
    identities = count(1)
    for row in page.rows:
        made.with_row(grafana.Row(row.title).id(next(identities)))
        for panel in row.panels:
            made.with_panel(_panel(panel, next(identities)))
    return made.build()


def to_json(page: Dashboard) -> str:
    """The file's content."""
    return json.dumps(build(page), cls=JSONEncoder, indent=2, ensure_ascii=False, sort_keys=True) + "\n"
