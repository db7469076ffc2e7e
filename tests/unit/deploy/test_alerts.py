"""The rules for Prometheus: what they name exists, each alert says enough, has its page and its tests.

What promtool itself has to say of them is in tests/real/test_monitoring.py.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailguard.metrics import METRICS
from tests.support import promrules

ROOT = Path(__file__).parents[3]
RUNBOOKS = ROOT / "docs" / "runbooks"
ALERTS, RECORDS = promrules.alerts(), promrules.records()
TESTS = yaml.safe_load(promrules.TESTS.read_text())["tests"]
DECLARED = {spec.name: spec for spec in METRICS}
SELECTOR = re.compile(r"(?<![\w:])(mailguard_\w+)(?:\{([^}]*)\})?")


def selectors(expression: str) -> list[tuple[str, list[tuple[str, str, str]]]]:
    """The metrics of ours in an expression: name, and label, operator, value of each matcher."""
    return [
        (name, re.findall(r'(\w+)(=~|!~|!=|=)"([^"]*)"', matchers)) for name, matchers in SELECTOR.findall(expression)
    ]


def base(name: str) -> str:
    """The metric that a series belongs to: without the ending of a histogram's."""
    return name if name in DECLARED else re.sub(r"_(bucket|sum|count)$", "", name)


def enumerated(bounds: str) -> list[str]:
    """The values that a label may have, where its declaration names each: ``clean, bad, unknown``."""
    words = bounds.split(", ")
    return words if len(words) > 1 and all(re.fullmatch(r"\w+", word) for word in words) else []


def expanded(expression: str) -> str:
    """``expression`` with recorded ones in the place of their names."""
    for name in sorted(RECORDS, key=len, reverse=True):
        if name in expression:
            expression = expanded(expression.replace(name, f"({RECORDS[name]})"))
    return expression


def questions() -> list[str]:
    return [rule["expr"] for rule in promrules.rules()] + [expression for _, _, expression in promrules.panels()]


@pytest.mark.parametrize("expression", questions())
def test_every_metric_and_label_that_is_asked_for_exists(expression: str) -> None:
    for name, matchers in selectors(expression):
        spec = DECLARED[base(name)]
        for label, operator, value in matchers:
            if label in ("job", "instance", "le"):
                continue
            assert label in spec.labels, (name, label)
            words = enumerated(spec.labels[label])
            assert not words or operator not in ("=", "!=") or value in words, (name, label, value)


def test_names_in_expressions_are_found() -> None:
    assert selectors('rate(mailguard_scans_total{result="down"}[5m]) > job:mailguard_x:y') == [
        ("mailguard_scans_total", [("result", "=", "down")])
    ]


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_says_how_bad_it_is_and_where_to_read(name: str) -> None:
    alert = ALERTS[name]
    assert re.fullmatch(r"Mailguard[A-Z]\w+", name)
    assert alert["labels"]["severity"] in ("critical", "warning", "info")
    assert re.fullmatch(r"\d+[mh]", alert["for"])
    assert set(alert["annotations"]) == {"summary", "description", "runbook_url"}
    assert alert["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"


def test_each_alert_has_its_page_and_each_page_its_alert() -> None:
    assert {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"} == set(ALERTS)
    index = (RUNBOOKS / "README.md").read_text()
    assert re.findall(r"^\| \[(\w+)\]\(\1\.md\) \| (\w+) \|$", index, re.MULTILINE) == [
        (name, alert["labels"]["severity"]) for name, alert in ALERTS.items()
    ]


@pytest.mark.parametrize("name", ALERTS)
def test_each_page_says_what_it_means_and_what_to_do(name: str) -> None:
    page = (RUNBOOKS / f"{name}.md").read_text()
    severity, waits = ALERTS[name]["labels"]["severity"], ALERTS[name]["for"]
    assert page.startswith(f"# {name}\n\nSeverity **{severity}**, {'at once' if waits == '0m' else f'after {waits}'};")
    meaning, _, todo = page.partition("## What it means\n")[2].partition("## How to see it, and what to do\n")
    assert len(meaning.split()) > 15
    assert len(re.findall(r"^- ", todo, re.MULTILINE)) >= 2
    for metric, _ in selectors(page):
        assert base(metric) in DECLARED


def test_every_threshold_is_explained() -> None:
    """Of alerts whose expression compares with more than 0 or 1, and of no alert that is gone."""
    page = (ROOT / "docs" / "monitoring.md").read_text().partition("## Thresholds\n")[2].partition("\n## ")[0]
    explained = {
        name for row in re.findall(r"^\| (`.+?) \|", page, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    compared = {
        name
        for name, alert in ALERTS.items()
        if any(float(number) not in (0, 1) for number in re.findall(r"[<>]=? (\d+(?:\.\d+)?)", alert["expr"]))
    }
    assert len(compared) > 10
    assert compared <= explained <= set(ALERTS)


def of_alert(name: str, firing: bool) -> list[dict[str, Any]]:
    """The tests of an alert in which it fires, or does not."""
    return [
        test
        for test in TESTS
        for each in test["alert_rule_test"]
        if each["alertname"] == name and bool(each["exp_alerts"]) is firing
    ]


@pytest.mark.parametrize("firing", [True, False])
@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_is_tested_firing_and_not(name: str, firing: bool) -> None:
    """On series that its expression looks at: where there is nothing to see no alert is a wonder."""
    found = of_alert(name, firing)
    assert found
    asked = {metric for metric, _ in selectors(expanded(ALERTS[name]["expr"]))}
    for test in found:
        assert len(test["alert_rule_test"]) == 1
        given = {each["series"].partition("{")[0] for each in test["input_series"]}
        assert given
        assert asked <= given, test["name"]


def test_no_test_is_of_an_alert_that_is_gone() -> None:
    assert {each["alertname"] for test in TESTS for each in test["alert_rule_test"]} == set(ALERTS)


FIRST_COUNTS = {"mailguard_dnsbl_unmatched_codes_total": "tests/unit/checks/test_dnsbl.py tells, of each list"}
"""Counters whose first event is an alert, but which depend on the policy: where it is tested that they are there."""


def test_a_counter_whose_first_event_is_an_alert_is_there_before_it() -> None:
    """`increase()` of a series that begins at 1 is 0."""
    program = "from mailguard.metric_store import exposition; print(exposition(None).decode())"
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    there = {line.partition("{")[0].partition(" ")[0] for line in told.stdout.splitlines() if line[:1] != "#"}
    rare = {name for alert in ALERTS.values() for name in re.findall(r"increase\((\w+)[^>]*> 0(?!\.)", alert["expr"])}
    assert len(rare) > 5
    assert rare - there == set(FIRST_COUNTS)


def test_every_record_is_used() -> None:
    used = "\n".join(
        [rule["expr"] for rule in promrules.rules()] + [expression for _, _, expression in promrules.panels()]
    )
    assert [name for name in RECORDS if name not in used] == []


def test_a_minute_becomes_a_second() -> None:
    assert promrules.seconds_for_minutes("5m") == "5s"
    assert promrules.seconds_for_minutes("rate(x[1h] offset 1d) > 3") == "rate(x[60s] offset 1440s) > 3"
    assert promrules.seconds_for_minutes('x{zone="5m"} - 14 * 86400') == 'x{zone="5m"} - 14 * 86400'
