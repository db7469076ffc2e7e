"""The dashboards: committed as generated, fit for Grafana, and fit to be read at 3 am."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.grafana.source import query
from deploy.grafana.source.__main__ import main, stale
from deploy.grafana.source.pages import DASHBOARDS, path_of
from mailguard.metrics import METRICS

ROOT = Path(__file__).parents[3]
FILES = {page.slug: json.loads(path_of(page).read_text()) for page in DASHBOARDS}
ALERTS = yaml.safe_load((ROOT / "deploy/prometheus/mailguard.alerts.yml").read_text())
RECORDED = yaml.safe_load((ROOT / "deploy/prometheus/mailguard.recording.yml").read_text())

SCALARS = {"s", "bytes", "Bps", "ops", "cps", "short", "percentunit"}
"""Grafana's names of units that we use; it draws an unknown one as text behind each value."""


def panels(kind: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each panel of each dashboard but the headings, with a name that tells where it is."""
    for slug, page in FILES.items():
        for panel in page["panels"]:
            if panel["type"] != "row" and (not kind or panel["type"] == kind):
                yield f"{slug}: {panel['title']}", panel


def expressions() -> Iterator[tuple[str, str]]:
    """Each PromQL expression of panels and marks."""
    for name, panel in panels():
        yield from ((name, target["expr"]) for target in panel.get("targets", ()))
    for slug, page in FILES.items():
        yield from ((f"{slug}: {mark['name']}", mark["expr"]) for mark in page["annotations"]["list"])


def test_files_are_what_the_code_makes() -> None:
    assert stale() == []


def test_a_file_that_was_edited_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for module in ("pages", "__main__"):
        monkeypatch.setattr(f"deploy.grafana.source.{module}.FOLDER", tmp_path)
    monkeypatch.setattr("sys.argv", ["source"])
    assert main() == 0
    assert stale() == []
    (tmp_path / "mailguard-lists.json").write_text("{}\n")
    (tmp_path / "other.json").write_text("{}\n")
    monkeypatch.setattr("sys.argv", ["source", "--check"])
    assert main() == 1
    told = capsys.readouterr().err.splitlines()
    assert [line.split(" ")[0].rpartition("/")[2] for line in told] == ["mailguard-lists.json", "other.json"]


@pytest.mark.parametrize("slug", FILES)
def test_nothing_is_lost_between_the_file_and_grafanas_own_shapes(slug: str) -> None:
    """A field that Grafana does not know would be gone when its model is written again."""
    again = json.loads(json.dumps(Dashboard.from_json(FILES[slug]), cls=JSONEncoder))
    assert again == FILES[slug]


def test_every_panel_has_words_for_who_looks_at_it() -> None:
    found = dict(panels())
    assert len(found) > 60
    for name, panel in found.items():
        assert len(panel["description"]) > 10, name
        if panel["type"] == "text":
            continue
        assert panel["targets"], name
        assert panel["fieldConfig"]["defaults"]["unit"] in SCALARS, name
        assert panel["fieldConfig"]["defaults"]["thresholds"]["steps"], name
        assert all(target["legendFormat"] for target in panel["targets"]), name


def test_ids_and_titles_are_unique() -> None:
    for slug, page in FILES.items():
        for key in ("id", "title"):
            values = [panel[key] for panel in page["panels"]]
            assert len(values) == len(set(values)), (slug, key)
    assert len({page["uid"] for page in FILES.values()}) == len(FILES)


def _cells(panel: dict[str, Any]) -> set[tuple[int, int]]:
    place = panel["gridPos"]
    return {
        (x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])
    }


def test_panels_stand_beside_one_another() -> None:
    for slug, page in FILES.items():
        taken: set[tuple[int, int]] = set()
        for panel in page["panels"]:
            cells = _cells(panel)
            assert not cells & taken, (slug, panel["title"])
            assert max(x for x, _ in cells) < 24, (slug, panel["title"])
            taken |= cells


def test_all_of_what_is_asked_heeds_the_choices() -> None:
    for name, expression in expressions():
        for series in re.findall(r"(?:mailguard_\w+|\bup)(?:\{[^}]*\})?", expression):
            assert series.endswith('job=~"$job",instance=~"$instance"}'), (name, series)


def test_every_metric_is_shown_somewhere() -> None:
    """A metric that no panel shows is either not worth having, or its panel was forgotten."""
    everything = " ".join(expression for _, expression in expressions())
    rules = " ".join(rule["expr"] for group in RECORDED["groups"] for rule in group["rules"])
    missing = [spec.name for spec in METRICS if spec.name not in everything + rules]
    assert missing == []


def test_variables_are_declared() -> None:
    own = {"__rate_interval", "__range", "docs"}
    for slug, page in FILES.items():
        declared = {variable["name"] for variable in page["templating"]["list"]} | own
        used = set(re.findall(r"\$\{?(\w+)", json.dumps(page["panels"]) + json.dumps(page["annotations"])))
        assert used <= declared, (slug, used - declared)


def test_links_lead_to_the_runbook_of_an_alert() -> None:
    alerts = {rule["alert"] for group in ALERTS["groups"] for rule in group["rules"]}
    linked = [link["url"] for _, panel in panels() for link in panel.get("links", ())]
    assert len(linked) > 25
    for url in linked:
        prefix, name = url.rsplit("/", 1)
        assert prefix == "${docs}/runbooks"
        assert name.removesuffix(".md") in alerts


def test_recorded_series_are_recorded() -> None:
    recorded = {rule["record"] for group in RECORDED["groups"] for rule in group["rules"]}
    used = {name for _, text in expressions() for name in re.findall(r"\b\w+:mailguard_\w+:\w+", text)}
    assert used <= recorded


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (lambda: query.rate("nothing_total"), "no counter mailguard_nothing_total"),
        (lambda: query.gauge("messages_total"), "no gauge mailguard_messages_total"),
        (lambda: query.rate("messages_total", "zone"), "no label zone"),
        (lambda: query.rate("messages_total", where='client="x"'), "no label client"),
        (lambda: query.quantile(0.5, "scans_total"), "no histogram mailguard_scans_total"),
    ],
)
def test_what_does_not_exist_cannot_be_asked_for(asked: Any, complaint: str) -> None:
    with pytest.raises(query.UnknownMetric, match=complaint):
        asked()
