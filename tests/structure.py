"""How long functions are, in lines from ``def`` to the last one, docstring included and decorators not.

    python -m tests.structure

A function within another counts by itself and in the outer one.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).parents[1]
PACKAGES = ("mailguard", "tests")


@dataclass(frozen=True, order=True)
class Function:
    """One function or method: its lines, its file relative to the root, its name."""

    lines: int
    file: str
    name: str


def functions(source: str, file: str) -> Iterator[Function]:
    """Every function in ``source``."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield Function((node.end_lineno or node.lineno) - node.lineno + 1, file, node.name)


def of_package(name: str) -> list[Function]:
    """Every function of a package, the shortest first."""
    paths = sorted((ROOT / name).rglob("*.py"))
    return sorted(each for path in paths for each in functions(path.read_text(), str(path.relative_to(ROOT))))


def figures(found: Sequence[Function]) -> tuple[float, float]:
    """Median and 90th percentile of the lines of at least two functions."""
    lines = [each.lines for each in found]
    return median(lines), quantiles(lines, n=10, method="inclusive")[-1]


def main() -> None:
    """Print the figures of each package, and its longest function."""
    for name in PACKAGES:
        found = of_package(name)
        middle, tenth = figures(found)
        longest = found[-1]
        print(
            f"{name}: {len(found)} functions, median {middle:g} lines, 90th percentile {tenth:g}, "
            f"longest {longest.lines} ({longest.file}, {longest.name})"
        )


if __name__ == "__main__":
    main()
