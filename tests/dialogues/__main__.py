"""Plays every dialogue and prints what came of it, by group.

    sh tests/in_namespace.sh .venv/bin/python -m tests.dialogues          a moment; no server but our own
    sh tests/in_namespace.sh .venv/bin/python -m tests.dialogues --exim   before a real Exim too

A cell is how many dialogues of the group came out as they must, of how many that are played in that world: ``face`` is
the SMTP face alone, in one write and octet by octet; ``data`` and ``bdat`` the whole mailguard before a sink that takes
messages so; ``exim`` the whole mailguard before Exim, and what Exim stored. Exit status 1 where one did not.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, ExitStack
from dataclasses import dataclass

from mailguard import log
from mailguard.lab import Lab
from tests.dialogues.runner import Cut, Dialogue, octet_by_octet, read_all, whole
from tests.dialogues.worlds import SMTP_BY_BDAT, SMTP_BY_DATA, World, before_exim, before_sink, face, mailboxes


@dataclass(frozen=True)
class Column:
    """One world: its name, how to open it, how input is cut in it, and which dialogues are played in it."""

    name: str
    world: Callable[[Dialogue], AbstractAsyncContextManager[World]]
    cut: Cut = whole
    plays: Callable[[Dialogue], bool] = lambda _dialogue: True


def columns(lab: Lab | None, dialogues: list[Dialogue]) -> list[Column]:
    """The worlds; Exim's where there is a laboratory."""
    found = [
        Column("face", face, whole, lambda dialogue: dialogue.only != "mailguard"),
        Column("face, octets", face, octet_by_octet, lambda dialogue: dialogue.only != "mailguard"),
        Column("data", lambda dialogue: before_sink(dialogue, SMTP_BY_DATA)),
        Column("bdat", lambda dialogue: before_sink(dialogue, SMTP_BY_BDAT)),
    ]
    if lab is not None:
        exim = lab.exim(users=mailboxes(dialogues))
        found.append(Column("exim", lambda one: before_exim(one, exim), plays=lambda one: not one.sink))
    return found


async def play_all(dialogues: list[Dialogue], worlds: list[Column]) -> tuple[Counter[tuple[str, str]], list[str]]:
    """How many came out as they must, by group and world; and what was wrong with the others."""
    good: Counter[tuple[str, str]] = Counter()
    problems = []
    for one in dialogues:
        for column in worlds:
            if column.plays(one):
                try:
                    async with column.world(one) as world:
                        await world.converse(one, column.cut)
                except (AssertionError, OSError) as error:
                    problems.append(f"{one.group}/{one.name}, {column.name}: {error}")
                else:
                    good[one.group, column.name] += 1
    return good, problems


def table(dialogues: list[Dialogue], worlds: list[Column], good: Counter[tuple[str, str]]) -> str:
    """The counts as a table in Markdown, a line for each group and one for all."""
    lines = [["group", "dialogues", *(column.name for column in worlds)]]
    groups = sorted({one.group for one in dialogues})
    for name, members in ((group, [group]) for group in groups):
        lines.append(_line(name, members, dialogues, worlds, good))
    lines.append(_line("all", groups, dialogues, worlds, good))
    return "\n".join("| " + " | ".join(line) + " |" for line in (lines[0], ["---"] * len(lines[0]), *lines[1:]))


def _line(
    name: str, groups: list[str], dialogues: list[Dialogue], worlds: list[Column], good: Counter[tuple[str, str]]
) -> list[str]:
    members = [one for one in dialogues if one.group in groups]
    cells = [
        f"{sum(good[group, column.name] for group in groups)}/{sum(map(column.plays, members))}" for column in worlds
    ]
    return [name, str(len(members)), *cells]


def main() -> int:
    """Play, print, and say whether all went well."""
    parser = argparse.ArgumentParser(prog="tests.dialogues", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--exim", action="store_true", help="before a real Exim too; needs the namespace")
    with_exim = parser.parse_args().exim
    log.configure("logfmt", "error")
    dialogues = read_all()
    with ExitStack() as stack:
        worlds = columns(stack.enter_context(Lab()) if with_exim else None, dialogues)
        good, problems = asyncio.run(play_all(dialogues, worlds))
    sys.stdout.write(table(dialogues, worlds, good) + "\n" + "".join(f"{problem}\n" for problem in problems))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
