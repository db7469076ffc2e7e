"""The dashboards as a TypeScript program that compiles only where they have the shapes of ``@grafana/schema``.

    python -m deploy.grafana.source.typed > dashboards.ts

Grafana's types leave a panel's ``options`` and ``custom`` open, since each kind of panel has its own. Here each panel
is held against those of its kind. What a Prometheus query consists of is not in that package: a test holds queries
against grafana-foundation-sdk's shapes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any, Final

from deploy.grafana.source.build import to_json
from deploy.grafana.source.pages import DASHBOARDS

_SHAPES: Final = "@grafana/schema/dist/esm/raw/composable"
_KINDS: Final = {
    "timeseries": ("timeseries", "TimeSeriesPanelCfg", "FieldConfig"),
    "stat": ("stat", "StatPanelCfg", ""),
    "state-timeline": ("statetimeline", "StateTimelinePanelCfg", "FieldConfig"),
    "table": ("table", "TablePanelCfg", "FieldConfig"),
    "text": ("text", "TextPanelCfg", ""),
}
"""Of each kind of panel: its folder, its file, and the name of the shape of ``custom``, where it has one."""

_HEAD: Final = """\
// What a value of type T looks like in JSON, where a member of an enum is its text or number.
type Plain<T> = T extends string ? `${T}` : T extends number | boolean | null | undefined ? T
  : T extends Array<infer E> ? Array<Plain<E>> : T extends object ? { [K in keyof T]: Plain<T[K]> } : T;
"""


def _imports() -> Iterator[str]:
    yield "import type { Dashboard, Panel, RowPanel } from '@grafana/schema';"
    for folder, file, _ in _KINDS.values():
        yield f"import type * as {folder} from '{_SHAPES}/{folder}/panelcfg/x/{file}_types.gen.js';"


def _declared(name: str, shape: str, value: Any) -> str:
    return f"export const {name}: Plain<{shape}> = {json.dumps(value, ensure_ascii=False)};"


def _panel(name: str, panel: dict[str, Any]) -> Iterator[str]:
    """A panel, its options and its ``custom``, each against its shape."""
    if panel["type"] == "row":
        yield _declared(name, "RowPanel", panel)
        return
    folder, _, custom = _KINDS[panel["type"]]
    yield _declared(name, "Panel", panel)
    yield _declared(f"{name}_options", f"Partial<{folder}.Options>", panel.get("options", {}))
    if custom:
        given = panel["fieldConfig"]["defaults"].get("custom", {})
        yield _declared(f"{name}_custom", f"Partial<{folder}.{custom}>", given)


def _without_extras(page: dict[str, Any]) -> dict[str, Any]:
    """Without what grafana-foundation-sdk writes and the types, which Grafana reads more openly than, do not declare:
    the query of a mark, which is its datasource's affair, and what only variables of intervals have."""
    for mark in page["annotations"]["list"]:
        del mark["expr"]
    for variable in page["templating"]["list"]:
        for name in ("auto", "auto_count", "auto_min"):
            variable.pop(name, None)
    return page


def program() -> Iterator[str]:
    """The lines of the program."""
    yield from _imports()
    yield _HEAD
    for page in DASHBOARDS:
        content = json.loads(to_json(page))
        yield _declared(page.slug, "Dashboard", _without_extras(content))
        for panel in content["panels"]:
            yield from _panel(f"{page.slug}_{panel['id']}", panel)


if __name__ == "__main__":
    sys.stdout.writelines(f"{line}\n" for line in program())
