"""What became of the demo's messages, and how that is shown: a row of columns for each, its reply in full below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from mailguard.lab.client import Outcome
from mailguard.lab.exim import Delivered
from mailguard.lab.letters import Letter

MAX_WIDTH: Final = 110
"""Characters of a row, however wide the terminal: the eye loses a longer one."""
_HEADINGS: Final = ("message", "reference", "verdict: rule", "found in", "right")


@dataclass(frozen=True)
class Result:
    """What became of one letter: the reply, mailguard's log line about it, and where it was found."""

    letter: Letter
    outcome: Outcome
    line: dict[str, Any]
    delivered: list[Delivered]

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders in which it lies, of all mailboxes."""
        return tuple(mail.folder for mail in self.delivered)

    @property
    def as_expected(self) -> bool:
        """Whether the reply is right, and it lies exactly once in a right folder, or nowhere where it was refused."""
        if self.outcome.code not in self.letter.codes:
            return False
        if not self.letter.folders:
            return not self.folders
        return len(self.folders) == 1 and self.folders[0] in self.letter.folders

    @property
    def expectation(self) -> str:
        """What must become of it."""
        codes = " or ".join(map(str, self.letter.codes))
        return f"{codes}, {' or '.join(self.letter.folders) or 'not delivered'}"


def show(results: Sequence[Result], console: Console) -> bool:
    """Print all of it; whether all is as expected."""
    console.print(Text("mailguard before a real Exim, clamd, spamd and DNS lists\n", style="bold"))
    console.print(_row([Text(heading, style="bold") for heading in _HEADINGS], console))
    console.print(Rule(style="dim"), width=_width(console))
    for result in results:
        _show_one(result, console)
    wrong = sum(not result.as_expected for result in results)
    if wrong:
        console.print(f"[bold red]{wrong} of {len(results)} did not come out as they must.[/]")
    else:
        console.print(f"All {len(results)} came out as they must.")
    return not wrong


def _show_one(result: Result, console: Console) -> None:
    letter, outcome, line = result.letter, result.outcome, result.line
    right = Text("yes", style="green") if result.as_expected else Text("no", style="bold red")
    verdict = f"{line.get('action', '-')}: {line.get('rule') or 'no rule'}"
    reference, found = str(line.get("ref", "-")), ", ".join(result.folders) or "not delivered"
    console.print(_row([*map(Text, (letter.title, reference, verdict, found)), right], console))
    below = [Text(f"from {letter.client}; {outcome.command}: {outcome.code} {outcome.said}", overflow="fold")]
    if not result.as_expected:
        below.append(Text(f"expected: {result.expectation}", style="bold red"))
    for text in below:
        console.print(Padding(text, (0, 0, 0, 2)))
    console.print()


def _row(cells: Sequence[RenderableType], console: Console) -> Table:
    """One row; its columns are where those of every other row are, since all have the same shares of one width."""
    row = Table.grid(padding=(0, 2, 0, 0), expand=True)
    row.width = _width(console)
    row.add_column(ratio=8)
    row.add_column(width=13, no_wrap=True)
    row.add_column(ratio=7)
    row.add_column(width=13)
    row.add_column(width=5)
    row.add_row(*cells)
    return row


def _width(console: Console) -> int:
    return min(console.width, MAX_WIDTH)
