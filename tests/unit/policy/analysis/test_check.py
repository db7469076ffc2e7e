"""Warnings where people meet them: in `mailguard check`, and in none of the shipped policies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mailguard.cli import app
from mailguard.policy.analysis import Kind, written
from mailguard.policy.finding import MAX_WRITTEN
from mailguard.policy_files import load
from tests.unit.policy.support import rules

SHIPPED = sorted((Path(__file__).parents[4] / "policies").glob("*.yaml"))
POLICY = """\
mailguard_policy: 1
lists: {idle: [198.18.7.7]}
rules:
  envelope:
    - {name: no bounces, if: sender.is_null, then: reject}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "policy.yaml"
    found.write_text(POLICY)
    return found


def check(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["check", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_there_is_none_about_a_shipped_policy(path: Path) -> None:
    assert [str(finding) for finding in load(path).warnings] == []


def test_they_are_told_and_do_not_fail(path: Path) -> None:
    status, out, err = check("--policy", path)
    assert status == os.EX_OK
    assert out.startswith(f"{path}: ok, 1 envelope rule")
    assert err == (
        f"{path}:2:9: warning [unused]: no rule looks into the list `idle`\n"
        "  2 | lists: {idle: [198.18.7.7]}\n"
        "    |         ^^^^\n"
        "    hint: ask for it: client.ip in lists.idle\n\n"
        f"{path}:5:52: warning [reply]: rule 'no bounces' refuses and tells no reason\n"
        "  5 |     - {name: no bounces, if: sender.is_null, then: reject}\n"
        "    |                                                    ^^^^^^\n"
        "    hint: add `text`, with the reason and where to ask\n\n"
        "2 warnings\n"
    )


@pytest.mark.parametrize(
    ("allowed", "wanted"),
    [((), 78), (("unused",), 78), (("unused", "reply"), 0), (("one-list", "reply"), 78)],
)
def test_a_strict_check_fails_on_them(path: Path, allowed: tuple[str, ...], wanted: int) -> None:
    options = [part for kind in allowed for part in ("--allow", kind)]
    status, _, err = check("--policy", path, "--strict", *options)
    assert (status, err.endswith("\n\n2 warnings\n")) == (wanted, True)


def test_a_strict_check_passes_without(path: Path) -> None:
    path.write_text(POLICY.replace("reject", "accept").replace("lists: {idle: [198.18.7.7]}\n", ""))
    assert check("--policy", path, "--strict")[::2] == (0, "")


def test_an_unknown_kind_is_refused(path: Path) -> None:
    status, _, err = check("--policy", path, "--strict", "--allow", "nothing")
    assert status == os.EX_USAGE
    assert "never-matches" in err


def test_they_do_not_hide_a_problem(path: Path) -> None:
    path.write_text(POLICY + "cases: [{name: a, given: {sender.is_null: true}, expect: {accept: true}}]\n")
    status, _, err = check("--policy", path)
    assert (status, "warning" in err, err.endswith("\n\n1 problem\n")) == (78, False, True)


def test_a_great_many_are_not_all_written() -> None:
    found = rules("\n".join(["sender.is_null => reject"] * (MAX_WRITTEN + 3))).warnings
    assert len(found) > MAX_WRITTEN
    text = written(found)
    assert text.endswith(f"\n\nand {len(found) - MAX_WRITTEN} more")
    assert text.count("warning [") == MAX_WRITTEN


def test_they_stand_in_the_order_of_the_lines(path: Path) -> None:
    lines = [finding.problem.line for finding in load(path).warnings]
    assert lines == sorted(lines)
    assert {finding.kind for finding in load(path).warnings} == {Kind.UNUSED, Kind.REPLY}


def test_in_a_log_one_is_a_line(path: Path) -> None:
    first = load(path).warnings[0].in_one_line
    assert first == (
        f"{path}:2:9: no rule looks into the list `idle`; hint: ask for it: client.ip in lists.idle [unused]"
    )
