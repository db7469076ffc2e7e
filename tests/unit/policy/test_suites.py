"""Cases in files beside the policy, and the command that runs them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mailguard.cli import app
from mailguard.policy_files import MAX_FILES, cases_beside, draft, load
from mailguard.positions import Problems

POLICY = """\
mailguard_policy: 1
rules:
  content:
    - {name: large, if: message.size > 1000000, then: reject}
    - {name: spam, if: spam.score >= 5, then: file, folder: Junk}
unavailable: {spamassassin: {down: deliver, unscannable: deliver}}
cases:
  - {name: ham, expect: {accept: true}}
"""
BESIDE = """\
mailguard_cases: 1
cases:
  - {name: much spam, given: {spam.score: 9}, expect: {file: Junk}}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "policy.yaml"
    found.write_text(POLICY)
    return found


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["test", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_none_need_be_there(path: Path) -> None:
    assert cases_beside(path) == []
    assert load(path).cases == 1


def test_one_file_and_a_folder_of_them(path: Path) -> None:
    folder = path.with_name("policy.cases")
    folder.mkdir()
    for name in ("b.yaml", "a.yaml", ".a.yaml", "a.yaml~", "README"):
        (folder / name).write_text(BESIDE)
    path.with_name("policy.cases.yaml").write_text(BESIDE)
    path.with_name("other.cases.yaml").write_text("no YAML: [")
    names = [file.name for file in cases_beside(path)]
    assert names == ["policy.cases.yaml", "a.yaml", "b.yaml"]
    assert load(path).cases == 4


def test_one_that_fails_keeps_the_policy_from_loading(path: Path) -> None:
    beside = path.with_name("policy.cases.yaml")
    beside.write_text(BESIDE.replace("file: Junk", "accept: true"))
    with pytest.raises(Problems) as found:
        load(path)
    (problem,) = found.value.problems
    assert (problem.where, problem.message) == (
        f"{beside}:3:47",
        "case 'much spam' comes out otherwise: expected accept, got file Junk by rule 'spam'",
    )


def test_what_is_wrong_with_them_is_told_with_what_is_wrong_with_the_policy(path: Path) -> None:
    path.write_text(POLICY.replace("spam.score >= 5", "spam.scor >= 5"))
    path.with_name("policy.cases.yaml").write_text("mailguard_cases: 2\ncase: []\n")
    folder = path.with_name("policy.cases")
    folder.mkdir()
    (folder / "a.yaml").write_text(BESIDE.replace("spam.score", "spam.scor"))
    with pytest.raises(Problems) as found:
        load(path)
    told = [f"{Path(p.file).name}:{p.line}: {p.message}" for p in found.value.problems]
    assert told == [
        "policy.cases.yaml:1: `cases` is missing",
        "policy.cases.yaml:1: `mailguard_cases` must be 1, not `2`",
        "policy.cases.yaml:2: `case` is not known here",
        "a.yaml:3: there is no fact `spam.scor`",
        "policy.yaml:5: there is no fact `spam.scor`",
    ]


def test_they_are_part_of_what_was_loaded(path: Path) -> None:
    before = load(path).digest
    path.with_name("policy.cases.yaml").write_text(BESIDE)
    assert load(path).digest != before


def test_a_link_that_leads_nowhere_is_told(path: Path) -> None:
    path.with_name("policy.cases.yaml").symlink_to("nowhere.yaml")
    with pytest.raises(Problems, match=r"policy\.cases\.yaml:1:1: this file cannot be read: no such file"):
        load(path)


def test_a_folder_that_is_none_is_told(path: Path) -> None:
    path.with_name("policy.cases").write_text("")
    with pytest.raises(Problems, match=r"policy\.cases:1:1: this folder cannot be read: not a directory"):
        load(path)


def test_there_is_a_bound(path: Path) -> None:
    folder = path.with_name("policy.cases")
    folder.mkdir()
    for number in range(MAX_FILES + 1):
        (folder / f"{number}.yaml").write_text(BESIDE)
    with pytest.raises(Problems, match="holds more than 256 files of cases"):
        draft(path)


class TestTheCommand:
    def test_all_pass(self, path: Path) -> None:
        status, out, err = run(path)
        assert (status, err) == (0, "")
        assert out == (
            f"{path}:8: passed: ham\n\n"
            f"{path}:4: not exercised: in no case rule 'large' fires\n"
            f"{path}:5: not exercised: in no case rule 'spam' fires\n"
            f"{path}:4: one side only: in no case `message.size > 1000000` settles rule 'large' by being true\n"
            f"{path}:5: one side only: in no case `spam.score >= 5` settles rule 'spam' by being true\n\n"
            "1 passed, 0 failed; 0 of 2 rules exercised, 0 of 2 thresholds shown from both sides\n"
        )

    def test_one_fails(self, path: Path) -> None:
        path.with_name("policy.cases.yaml").write_text(BESIDE.replace("file: Junk", "reject: 554"))
        status, out, err = run(path)
        assert (status, err) == (1, "")
        assert f"{path.with_name('policy.cases.yaml')}:3: FAILED: much spam\n" in out
        assert "case 'much spam' comes out otherwise: expected reject 554, got file Junk by rule 'spam'\n" in out
        assert "    because: content rule 'large' did not fire\n       then: content rule 'spam' fired\n" in out
        assert out.endswith("1 passed, 1 failed; 1 of 2 rules exercised, 1 of 2 thresholds shown from both sides\n")

    def test_the_values_nearest_to_each_threshold(self, path: Path) -> None:
        path.with_name("policy.cases.yaml").write_text(BESIDE)
        status, out, _ = run(path, "--verbose")
        assert status == 0
        assert f"{path}:5: rule 'spam': much spam\n" in out
        assert f"{path}:5: rule 'spam': `spam.score >= 5`: true at 9, false at 0\n" in out
        assert f"{path}:4: rule 'large': `message.size > 1000000`: true at no value, false at 2048\n" in out

    def test_a_policy_that_does_not_load(self, path: Path) -> None:
        path.write_text(POLICY.replace("spam.score >= 5", "spam.scor >= 5"))
        status, out, err = run(path)
        assert (status, out) == (os.EX_CONFIG, "")
        assert f"{path}:5:24: there is no fact `spam.scor`" in err
        assert err.endswith("\n\nnothing was tested\n")

    def test_for_machines(self, path: Path) -> None:
        path.with_name("policy.cases.yaml").write_text(BESIDE.replace("file: Junk", "reject: 554"))
        status, out, _ = run(path, "--json")
        found = json.loads(out)
        assert status == 1
        assert (found["policy"], found["digest"]) == (str(path), draft(path).policy.digest)
        assert (found["passed"], found["failed"]) == (1, 1)
        assert [(case["name"], case["passed"]) for case in found["cases"]] == [("ham", True), ("much spam", False)]
        assert found["cases"][1]["problem"]["steps"][0] == "content rule 'large' did not fire"
        assert found["rules"][1] == {"name": "spam", "file": str(path), "line": 5, "cases": ["much spam"]}
        assert found["thresholds"][1] == {
            "rule": "spam",
            "file": str(path),
            "line": 5,
            "comparison": "spam.score >= 5",
            "profile": None,
            "limit": 5.0,
            "nearest_true": 9.0,
            "nearest_false": 0.0,
        }

    def test_problems_for_machines(self, path: Path) -> None:
        path.write_text("mailguard_policy: 1\n")
        status, out, err = run(path, "--json")
        assert (status, err) == (os.EX_CONFIG, "")
        (problem,) = json.loads(out)["problems"]
        assert (problem["line"], problem["message"]) == (1, "`rules` is missing")

    def test_a_policy_is_named_as_by_other_commands(self, path: Path) -> None:
        assert run("--policy", path)[:2] == run(path)[:2]
        status, _, said = run(path, "--policy", path)
        assert (status, "named twice" in said) == (os.EX_USAGE, True)

    def test_the_policy_that_a_configuration_names(self, path: Path, tmp_path: Path) -> None:
        config = tmp_path / "mailguard.yaml"
        config.write_text(
            "hostname: mx.example.com\nrelay_domains: [example.com]\nlisten: [{address: '127.0.0.1:0'}]\n"
            "backends: [{address: '127.0.0.1:10025'}]\npolicy: policy.yaml\n"
        )
        status, out, _ = run("--config", config)
        assert (status, out.partition("\n")[0]) == (0, f"{path}:8: passed: ham")
