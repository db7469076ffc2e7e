"""What all dashboards share: datasource, variables, links to one another and to the docs, marks of what was changed.

``$job`` and ``$instance`` are labels that Prometheus adds, so they fit every panel. There is no variable of listeners
or policies, since no metric has such a label: a node has one policy at a time, and which listener a client came to is
in the log and the journal.
"""

from __future__ import annotations

from typing import Final

from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from deploy.grafana.source.model import Variable
from deploy.grafana.source.query import raw

SOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG: Final = "mailguard"
DOCS: Final = "https://mailguard.example/docs"
"""Where the docs are: a reserved name, which stands in one place of each dashboard, the variable ``docs``."""

_ALL: Final = VariableOption(text="All", value="$__all", selected=True)


def _choice(name: str, label: str, query: str, description: str) -> grafana.QueryVariable:
    return (
        grafana.QueryVariable(name)
        .label(label)
        .description(description)
        .datasource(SOURCE)
        .query({"query": query, "refId": f"variable-{name}", "qryType": 1})
        .current(_ALL)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
    )


def add_variables(page: grafana.Dashboard, more: tuple[Variable, ...]) -> None:
    """Datasource, job, instance, then the page's own, and where the docs are."""
    page.with_variable(grafana.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    page.with_variable(
        _choice("job", "Job", "label_values(mailguard_build_info, job)", "Jobs that fetch mailguard's metrics.")
    )
    nodes = 'label_values(mailguard_build_info{job=~"$job"}, instance)'
    page.with_variable(_choice("instance", "Node", nodes, "Nodes, as Prometheus names them."))
    for each in more:
        query = f"label_values({raw(each.metric, 'counter')}, {each.name})"
        page.with_variable(_choice(each.name, each.label, query, each.description))
    page.with_variable(grafana.ConstantVariable("docs").label("Docs").value(DOCS))


def add_links(page: grafana.Dashboard) -> None:
    """To the other dashboards, with the same time and choices, and to the docs."""
    page.link(
        grafana.DashboardLink("Dashboards")
        .type(DashboardLinkType.DASHBOARDS)
        .tags([TAG])
        .icon("external link")
        .include_vars(True)
        .keep_time(True)
    )
    page.link(
        grafana.DashboardLink("What to do")
        .type(DashboardLinkType.LINK)
        .url("${docs}/dashboards.md")
        .icon("doc")
        .tooltip("What the panels show, and where to go from there")
        .target_blank(True)
    )


def add_marks(page: grafana.Dashboard) -> None:
    """A mark in every graph where something was changed. Each compares with a minute before: Grafana asks for marks
    in steps of a minute, so that each change gives one."""
    loaded, generation = raw("policy_load_timestamp_seconds"), raw("generation")
    restarts, version = raw("process_restarts_total", "counter"), raw("build_info")
    for name, promql, colour in (
        ("Policy loaded", f"({loaded} != ({loaded} offset 1m)) > 0", "blue"),
        ("New generation of workers", f"{generation} > ({generation} offset 1m)", "purple"),
        ("Process replaced", f"{restarts} > ({restarts} offset 1m)", "red"),
        ("Another version", f"{version} unless ({version} offset 1m)", "green"),
    ):
        page.annotation(
            grafana.AnnotationQuery().name(name).datasource(SOURCE).enable(True).icon_color(colour).expr(promql)
        )


def runbook(alert: str) -> grafana.DashboardLink:
    """A link of a panel to what to do when ``alert`` fires."""
    address = f"${{docs}}/runbooks/{alert}.md"
    return grafana.DashboardLink(f"What to do: {alert}").type(DashboardLinkType.LINK).url(address).target_blank(True)
