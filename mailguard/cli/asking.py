"""What commands that ask the journal have in common: where it is, its key, and errors with their exit status.

Exit status (sysexits.h): 64 for what cannot be understood, 66 where there is no journal that can be read, 78 where the
configuration is wrong or keeps none.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Final, NoReturn, TypeAlias

import typer
from rich.console import Console
from rich.progress import Progress

from mailguard.files import read_settings
from mailguard.journal.folder import Folder
from mailguard.journal.form import Record
from mailguard.journal.key import BadKey, read_key
from mailguard.journal.pseudonyms import Pseudonyms
from mailguard.journal.reader import Progress as Told
from mailguard.journal.reader import Query, Reader, about
from mailguard.positions import Problems

_BLOCKS_WORTH_TELLING: Final = 100
"""From so many blocks on a search shows its progress."""
_SEGMENTS_NAMED: Final = 5
_UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}

ConfigOption: TypeAlias = Annotated[
    Path, typer.Option("--config", readable=False, help="The configuration, which names the journal and its key.")
]
FolderOption: TypeAlias = Annotated[
    Path | None,
    typer.Option("--journal", readable=False, help="The journal's folder, in place of the configuration's."),
]
KeyOption: TypeAlias = Annotated[
    Path | None, typer.Option("--key", readable=False, help="The key of its pseudonyms, with --journal.")
]


def fail(text: str, status: int) -> NoReturn:
    """End the command with one clear error."""
    typer.echo(f"mailguard: {text}", err=True)
    raise typer.Exit(status)


def tell_torn(torn: int) -> None:
    """Say how many lines were passed over, if any."""
    if torn:
        typer.echo(f"mailguard: {torn} torn lines were passed over", err=True)


def tell_left_out(left_out: Mapping[str, str]) -> int:
    """Name the segments that could not be read, a few; the exit status of a command whose answer lacks them, or 0."""
    for stem in sorted(left_out)[:_SEGMENTS_NAMED]:
        typer.echo(f"mailguard: left out: the segment {stem} cannot be read: {left_out[stem]}", err=True)
    if (more := len(left_out) - _SEGMENTS_NAMED) > 0:
        typer.echo(f"mailguard: left out: {more} segments more", err=True)
    return os.EX_NOINPUT if left_out else os.EX_OK


@dataclass(frozen=True, slots=True)
class Found:
    """Records that were found, and the exit status of a command that shows them: not 0 where others may be missing."""

    records: list[Record]
    status: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A journal to ask: its folder, and the file with the key of its pseudonyms, if any."""

    folder: Path
    key: Path | None

    def search(self, query: Query, limit: int = 0) -> Found:
        """The newest ``limit`` records that answer ``query``; ends the command where it cannot ask.

        What was passed over is told of: torn lines, segments that cannot be read, clients under a pseudonym.
        """
        reader = Reader(Folder(self.folder))
        try:
            with told("searching", _BLOCKS_WORTH_TELLING) as progress:
                found = reader.search(query, limit, progress)
        except OSError as error:
            self.unreadable(error)
        tell_torn(reader.torn)
        status = tell_left_out(reader.left_out)
        if reader.hidden:
            known = "of these the client has a pseudonym, from which no network can be told: name its whole address"
            typer.echo(f"mailguard: {reader.hidden} more records may be meant; {known}", err=True)
        return Found(found, status or (os.EX_UNAVAILABLE if reader.hidden else os.EX_OK))

    def unreadable(self, error: OSError) -> NoReturn:
        """End the command: the journal cannot be read."""
        where = self.folder / str(error.filename or "")  # the folder itself, or a file that stands in its way
        fail(f"there is no journal to read in {where}: {(error.strerror or str(error)).lower()}", os.EX_NOINPUT)

    def pseudonyms(self) -> Pseudonyms | None:
        """What addresses may be written as; None where there is no key. Ends the command where it cannot be read."""
        if self.key is None:
            return None
        try:
            return Pseudonyms(read_key(self.key), ())
        except BadKey as error:
            fail(f"addresses may be written under pseudonyms, and their key cannot be used: {error}", os.EX_NOINPUT)


def known_of(reference: str, source: Asked) -> Found:
    """The records of ``reference``; ends the command where there is none."""
    found = source.search(about(reference))
    if not found.records:
        lacking = "its record may be in what was left out" if found.status else "it is too old, or another server's"
        fail(f"the journal knows nothing of {reference}: {lacking}", found.status or os.EX_UNAVAILABLE)
    return found


def asked(config: Path, folder: Path | None, key: Path | None) -> Asked:
    """The journal that is meant; ends the command where there is none."""
    if folder is not None:
        return Asked(folder, key)
    try:
        journal = read_settings(config)[1].journal.within(config.parent.absolute())
    except Problems as problems:
        typer.echo(str(problems), err=True)
        raise typer.Exit(os.EX_CONFIG) from None
    if journal.directory is None:
        fail(f"{config} keeps no journal: set `journal.directory`, or name its folder by --journal", os.EX_CONFIG)
    return Asked(journal.directory, key or journal.pseudonym_key)


@contextmanager
def told(what: str, worth: int) -> Iterator[Told]:
    """A bar on standard error, where that is a terminal and there are ``worth`` steps at least."""
    if not sys.stderr.isatty():
        yield lambda _done, _all: None
        return
    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, visible=False)
        yield lambda done, everything: bar.update(task, completed=done, total=everything, visible=everything >= worth)


def parse_time(text: str, now: datetime) -> datetime:
    """What ``text`` means: ``2d`` (ago; also s, m, h, w), or a date, perhaps with a time of day, local or with a zone.

    Raises:
        ValueError: it means nothing.
    """
    try:
        if ago := re.fullmatch(r"([0-9]{1,9})([smhdw])", text):
            return now - timedelta(seconds=int(ago[1]) * _UNITS[ago[2]])
        found = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise ValueError(f"{text!r} is no time: write 2d, 36h, 2026-11-21 or 2026-11-21T10:00") from None
    return found if found.tzinfo else found.replace(tzinfo=now.tzinfo)
