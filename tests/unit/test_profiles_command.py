"""``mailguard profiles``: who shares a transaction, in words and as JSON, and a file that is replaced whole or not."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from mailguard.cli import app
from mailguard.cli.profiles import replace_file

POLICY = """\
mailguard_policy: 1
profiles:
  normal: {junk_at: 5.0, big: 100, word: a}
  strict: {junk_at: 3.0, big: 100, word: a}
  tight: {junk_at: 3.0, big: 50, word: b}
recipients:
  - {match: ["@Kids.example.com", carol@example.com], profile: strict}
  - {match: [dora@kids.example.com, dora@example.com], profile: tight}
  - {match: ["*"], profile: normal}
rules:
  content:
    - {name: big, if: message.size > profile.big, then: defer}
    - {name: own, if: recipient.local == 'x', then: file, folder: X}
    - {name: junk, if: spam.score >= profile.junk_at, then: file, folder: Junk}
unavailable:
  spamassassin: {down: deliver, unscannable: deliver}
cases:
  - {name: clean, given: {}, expect: {defer: 451}}
"""


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["profiles", *map(str, arguments)])


def test_it_tells_who_waits_for_whom(policy: Path) -> None:
    result = run(policy)
    assert result.exit_code == 0
    said = " ".join(result.stdout.split())
    assert 'strict: junk_at 3, big 100, word "a" carol@example.com, dora@kids.example.com, *@kids.example.com' in said
    assert "normal, strict: share a transaction" in said
    assert "normal, tight: the later waits (452 4.5.3): what may refuse or defer looks at the profile: big" in said
    assert "postmaster and abuse, others: the later waits" in said
    assert "any two of one profile: may wait, as file may differ by address: own" in said
    assert all(len(line) <= 80 for line in result.stdout.splitlines())


def test_for_machines(policy: Path) -> None:
    found = json.loads(run(policy, "--json").stdout)
    assert found["recipients"]["dora@kids.example.com"] == "strict"
    assert found["pairs"] == [
        {"profiles": ["normal", "strict"], "difference": None, "rules": []},
        {"profiles": ["normal", "tight"], "difference": "block", "rules": ["big"]},
        {"profiles": ["strict", "tight"], "difference": "block", "rules": ["big"]},
    ]
    assert (found["postmaster_waits"], found["by_address"]) == (True, {"folder": ["own"]})


def test_the_file_is_replaced_and_anybody_may_read_it(policy: Path, tmp_path: Path) -> None:
    path = tmp_path / "profiles"
    path.write_text("old")
    assert run(policy, "--export", path).exit_code == 0
    assert path.read_text().splitlines()[1:] == [
        '"carol@example.com": strict',
        '"dora@example.com": tight',
        '"dora@kids.example.com": strict',
        '"*@kids.example.com": strict',
        '"*": normal',
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert sorted(os.listdir(tmp_path)) == ["policy.yaml", "profiles"]


@pytest.mark.parametrize(
    "broken", [POLICY.replace("junk_at: 3.0", "junk: 3.0"), POLICY.replace("defer: 451", "reject: 554")]
)
def test_a_policy_that_does_not_load_leaves_the_file(policy: Path, tmp_path: Path, broken: str) -> None:
    """Nor one whose case fails: the service goes on with the old one too."""
    path = tmp_path / "profiles"
    path.write_text("old")
    policy.write_text(broken)
    result = run(policy, "--export", path)
    assert result.exit_code == 78
    assert "nothing was written" in result.stderr
    assert path.read_text() == "old"
    assert "problems" in json.loads(run(policy, "--json").stdout)


def test_a_file_that_cannot_be_written_is_told_of(policy: Path, tmp_path: Path) -> None:
    result = run(policy, "--export", tmp_path / "missing" / "profiles")
    assert result.exit_code == 73
    assert "missing/profiles cannot be written: no such file or directory" in result.stderr


def test_what_fails_half_way_leaves_the_file_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "profiles"
    path.write_text("old")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        replace_file(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["profiles"]
