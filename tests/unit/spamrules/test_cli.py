"""``mailguard spamrules``: output and exit status."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mailguard.cli.spamrules import app
from mailguard.spamrules.taint import TaintList


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.exit_code, result.output


def test_show_one_rule() -> None:
    assert run("show", "GTUBE") == (0, "GTUBE: known free; looks at content\n")
    code, text = run("show", "RCVD_IN_SBL")
    assert code == 0
    assert text.splitlines() == [
        "RCVD_IN_SBL: tainted; looks at received",
        "  __RCVD_IN_ZEN <- check_rbl: a list about relays in Received",
    ]


def test_show_a_rule_that_is_not_there() -> None:
    code, text = run("show", "NO_SUCH_RULE")
    assert code == os.EX_UNAVAILABLE
    assert "not in the list" in text


def test_show_counts() -> None:
    code, text = run("show")
    assert code == 0
    assert "known free" in text
    assert TaintList.load().digest in text


def test_derive_and_show_what_was_written(tmp_path: Path) -> None:
    (tmp_path / "a.cf").write_text("body A /x/\nheader B Received =~ /x/\n")
    written = tmp_path / "list.json"
    code, text = run("derive", tmp_path, "--write", written)
    assert code == 0
    assert "2 rules" in text
    assert run("show", "B", "--file", written)[1].startswith("B: tainted")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("derive", "/nonexistent"), os.EX_NOINPUT),
        (("show", "--file", "/nonexistent"), os.EX_NOINPUT),
        (("show", "--file", __file__), os.EX_DATAERR),
    ],
)
def test_bad_input_is_one_clear_line(arguments: tuple[str, ...], code: int) -> None:
    status, text = run(*arguments)
    assert status == code
    assert text.startswith("mailguard: ")
    assert text.count("\n") == 1


def test_a_list_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "a.cf").write_text("body A /x/\n")
    assert run("derive", tmp_path, "--write", tmp_path / "no" / "list.json")[0] == os.EX_CANTCREAT
