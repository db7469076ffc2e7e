"""``mailguard search``: the journal's newest records that answer a question, as a table or as JSON.

Exit status (sysexits.h): 0, also where nothing is found; 64 for a time or an address that is none; 65 a record is
damaged; 66 no journal that can be read, or not all of it; 69 a network was asked for and clients have pseudonyms; 78
configuration.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mailguard.cli.asking import Asked, ConfigOption, FolderOption, KeyOption, asked, fail, parse_time
from mailguard.cli.paths import DEFAULT_CONFIG
from mailguard.facts import ClientAddress
from mailguard.journal import recorder
from mailguard.journal.form import Record, microseconds
from mailguard.journal.index import client_term, mailbox_terms, verdict_term
from mailguard.journal.pseudonyms import NULL, Pseudonyms
from mailguard.journal.reader import Query
from mailguard.journal.telling import shown
from mailguard.positions import parse_network

DEFAULT_LIMIT = 50


class Became(StrEnum):
    """What can be asked for as a verdict."""

    ACCEPT = recorder.ACCEPT
    FILE = recorder.FILE
    DEFER = recorder.DEFER
    REJECT = recorder.REJECT


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What stands on the command line, as it stands there."""

    since: str
    until: str
    sender: str
    recipient: str
    ip: str
    verdict: Became | None


def search(
    since: Annotated[str, typer.Option(help="From when on: 2d, 36h (ago), 2026-11-21, 2026-11-21T10:00.")] = "",
    until: Annotated[str, typer.Option(help="Up to when, likewise.")] = "",
    sender: Annotated[str, typer.Option("--from", help="The sender: an address, @domain, or <>.")] = "",
    recipient: Annotated[str, typer.Option("--to", help="A recipient: an address or @domain.")] = "",
    ip: Annotated[str, typer.Option("--ip", help="The client: an address or a network.")] = "",
    verdict: Annotated[Became | None, typer.Option(help="What became of it.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="At the most so many, the newest; 0: all.")] = DEFAULT_LIMIT,
    as_json: Annotated[bool, typer.Option("--json", help="The records, one a line.")] = False,
    config: ConfigOption = DEFAULT_CONFIG,
    journal: FolderOption = None,
    key: KeyOption = None,
) -> None:
    """Search the journal: the newest messages and refusals by sender, recipient, client, verdict and time."""
    source = asked(config, journal, key)
    try:
        query = _query(_Wanted(since, until, sender, recipient, ip, verdict), source)
    except ValueError as error:
        fail(str(error), os.EX_USAGE)
    answer = source.search(query, limit)
    found = answer.records
    if as_json:
        for record in found:
            typer.echo(json.dumps(record))
        raise typer.Exit(answer.status)
    rows = [_row_or_damage(record) for record in found]
    Console().print(_table([row for row, _whole in rows]))
    counted = f"{len(found)} records" + (f", the newest; --limit {limit}" if limit and len(found) == limit else "")
    typer.echo(counted, err=True)
    if damaged := sum(not whole for _row, whole in rows):
        typer.echo(f"mailguard: {damaged} damaged: --json shows what is left of them", err=True)
    raise typer.Exit(answer.status or (os.EX_DATAERR if damaged else os.EX_OK))


def _query(wanted: _Wanted, source: Asked) -> Query:
    """What is asked for.

    Raises:
        ValueError: a time or an address is none.
    """
    names = source.pseudonyms() if wanted.sender or wanted.recipient or wanted.ip else None
    groups = [_mailbox(role, text, names) for role, text in (("from", wanted.sender), ("to", wanted.recipient)) if text]
    if wanted.verdict is not None:
        groups.append([verdict_term(wanted.verdict.value)])
    query = _in_time(Query(), wanted)
    if "/" in wanted.ip:
        query = replace(query, network=parse_network(wanted.ip))
    elif wanted.ip:
        groups.append(_client(wanted.ip, names))
    return replace(query, terms=groups)


def _in_time(query: Query, wanted: _Wanted) -> Query:
    now = datetime.now(UTC).astimezone()
    since = parse_time(wanted.since, now) if wanted.since else None
    until = parse_time(wanted.until, now) if wanted.until else None
    if since is not None and until is not None and since >= until:
        raise ValueError(f"nothing is since {wanted.since} and before {wanted.until}")
    return replace(
        query,
        since=microseconds(since) if since else query.since,
        until=microseconds(until) if until else query.until,
    )


def _client(text: str, names: Pseudonyms | None) -> list[str]:
    try:
        address = str(ClientAddress.parse(text))
    except ValueError:
        raise ValueError(f"{text!r} is no address and no network, such as 198.18.7.7 or 198.18.7.0/24") from None
    return [client_term(each) for each in _or_pseudonym(address, names.of if names else None)]


def _mailbox(role: str, text: str, names: Pseudonyms | None) -> list[str]:
    """The terms for an address or a domain, in the open and under a pseudonym."""
    if not text.isprintable() or " " in text:
        raise ValueError(f"{text!r} is no address and no domain, such as user@example.com or @example.com")
    if "@" not in text and text != NULL:
        text = "@" + text
    of_domain = text.startswith("@")
    written = _or_pseudonym(text, names.of_mailbox if names else None)
    return [mailbox_terms(role, each)[1 if of_domain else 0] for each in written]


def _or_pseudonym(text: str, of: Callable[[str], str] | None) -> Sequence[str]:
    return [text] if of is None else [text, of(text)]


def _table(rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table("time", "ref", "client", "from", "to", "verdict", "why", expand=False)
    table.columns[1].no_wrap = True  # so that a reference can be taken whole out of a terminal
    for row in rows:
        table.add_row(*(Text(shown(cell), overflow="fold") for cell in row))
    return table


def _row_or_damage(record: Record) -> tuple[tuple[str, ...], bool]:
    """A record's row; False, with what every record has, where its form is not that of records."""
    try:
        return tuple(map(_text, _row(record))), True
    except (KeyError, TypeError, ValueError, AttributeError):
        return (_local(record["time"]), record["ref"], "", "", "", "", "a damaged record"), False


def _text(cell: object) -> str:
    if not isinstance(cell, str):
        raise TypeError("no text")
    return cell


def _row(record: Record) -> tuple[str, ...]:
    recipients = record.get("recipients") or [record.get("recipient", "")]
    more = f" +{len(recipients) - 1}" if len(recipients) > 1 else ""
    return (
        _local(record["time"]),
        record["ref"],
        (record.get("client") or {}).get("ip", ""),
        record.get("sender", ""),
        recipients[0] + more,
        record.get("verdict", ""),
        _why(record),
    )


def _local(time: str) -> str:
    """A record's time in the zone of who asks."""
    try:
        return f"{datetime.fromisoformat(time).astimezone():%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return time


def _why(record: Record) -> str:
    """The rule that decided; where it was not policy's word, who said what."""
    reply = record.get("reply") or {}
    if reply.get("code", 0) >= 400 and reply.get("by") != "policy":
        return f"{reply['by']}: {reply['code']} {reply['text']}"
    decision = record.get("content") or record.get("envelope") or {}
    return str(decision.get("rule") or (record["event"] if "reply" not in record else ""))
