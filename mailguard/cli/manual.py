"""The manual pages mailguard(1), mailguard.yaml(5) and mailguard-policy(5), made of the code's own declarations.

Commands and options come from the command line itself, with ``cli.examples`` and ``cli.statuses``; settings from
``config``; the language of policies from ``policy.schema``, ``facts`` and ``policy.functions``. ``mailguard reference``
writes them to docs/man, and a page that lags behind fails ``make check``.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import Any, Final

import typer

from mailguard import __version__
from mailguard.cli import COMMANDS, app, roff
from mailguard.cli.examples import EXAMPLES
from mailguard.cli.rows import GROUP, Row, rows_of
from mailguard.cli.statuses import STATUSES
from mailguard.config import Settings, secret_variables
from mailguard.facts import FACTS, Stage
from mailguard.policy.functions import FUNCTIONS
from mailguard.policy.schema import PolicyFile

SETTINGS_EXAMPLE: Final = """\
hostname: mx.example.com
relay_domains: [example.com, example.org]
listen:
- address: 0.0.0.0:25
- address: "[::]:25"
backends:
- address: 127.0.0.1:26
policy: policy.yaml
dns:
  servers: [127.0.0.1:53]
clamav:
  address: unix:/run/clamav/clamd.ctl
spamassassin:
  address: 127.0.0.1:783
journal:
  directory: /var/lib/mailguard/journal
"""
POLICY_EXAMPLE: Final = """\
mailguard_policy: 1
description: refuses what two lists know, files what looks like spam
dnsbl:
  zen:
    zone: zen.spamhaus.org
    ipv6: true
    answers:
      127.0.0.2-11: {weight: 3}
  spamcop:
    zone: bl.spamcop.net
    answers:
      127.0.0.2: {weight: 2}
rules:
  envelope:
  - name: listed twice
    if: dnsbl.score >= 5
    then: reject
    text: "{client.ip} is on several block lists"
  content:
  - name: looks like spam
    if: spam.score >= 5
    then: file
    folder: Junk
unavailable:
  dnsbl: ignore
  spamassassin: {down: deliver, unscannable: deliver}
cases:
- name: ordinary mail is taken
  expect: {accept: true}
- name: two lists agree
  given: {client.ip: 198.18.7.7, dnsbl.zen: 127.0.0.4, dnsbl.spamcop: 127.0.0.2}
  expect: {reject: 554, rule: listed twice}
"""


# -- mailguard(1)


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with its whole name."""
    group = typer.main.get_command(app)
    context = typer.Context(group, info_name="mailguard")
    for name in COMMANDS:
        command = group.get_command(context, name)  # type: ignore[attr-defined]
        inner = getattr(command, "commands", None)
        yield from ((f"{name} {sub}", each) for sub, each in inner.items()) if inner else ((name, command),)


def _usage(name: str, command: Any) -> str:
    words = [roff.bold(f"mailguard {name}"), "[" + "\\fIoptions\\fR" + "]"]
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            word = f"\\fI{roff.plain(parameter.name)}\\fR"
            words.append(word if parameter.required else f"[{word}]")
    return " ".join(words)


def _parameter(parameter: Any) -> str:
    """An option or an argument of a command."""
    if parameter.param_type_name == "argument":
        tag = f"\\fI{roff.plain(parameter.name)}\\fR"
    else:
        tag = ", ".join(roff.bold(each) for each in sorted(parameter.opts, key=len))
        value = max(parameter.opts, key=len).lstrip("-").upper()
        tag += "" if parameter.is_flag else f" \\fI{roff.plain(value)}\\fR"
    return roff.entry(tag, _meaning(parameter))


def _meaning(parameter: Any) -> str:
    """What an option means, its choices and its default."""
    default = parameter.default.value if isinstance(parameter.default, Enum) else parameter.default
    found = [parameter.help or ""]
    if choices := _choices(parameter):
        found.append(f"One of {', '.join(f'`{each}`' for each in choices)}.")
    if not parameter.required and default not in (None, "", False, ()) and not callable(default):
        found.append(f"Default: `{default}`.")
    return " ".join(found)


def _choices(parameter: Any) -> list[str]:
    """What an option may be, where that is laid down; versions of Typer keep it in two places."""
    kind = getattr(parameter, "type_descriptor", None) or getattr(parameter, "type", None)
    return [str(getattr(each, "value", each)) for each in getattr(kind, "choices", None) or ()]


def _command(name: str, command: Any) -> str:
    text = " ".join((command.help or "").split())
    examples = [line for example in EXAMPLES.get(name, ()) for line in (f"# {example.purpose}", example.line)]
    blocks = [f".PP\n{_usage(name, command)}\n", roff.paragraph(text), *map(_parameter, command.params)]
    return roff.subsection(f"mailguard {name}", *blocks, *([roff.verbatim(examples)] if examples else []))


