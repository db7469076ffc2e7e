"""One broken policy for each rule of the language, with the exact message beside it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mailguard import policy_files
from mailguard.positions import Problems

BROKEN = Path(__file__).parent / "broken"
FILES = sorted(BROKEN.glob("*.yaml"))


def test_there_is_one_for_every_rule() -> None:
    assert len(FILES) >= 240
    assert {f.stem for f in FILES} == {f.stem for f in BROKEN.glob("*.expected")}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_broken_policy_says_exactly_what_is_wrong(path: Path) -> None:
    with pytest.raises(Problems) as found:
        policy_files.load(path)
    message = str(found.value).replace(f"{BROKEN}/", "") + "\n"
    assert message == path.with_suffix(".expected").read_text("utf-8")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_problem_points_at_what_stands_there(path: Path) -> None:
    with pytest.raises(Problems) as found:
        policy_files.load(path)
    for problem in found.value.problems:
        if Path(problem.file) == path:
            line = path.read_text("utf-8").split("\n")[problem.line - 1]
            assert problem.source_line == line
            assert 1 <= problem.column <= len(line) + 1
            assert problem.column - 1 + problem.width <= max(1, len(line))
