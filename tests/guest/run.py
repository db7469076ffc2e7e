"""A run of scenarios: what each step saw, and how long it took."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from mailguard.lab.process import LabError

Step: TypeAlias = tuple[str, float, str]
"""What was done, in how many seconds, and what was seen."""


@dataclass
class Run:
    """A run: its folder, how machines are run, a disk that has booted, and what was seen so far.

    Attributes:
        steps: by scenario; those of the one being played are the last.
        console: what the serial console had of the first boot in ``alone``.
    """

    folder: Path
    accelerator: str
    disk: Path | None = None
    said: Callable[[str], None] = print
    steps: dict[str, list[Step]] = field(default_factory=dict)
    console: str = ""

    def play(self, name: str, scenario: Callable[[Run], None]) -> None:
        """One scenario; its steps go under its name.

        Raises:
            LabError: something is not as it must be.
        """
        self.steps[name] = []
        scenario(self)

    @contextmanager
    def step(self, what: str) -> Iterator[list[str]]:
        """One step; what it puts into the list is what was seen."""
        began = time.monotonic()
        seen: list[str] = []
        yield seen
        done = (what, time.monotonic() - began, "; ".join(seen))
        self.steps[next(reversed(self.steps))].append(done)
        self.said(f"{what}: {done[1]:.1f} s: {done[2]}")


def require(condition: bool, what: str) -> None:
    """End the run where something is not as it must be.

    Raises:
        LabError: it is not.
    """
    if not condition:
        raise LabError(what)
