"""The measure of functions measures, and the code keeps within it."""

from __future__ import annotations

import pytest

from tests import structure
from tests.structure import Function, figures, functions, of_package

SOURCE = '''\
@decorated
def outer():
    """A docstring."""

    async def inner():
        return 1

    return inner


class C:
    def method(self): ...
'''


def test_lines_are_counted_from_def_to_the_end() -> None:
    found = sorted(functions(SOURCE, "a.py"))
    assert found == [Function(1, "a.py", "method"), Function(2, "a.py", "inner"), Function(7, "a.py", "outer")]


def test_median_and_percentile() -> None:
    assert figures([Function(lines, "", "") for lines in range(1, 12)]) == (6, 10)


@pytest.mark.parametrize("package", structure.PACKAGES)
def test_functions_stay_short(package: str) -> None:
    found = of_package(package)
    middle, tenth = figures(found)
    assert len(found) > 500
    assert middle <= 10
    assert tenth <= 20


def test_the_command_prints_a_line_a_package(capsys: pytest.CaptureFixture[str]) -> None:
    structure.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in lines] == list(structure.PACKAGES)
    assert all("median" in line and "90th percentile" in line for line in lines)
