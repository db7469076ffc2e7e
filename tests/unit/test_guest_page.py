"""The page of the guest's runs: what was played is written anew, the rest stays."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

from tests.guest.report import PAGE, page
from tests.guest.run import Run

DAY = date(2026, 1, 2)


def played(*names: str) -> Run:
    """A run of these, one step each."""
    run = Run(Path("/nonexistent"), "tcg", said=lambda _: None)
    for name in names:
        run.play(name, _step(name))
    return run


def _step(name: str) -> Callable[[Run], None]:
    def scenario(run: Run) -> None:
        with run.step(f"a step of {name}") as seen:
            seen.append("this")

    return scenario


def test_a_scenario_is_written_in_its_place_and_the_others_stay() -> None:
    first = page(played("split", "moved"), DAY, 1.0, "")
    second = page(played("tended"), date(2026, 2, 3), 2.0, first)
    headings = [line for line in second.splitlines() if line.startswith("## ")]
    assert headings == ["## split", "## tended", "## moved", "## What was not tried here"]
    for kept in ("a step of split", "a step of moved", "2026-01-02", "a step of tended", "2026-02-03"):
        assert kept in second
    assert "* On this page: `defined`, `promoted`, `migrated`, `neighbours`, `alone`\n" in second


def test_a_scenario_played_again_is_there_once() -> None:
    once = page(played("split"), DAY, 1.0, "")
    assert page(played("split"), DAY, 1.0, once) == once


def test_nothing_played_leaves_the_page_as_it_is() -> None:
    assert page(played(), DAY, 1.0, PAGE.read_text()) == PAGE.read_text()
