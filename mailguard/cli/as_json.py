"""How commands write down in JSON what several of them tell."""

from __future__ import annotations

from typing import Any

from mailguard.positions import Problem


def problem_as_json(problem: Problem) -> dict[str, Any]:
    """A problem: where it is, what is wrong, what would be right (or empty), and how one thing led to the other."""
    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "message": problem.message,
        "hint": problem.hint,
        "steps": list(problem.path),
    }
