"""What the samples for Promtail and Vector name is in the lines. Neither program is run here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
import structlog
import yaml

from mailguard import log

LOGGING = Path(__file__).parents[3] / "deploy/logging"
PROMTAIL = yaml.safe_load((LOGGING / "promtail.yml").read_text())
VECTOR = yaml.safe_load((LOGGING / "vector.yaml").read_text())
HOSTILE = 'x" level=error event=message {"event":"message"} \\'
BOUNDED = {"level", "event", "job"}


@pytest.fixture
def _log() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def _line(format_: str, capsys: pytest.CaptureFixture[str]) -> str:
    log.configure(format_)
    log.logger.info("connection", ref="ABC-1", helo=HOSTILE, end="quit")
    return capsys.readouterr().out.rstrip("\n")


def _logfmt(line: str) -> dict[str, str]:
    """As Vector's ``parse_logfmt`` and Go's logfmt read it: pairs at blanks, values in quotes with escapes."""
    pairs = re.findall(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)(?: |$)', line)
    return {key: json.loads(value) if value.startswith('"') else value for key, value in pairs}


@pytest.mark.usefixtures("_log")
def test_promtail_finds_its_fields_in_a_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    event = json.loads(_line("json", capsys))
    stages = {name: stage for each in PROMTAIL["scrape_configs"][0]["pipeline_stages"] for name, stage in each.items()}
    found = {name: event[path] for name, path in stages["json"]["expressions"].items()}
    assert (found["level"], found["event"]) == ("info", "connection")
    assert datetime.fromisoformat(found[stages["timestamp"]["source"]]).tzinfo
    assert set(stages["labels"]) < BOUNDED
    assert set(stages["labels"]) <= set(found)


@pytest.mark.usefixtures("_log")
@pytest.mark.parametrize("format_", ["json", "logfmt"])
def test_vector_finds_its_fields_in_both_formats(capsys: pytest.CaptureFixture[str], format_: str) -> None:
    line = _line(format_, capsys)
    assert line.startswith("{") == (format_ == "json")
    fields = json.loads(line) if line.startswith("{") else _logfmt(line)
    assert (fields["level"], fields["event"], fields["helo"]) == ("info", "connection", HOSTILE)
    assert "string!(.time)" in VECTOR["transforms"]["mailguard"]["source"]
    assert datetime.fromisoformat(fields["time"]).tzinfo
    labels = VECTOR["sinks"]["loki"]["labels"]
    assert set(labels) == BOUNDED
    assert {re.sub(r"[{} ]", "", value) for value in labels.values()} - {"mailguard"} <= log.FIELDS.keys()
