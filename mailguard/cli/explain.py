"""``mailguard explain``: why a client's mail is taken, filed or refused, with everything that this rests on.

Two ways to ask. ``--ip`` rehearses a connection (:mod:`mailguard.session.rehearsal`): lists, names and scanners are
asked for real by the code of the server, or their answers are given. A reference asks the journal for a decision that
was made. Both end in :mod:`mailguard.policy.explanation` and :mod:`mailguard.policy.flips`: the engine's own word.

Exit status (sysexits.h): 0, whatever the verdict; 64 for what cannot be understood; 65 a record is damaged; 66 a
message or journal that cannot be read, or not all of it; 69 nothing is known of a reference; 78 configuration or
policy.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated, Final

import typer
from rich.console import Console

from mailguard import log
from mailguard.cli import explain_json, explain_table
from mailguard.cli.asking import FolderOption, asked, fail, known_of
from mailguard.cli.explain_past import NothingToExplain, past
from mailguard.cli.explained import Explained, Setting, explained
from mailguard.cli.given import BadGiven, read_given
from mailguard.cli.paths import DEFAULT_CONFIG
from mailguard.commands import Extensions, Path
from mailguard.config import Settings
from mailguard.facts import ClientAddress, Source
from mailguard.journal.recorder import Recorder
from mailguard.policy.compiler import Draft
from mailguard.policy.schema import Given
from mailguard.policy_files import draft, draft_for, load_settings
from mailguard.positions import Problems
from mailguard.reference import parse_reference
from mailguard.session.observing import Switch
from mailguard.session.rehearsal import Heard, Said, rehearse
from mailguard.smtp import grammar
from mailguard.spool import SpoolError
from mailguard.worker import assemble

_WIDTH: Final = 80
"""Columns where output is no terminal."""
_ALL: Final = Extensions(smtputf8=True)
_GROUPS: Final[Mapping[str, Source]] = {"virus.": Source.CLAMAV, "spam.": Source.SPAMASSASSIN}


@dataclass(frozen=True, slots=True)
class _Asked:
    """What stands on the command line, understood.

    Attributes:
        sender, helo: None where nothing is said of it.
        recipients: empty where nobody is named.
    """

    address: ClientAddress
    helo: str | None
    sender: Path | None
    recipients: tuple[Path, ...]


def explain(
    ref: Annotated[
        str | None, typer.Argument(metavar="REF", help="A past decision, by what our reply ended in: 7XK2M9QBD-2.")
    ] = None,
    ip: Annotated[str | None, typer.Option("--ip", help="The client's address: 198.18.7.7.")] = None,
    helo: Annotated[str | None, typer.Option("--helo", help="Its name in EHLO: mail.example.net.")] = None,
    sender: Annotated[str | None, typer.Option("--from", help="The sender: a@example.org, or <> for a bounce.")] = None,
    to: Annotated[
        list[str] | None, typer.Option("--to", help="A recipient: b@example.com; may be given again.")
    ] = None,
    message: Annotated[
        FilePath | None, typer.Option(readable=False, help="The message, for clamd and spamd: mail.eml.")
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FACT=VALUE",
            help="An answer in place of the real one, as in a policy's cases: dnsbl.zen=127.0.0.4, spam.score=9, "
            "reverse_dns.missing=unknown; may be given again.",
        ),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask nobody: what is not given is as for mail without any fault.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with all of that.")] = False,
    config: Annotated[FilePath | None, typer.Option(readable=False, help="The configuration.")] = None,
    policy: Annotated[
        FilePath | None, typer.Option(readable=False, help="This policy in place of the configuration's.")
    ] = None,
    journal: FolderOption = None,
) -> None:
    """Explain a verdict: every fact, weight and rule, the reply, and what would flip it."""
    log.silence()
    if (ref is None) is (ip is None):
        fail("say whom to explain: --ip ADDRESS for a client, or the reference of a past decision", os.EX_USAGE)
    if ref is not None:
        _past(ref, config, policy, journal, as_json=as_json)
        return
    if offline and message is not None:
        fail("--offline asks no scanner: leave --message away, and give what they say by --given", os.EX_USAGE)
    wanted = _understood(ip or "", helo, sender, to or [])
    setting = _setting(config, policy, wanted.recipients)
    facts = _given(given or [], setting.draft)
    content = _message(message, setting.settings.limits.max_message_size) if message is not None else None
    told = _explained(setting, wanted, facts, content, offline=offline)
    if as_json:
        typer.echo(json.dumps(explain_json.written(told), indent=2))
    else:
        _show(told)


def _past(
    ref: str, config: FilePath | None, policy: FilePath | None, journal: FilePath | None, *, as_json: bool
) -> None:
    """Explain what the journal knows of ``ref``; of a connection, each of its transactions."""
    try:
        reference = parse_reference(ref)
    except ValueError as error:
        fail(str(error), os.EX_USAGE)
    answer = known_of(reference, asked(config or DEFAULT_CONFIG, journal, None))
    found = answer.records
    setting = _setting(config, policy, ())
    try:
        # Where several records bear the reference, such as of a command after the refusal, those of policy are meant.
        told = [past(setting, record) for record in [each for each in found if "envelope" in each] or found[:1]]
    except NothingToExplain as error:
        fail(str(error), os.EX_UNAVAILABLE)
    except (KeyError, TypeError, ValueError, AttributeError) as error:  # a disk's fault in a line that still is JSON
        fail(f"a record of {reference} is damaged ({error!r}): `mailguard why {ref} --json` shows it", os.EX_DATAERR)
    if as_json:
        typer.echo("\n".join(json.dumps(explain_json.written(each)) for each in told))
        raise typer.Exit(answer.status)
    for number, each in enumerate(told):
        typer.echo("\n" + "=" * _WIDTH if number else "", nl=bool(number))
        _show(each)
    raise typer.Exit(answer.status)


def _show(told: Explained) -> None:
    console = Console(highlight=False)
    if console.is_terminal:
        explain_table.show(told, console)
        return
    plain = Console(highlight=False, width=_WIDTH, color_system=None, force_terminal=False)
    with plain.capture() as capture:
        explain_table.show(told, plain)
    typer.echo("\n".join(line.rstrip() for line in capture.get().rstrip().split("\n")))


# --- the command line -------------------------------------------------------------------------------------------------


def _understood(ip: str, helo: str | None, sender: str | None, to: Sequence[str]) -> _Asked:
    """What is asked; ends the command where it cannot be understood."""
    try:
        address = ClientAddress.parse(ip)
    except ValueError:
        fail(f"--ip {ip}: this is no address, such as 198.18.7.7 or 2001:db8::1", os.EX_USAGE)
    try:
        name = grammar.helo_name(helo.encode(), "EHLO") if helo is not None else None
    except grammar.Refused:
        fail(f"--helo {helo}: a server refuses this name as no name at all; such as mail.example.net", os.EX_USAGE)
    return _Asked(
        address,
        name,
        _path("--from", sender, b"FROM:") if sender is not None else None,
        tuple(_path("--to", each, b"TO:") for each in to),
    )


def _path(option: str, text: str, prefix: bytes) -> Path:
    """The path that ``text`` is, by the grammar of the server; ends the command where it is none."""
    inside = text if text.startswith("<") and text.endswith(">") else f"<{text}>"
    octets = prefix + inside.encode(errors="surrogateescape")
    try:
        if prefix == b"FROM:":
            return grammar.mail_from(octets + b" SMTPUTF8", _ALL).path
        return grammar.rcpt_to(octets, _ALL, smtputf8=True).path
    except grammar.Refused as refused:
        fail(f"{option} {text}: {refused.reply.text}; write a@example.org", os.EX_USAGE)


def _given(written: Sequence[str], found: Draft) -> dict[str, Given]:
    everything = found.policy.trial or found.policy.force
    try:
        return read_given(written, frozenset(table.zone.name for table in everything.scales.lists))
    except BadGiven as error:
        fail(str(error), os.EX_USAGE)


def _message(path: FilePath, limit: int) -> bytes:
    """The message in a file, its lines ending as in SMTP; ends the command where it cannot be read."""
    try:
        with path.open("rb") as file:
            octets = file.read(limit + 1)
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        fail(f"--message {path}: this file cannot be read: {reason}", os.EX_NOINPUT)
    if len(octets) > limit:
        fail(f"--message {path}: it is longer than `limits.max_message_size`, {limit} octets", os.EX_NOINPUT)
    return re.sub(rb"\r\n|\r|\n", b"\r\n", octets)


# --- configuration ----------------------------------------------------------------------------------------------------


def _setting(config: FilePath | None, policy: FilePath | None, recipients: Sequence[Path]) -> Setting:
    """Settings and policy as the server would load them; ends the command where it would not."""
    try:
        if config is None and policy is not None and not DEFAULT_CONFIG.exists():
            settings = _defaults(policy, recipients)
            found = draft(policy)
            found.tested()
            return Setting(settings, found, None)
        path = config or DEFAULT_CONFIG
        settings = load_settings(path)
        if policy is not None:
            settings = settings.model_copy(update={"policy": policy.absolute()})
        return Setting(settings, draft_for(settings), path)
    except Problems as problems:
        typer.echo(f"{problems}\n\nnothing was explained", err=True)
        raise typer.Exit(os.EX_CONFIG) from None


def _defaults(policy: FilePath, recipients: Sequence[Path]) -> Settings:
    """What a policy is explained with where there is no configuration: the system's resolver, and no scanner."""
    domains = [path.mailbox.domain for path in recipients if path.domain]
    return Settings.model_validate(
        {
            "hostname": "localhost.localdomain",
            "relay_domains": domains or ["example.com"],
            "listen": [{"address": "127.0.0.1:25"}],
            "backends": [{"address": "127.0.0.1:2525"}],
            "policy": str(policy),
        }
    )


# --- what is found ----------------------------------------------------------------------------------------------------


def _explained(
    setting: Setting, wanted: _Asked, given: Mapping[str, Given], content: bytes | None, *, offline: bool
) -> Explained:
    spared = frozenset(source for name in given for start, source in _GROUPS.items() if name.startswith(start))
    said = Said(wanted.address, wanted.helo, wanted.sender, content, spared)
    try:
        heard = None if offline else asyncio.run(_rehearsed(setting, said))
    except SpoolError as error:
        fail(f"the message cannot be kept: {error}", os.EX_CANTCREAT)
    return explained(setting, said, [path.mailbox for path in wanted.recipients], given, heard)


async def _rehearsed(setting: Setting, said: Said) -> Heard:
    services = assemble(setting.settings, setting.draft.policy, Recorder(), Switch(time.time))
    return await rehearse(services, said)
