"""Blocks of pages that show commands with their output: a fence that says ``console``, ``$ command``, what it prints.

A line ``…`` stands for any number of lines. A command is run by the shell in the root of the checkout, with the
``mailguard`` of this interpreter; its output and its errors are one text, as in a terminal.

``python -m tests.support.consoles PAGE`` writes what commands print today into a page, but where lines are left out.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.pages import FENCE, ROOT, Block

ELLIPSIS: Final = "…"
_TIMEOUT = 60.0


@dataclass(frozen=True)
class Shown:
    """One command of a block, without its ``$``, and what the page says that it prints."""

    command: str
    output: str

    def agrees(self, printed: str) -> bool:
        """Whether ``printed`` is what is shown; blanks at the ends of lines do not count."""
        parts = [re.escape(_trimmed(part)) for part in re.split(rf"^{ELLIPSIS}\n", self.output, flags=re.MULTILINE)]
        return re.fullmatch(r"(?:.*\n)*".join(parts), _trimmed(printed)) is not None


def shown(block: Block) -> Iterator[Shown]:
    """The commands of a block."""
    for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
        command, _, output = part.partition("\n")
        yield Shown(command, output)


def run(command: str, columns: int = 80) -> str:
    """What ``command`` prints into a terminal of so many columns."""
    search = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    environment = {**os.environ, "PATH": search, "COLUMNS": str(columns), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["sh", "-c", f"exec 2>&1; {command}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    return done.stdout


def renewed(page: str) -> str:
    """A page whose blocks show what their commands print today."""

    def renew(found: re.Match[str]) -> str:
        if found[1] != "console":
            return found[0]
        every = [
            one if ELLIPSIS in one.output else Shown(one.command, _trimmed(run(one.command)))
            for one in shown(Block((), found[2]))
        ]
        return "```console\n" + "".join(f"$ {one.command}\n{one.output}" for one in every) + "```"

    return FENCE.sub(renew, page)


def _trimmed(text: str) -> str:
    return re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        Path(name).write_text(renewed(Path(name).read_text()))
