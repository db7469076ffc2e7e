"""``mailguard why REF``: the whole story of a refusal, or of a message, by the reference that its sender was told.

First a letter, in words that a postmaster can send to whoever asks; then notes for the postmaster alone. Exit status
(sysexits.h): 0; 64 no reference; 65 a record of it is damaged; 66 no journal that can be read, or not all of it; 69
nothing is known of it; 78 configuration.
"""

from __future__ import annotations

import json
import os
from typing import Annotated, Final

import typer

from mailguard.cli.asking import ConfigOption, FolderOption, asked, fail, known_of
from mailguard.cli.paths import DEFAULT_CONFIG
from mailguard.journal.form import Record
from mailguard.journal.telling import letter, notes
from mailguard.reference import parse_reference

_NOT_FOR_THE_SENDER: Final = "--- from here on not for the sender ---"
_BETWEEN: Final = "\n" + "=" * 78 + "\n"


def why(
    ref: Annotated[str, typer.Argument(metavar="REF", help="What our reply ended in, as in 7XK2M9QBD-2.")],
    letter_only: Annotated[bool, typer.Option("--letter", help="Only what can be sent to the sender.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The records, one a line.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    journal: FolderOption = None,
) -> None:
    """Why mail was refused, deferred or filed: the story behind a reference, in words for its sender."""
    try:
        reference = parse_reference(ref)
    except ValueError as error:
        fail(str(error), os.EX_USAGE)
    answer = known_of(reference, asked(config, journal, None))
    found = answer.records
    if as_json:
        for record in found:
            typer.echo(json.dumps(record))
        raise typer.Exit(answer.status)
    try:
        story = _BETWEEN.join(_told(record, letter_only) for record in found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # a disk's fault in a line that still is JSON
        fail(f"a record of {reference} is damaged ({error!r}): --json shows what is left of it", os.EX_DATAERR)
    typer.echo(story)
    raise typer.Exit(answer.status)


def _told(record: Record, letter_only: bool) -> str:
    private = "" if letter_only else notes(record)
    return letter(record) + (f"\n\n{_NOT_FOR_THE_SENDER}\n\n{private}" if private else "") + "\n"
