"""docs/policy: each policy of the tutorial holds up, its page shows parts of them, commands print what it shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailguard import policy_files
from mailguard.config import Settings
from mailguard.facts import FACTS
from mailguard.positions import Problems
from tests.support.consoles import Shown, run, shown
from tests.support.pages import ROOT, Block, blocks, sections, table

pytestmark = pytest.mark.slow

FOLDER = ROOT / "docs/policy"
PAGE = (FOLDER / "README.md").read_text()
SECTIONS = sections(PAGE)
POLICIES = sorted(path for path in FOLDER.glob("step*/*.yaml") if ".cases." not in path.name)
REFUSED = [path for path in POLICIES if path.name == "refused.yaml"]
COMMANDS = [one for block in blocks(PAGE, "console") for one in shown(block)]


def contains(whole: Any, part: Any) -> bool:
    """Whether ``part`` is what is left of ``whole`` where keys and items were taken out."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            key in whole and contains(whole[key], value) for key, value in part.items()
        )
    if isinstance(part, list):
        return isinstance(whole, list) and all(any(contains(each, one) for each in whole) for one in part)
    return bool(whole == part)


def test_there_are_six_steps() -> None:
    assert [name[:2] for name in SECTIONS] == [f"{number}." for number in range(1, 7)]
    assert {path.parent.name for path in POLICIES} == {f"step{number}" for number in range(1, 7)}
    assert all(f"{path.parent.name}/{path.name}" in PAGE for path in POLICIES)


@pytest.mark.parametrize("path", [path for path in POLICIES if path not in REFUSED], ids=str)
def test_each_policy_loads_without_a_warning(path: Path) -> None:
    """With its cases, of which each has some."""
    assert not policy_files.load(path).warnings


@pytest.mark.parametrize("path", REFUSED, ids=str)
def test_the_mistake_is_refused(path: Path) -> None:
    with pytest.raises(Problems, match="Received"):
        policy_files.load(path)


def test_the_settings_are_settings() -> None:
    given = yaml.safe_load((FOLDER / "mailguard.yaml").read_text())
    assert Settings.model_validate(given).own_relays


@pytest.mark.parametrize(
    ("number", "block"), [(name[:1], each) for name, text in SECTIONS.items() for each in blocks(text, "yaml")]
)
def test_what_the_page_shows_stands_in_a_policy_of_the_step(number: str, block: Block) -> None:
    policies = [yaml.safe_load(path.read_text()) for path in POLICIES if path.parent.name == f"step{number}"]
    part = yaml.safe_load(block.text)
    assert any(contains(policy, part) for policy in policies)


@pytest.mark.parametrize("one", COMMANDS, ids=lambda one: one.command)
def test_a_command_prints_what_the_page_shows(one: Shown) -> None:
    printed = run(one.command)
    assert one.agrees(printed), f"{one.command}\n{printed}(python -m tests.support.consoles docs/policy/README.md)"


def test_output_that_differs_is_noticed() -> None:
    assert Shown("", "a\n…\nd\n").agrees("a \nb\nc\nd\n")
    assert Shown("", "a\n…\nd\n").agrees("a\nd\n")
    assert not Shown("", "a\n…\nd\n").agrees("a\nb\nd\ne\n")
    assert not Shown("", "a\n").agrees("a\nb\n")
    assert len(COMMANDS) >= 10


def test_the_table_for_postfix_names_facts_that_exist() -> None:
    """That table alone is not run."""
    rows = table(sections((ROOT / "docs/coming-from-exim.md").read_text())["Coming from Postfix"])
    code = " ".join(text for row in rows for text in re.findall(r"`([^`]+)`", row["in mailguard"]))
    named = set(re.findall(r"\b(?:dnsbl|reverse_dns|helo|sender)\.[a-z_]+|\bearly_talker\b", code))
    assert len(named) >= 5
    assert named <= set(FACTS)
