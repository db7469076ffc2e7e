"""docs/policy-mistakes.md: mailguard says to each mistake what the page says that it does."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from mailguard.cli import app
from tests.support.pages import ROOT, Block, blocks, sections

PAGE = (ROOT / "docs" / "policy-mistakes.md").read_text()
MISTAKES = {name: tuple(blocks(text)) for name, text in sections(PAGE).items()}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the policy stands that all of them are made beside."""
    [policy] = blocks(PAGE, "yaml")
    (tmp_path / "policy.yaml").write_text(policy.text)
    (tmp_path / "policy.d").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_policy_itself_is_in_order(folder: Path) -> None:
    found = CliRunner().invoke(app, ["check", "--policy", "policy.yaml", "--strict"])
    assert (found.exit_code, found.stderr) == (0, "")


def test_there_are_five() -> None:
    assert len(MISTAKES) == 5
    assert {tuple(block.language for block in found) for found in MISTAKES.values()} == {("yaml-mistake", "text")}


@pytest.mark.parametrize("found", MISTAKES.values(), ids=MISTAKES)
def test_what_is_said_to_it(folder: Path, found: tuple[Block, Block]) -> None:
    mistake, said = found
    (folder / "policy.d" / "mine.yaml").write_text(mistake.text)
    checked = CliRunner().invoke(app, ["check", "--policy", "policy.yaml"])
    assert checked.stderr == said.text
    assert checked.exit_code == (0 if "warning" in said.text else 78)
    assert CliRunner().invoke(app, ["check", "--policy", "policy.yaml", "--strict"]).exit_code == 78