def commands_page() -> str:
    """mailguard(1): every command."""
    statuses = [
        roff.entry(f"{number} {roff.plain(name)}".rstrip(), meaning) for number, (name, meaning) in STATUSES.items()
    ]
    return "".join(
        (
            roff.title("mailguard", 1, __version__),
            roff.section(
                "Name", "mailguard \\- a policy\\-driven SMTP filter that stands as MX front end before Exim\n"
            ),
            roff.section(
                "Synopsis", f"{roff.bold('mailguard')} \\fIcommand\\fR [\\fIoptions\\fR] [\\fIarguments\\fR]\n"
            ),
            roff.section(
                "Description",
                roff.inline(
                    "mailguard takes mail from the Internet, asks DNS lists, clamd and spamd about it, judges it by a "
                    "policy while the client still waits, and hands what it takes to the mail server behind it, whose "
                    "answer is its own. It holds no mail."
                )
                + "\n",
            ),
            roff.section("Commands", *(_command(name, command) for name, command in commands())),
            roff.section("Exit status", *statuses, roff.paragraph(_NAGIOS)),
            roff.section("Environment", *_environment(), roff.entry(roff.bold("COLUMNS"), "How wide tables are.")),
            roff.section(
                "Files",
                roff.entry("\\fI/etc/mailguard/mailguard.yaml\\fR", "The settings, where no other file is named."),
            ),
            roff.section("See also", "mailguard.yaml(5), mailguard\\-policy(5), exim4(8), clamd(8), spamd(8)\n"),
        )
    )


_NAGIOS: Final = "With `--nagios`, `mailguard doctor` ends with 0 (OK), 1 (WARNING), 2 (CRITICAL) or 3 (UNKNOWN)."


def _environment() -> Iterator[str]:
    for variable, path in secret_variables().items():
        yield roff.entry(roff.bold(variable), f"Names a file, in place of the setting `{'.'.join(path)}`.")


# -- mailguard.yaml(5)


def _row(row: Row) -> str:
    """One key of a file."""
    about = "; ".join(each for each in (row.kind, row.unit, f"default {row.default}" if row.default else "") if each)
    about = about.replace("default required", "required")
    return roff.entry(roff.bold(row.name), f"({about}) {row.meaning}")


def _grouped(rows: Iterator[Row]) -> Iterator[str]:
    """Rows under the heading of their section; those without one come first."""
    alone: list[Row] = []
    groups: dict[str, list[Row]] = {}
    for row in rows:
        head, dot, _ = row.name.partition(".")
        if dot or row.kind == GROUP:
            groups.setdefault(head, []).append(row)
        else:
            alone.append(row)
    yield roff.subsection("At the top", *map(_row, alone))
    for head, (first, *others) in groups.items():
        yield roff.subsection(f"{head}: {first.meaning}", *map(_row, others))


def settings_page() -> str:
    """mailguard.yaml(5): every setting."""
    return "".join(
        (
            roff.title("mailguard.yaml", 5, __version__),
            roff.section("Name", "mailguard.yaml \\- settings of mailguard\n"),
            roff.section("Synopsis", "\\fI/etc/mailguard/mailguard.yaml\\fR\n"),
            roff.section(
                "Description",
                "A file of YAML in UTF\\-8. A key that is not known is refused.\n",
                roff.paragraph(
                    "`mailguard check` finds what is wrong with it, `mailguard config show` tells what is in force."
                ),
                roff.paragraph("Durations are seconds and sizes octets, where nothing else is said."),
            ),
            roff.section("Settings", *_grouped(rows_of(Settings))),
            roff.section("Environment", *_environment()),
            roff.section("Example", roff.verbatim(SETTINGS_EXAMPLE.splitlines())),
            roff.section("See also", "mailguard(1), mailguard\\-policy(5)\n"),
        )
    )


# -- mailguard-policy(5)


def policy_page() -> str:
    """mailguard-policy(5): the language of policies."""
    facts = [
        roff.subsection(
            f"From the {stage.name.lower()} on",
            *(
                roff.entry(roff.bold(fact.name), f"({fact.type}) {fact.help}")
                for fact in FACTS.values()
                if fact.stage is stage
            ),
        )
        for stage in Stage
    ]
    functions = [roff.entry(roff.bold(each.signature), f"({each.gives}) {each.help}") for each in FUNCTIONS.values()]
    return "".join(
        (
            roff.title("mailguard-policy", 5, __version__),
            roff.section(
                "Name", "mailguard\\-policy \\- the language in which mailguard is told what to do with mail\n"
            ),
            roff.section(
                "Description",
                "A policy is a file of YAML in UTF\\-8, with parts and cases in files beside it.\n",
                roff.paragraph(
                    "Rules are tried in their order, those of `envelope` at each recipient and those of `content` when "
                    "the message has come; the first whose condition holds decides. A condition knows true, false and "
                    "unknown; an unknown one never refuses. What Received lines could have made true refuses nothing "
                    "either."
                ),
                roff.paragraph("`mailguard check` tells what is wrong with it, `mailguard test` runs its cases."),
            ),
            roff.section("Keys", *_grouped(rows_of(PolicyFile))),
            roff.section("Facts", roff.inline("What a condition may name.") + "\n", *facts),
            roff.section("Functions", roff.inline("What a condition may call.") + "\n", *functions),
            roff.section("Example", roff.verbatim(POLICY_EXAMPLE.splitlines())),
            roff.section("See also", "mailguard(1), mailguard.yaml(5)\n"),
        )
    )
