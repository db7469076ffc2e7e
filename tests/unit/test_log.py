"""The log: one line an event, whatever stands in it, and no field that is not declared."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

import mailguard
from mailguard import log


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def _logged_fields() -> Iterator[tuple[str, int, str]]:
    for path in Path(mailguard.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(("logger.", "log.logger.")):
                yield from ((path.name, node.lineno, word.arg) for word in node.keywords if word.arg)


def test_every_field_that_is_logged_is_declared() -> None:
    undeclared = [where for where in _logged_fields() if where[2] not in log.FIELDS]
    assert undeclared == []
    assert len(list(_logged_fields())) > 20


@pytest.mark.parametrize("value", ["two words", 'a "quote"', "line\r\nend", "tab\t", "back\\slash", "a=b", "ü\u2028"])
def test_a_hostile_value_stays_in_its_field(capsys: pytest.CaptureFixture[str], value: str) -> None:
    log.configure("logfmt")
    log.logger.info("connection", helo=value, end="quit")
    line = capsys.readouterr().out
    assert line.count("\n") == 1
    assert line.endswith(" end=quit\n")
    quoted = line.split(" helo=")[1].removesuffix(" end=quit\n")
    assert json.loads(quoted) == value


def test_plain_values_and_lists_are_greppable(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("logfmt")
    log.logger.info("message", ref="ABC-1", recipients=["a@b", "c@d"], folder=None, virus="")
    line = capsys.readouterr().out
    assert " event=message ref=ABC-1 recipients=a@b,c@d\n" in line
    assert line.startswith("time=20")


def test_json_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json")
    log.logger.info("message", ref="ABC-1", recipients=["a@b"], size=7)
    event = json.loads(capsys.readouterr().out)
    assert (event["event"], event["ref"], event["recipients"], event["size"]) == ("message", "ABC-1", ["a@b"], 7)
    assert event["level"] == "info"


@pytest.mark.parametrize("format_", ["json", "logfmt"])
def test_empty_fields_are_left_out(capsys: pytest.CaptureFixture[str], format_: str) -> None:
    log.configure(format_)
    log.logger.info("message", folder=None, cause="", dnsbl=[], weights=(), size=0, spam=0.0, backend=False)
    line = capsys.readouterr().out
    shown = [field for field in ("folder", "cause", "dnsbl", "weights", "size", "spam", "backend") if field in line]
    assert shown == ["size", "spam", "backend"]


def test_the_level_is_heeded(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("json", "warning")
    log.logger.info("message")
    log.logger.warning("dnsbl ill", zone="zen")
    assert [json.loads(line)["event"] for line in capsys.readouterr().out.splitlines()] == ["dnsbl ill"]
