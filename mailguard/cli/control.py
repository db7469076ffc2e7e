"""``mailguard reload``, ``drain``, ``observe`` and ``status``: ask the running service, over its control socket.

Exit status (sysexits.h): 0; 64 for a command that makes no sense; 69 where none runs, or this user may not ask it;
75 where it cannot be done now, or no answer came in time; 78 for settings, a policy or a certificate that is refused.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from mailguard.cli.asking import fail
from mailguard.cli.paths import DEFAULT_CONFIG
from mailguard.config import Settings
from mailguard.files import absolute, read_settings
from mailguard.positions import Problems
from mailguard.supervisor.run_dir import NotRunning, connect

Config = Annotated[Path, typer.Option(readable=False, help="The configuration file; it names `run_dir`.")]
_UNITS: Final[Mapping[str, float]] = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBERS: Final = ("pid", "slot", "generation", "sessions", "for")
_QUICK: Final = 10.0
"""Seconds for an answer that needs no work."""


def reload(
    config: Config = DEFAULT_CONFIG,
    everything: Annotated[
        bool, typer.Option("--all", help="Start new workers even where no setting has changed.")
    ] = False,
) -> None:
    """Load settings, policy and certificate again, wait for it, and tell what became of it.

    All of it or nothing: what is wrong is told, and what ran before goes on. Where settings or the version of mailguard
    have changed, new workers take over and the old ones end when their sessions do.
    """
    settings = _settings(config)
    bounds = settings.processes
    seconds = 3 * settings.limits.policy_timeout + 3 * bounds.heartbeat_timeout + bounds.start_timeout
    _done(_ask(settings, seconds, command="reload", all=everything))


def drain(config: Config = DEFAULT_CONFIG) -> None:
    """Accept no more mail, let messages in flight finish, and end; a second time: end at once."""
    _done(_ask(_settings(config), _QUICK, command="drain"))


def observe(
    config: Config = DEFAULT_CONFIG,
    for_: Annotated[str, typer.Option("--for", metavar="TIME", help="For how long: 30m, 2h, 1d.")] = "",
    off: Annotated[bool, typer.Option("--off", help="Enforce the policy again.")] = False,
) -> None:
    """Refuse and file nothing for a while: the emergency switch.

    At once, in open sessions too, and without touching a file. What would have been done is logged and counted. Rules
    that say `mode: enforce` go on. It ends by itself.
    """
    if off == bool(for_):
        fail("say for how long, as in `mailguard observe --for 2h`, or `--off`", os.EX_USAGE)
    seconds = 0.0 if off else _seconds(for_)
    _done(_ask(_settings(config), _QUICK, command="observe", seconds=seconds))


def status(
    config: Config = DEFAULT_CONFIG,
    json_: Annotated[bool, typer.Option("--json", help="For machines.")] = False,
) -> None:
    """Show the running service: its processes, their sessions, its policy."""
    report = _ask(_settings(config), _QUICK, command="status")["report"]
    if json_:
        typer.echo(json.dumps(report, indent=2))
    else:
        _show(report)


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    seconds = float(found[1]) * _UNITS[found[2]] if found else 0.0
    if seconds <= 0:
        fail(f"`{text}` is no time: write 30m, 2h or 1d", os.EX_USAGE)
    return seconds


def _settings(config: Path) -> Settings:
    try:
        return absolute(read_settings(config)[1], config.parent.absolute())
    except Problems as problems:
        typer.echo(str(problems), err=True)
        raise typer.Exit(os.EX_CONFIG) from None


def _ask(settings: Settings, within: float, **command: Any) -> dict[str, Any]:
    """The answer to ``command``, which comes in so many seconds."""
    deadline = time.monotonic() + within
    try:
        with connect(settings.run_dir, within) as asking:
            asking.sendall(json.dumps(command).encode() + b"\n")
            answer = b""
            while octets := asking.recv(65536):
                answer += octets
                asking.settimeout(max(0.1, deadline - time.monotonic()))
        found: dict[str, Any] = json.loads(answer)
    except NotRunning as error:
        fail(str(error), os.EX_UNAVAILABLE)
    except TimeoutError:
        fail(f"no answer within {within:g} s: the log tells what became of it", os.EX_TEMPFAIL)
    except (OSError, ValueError):
        fail("mailguard went before it answered: the log tells why", os.EX_TEMPFAIL)
    return found


def _done(answer: Mapping[str, Any]) -> None:
    for line in answer["lines"]:
        typer.echo(line, err=bool(answer["status"]))
    raise typer.Exit(answer["status"])


def _show(report: Mapping[str, Any]) -> None:
    console = Console(highlight=False)
    until = report["observing_until"]
    mode = f"only observing until {_clock(until)}" if until else "as the policy says"
    sessions = sum(each["connections"] for each in report["processes"])
    console.print(
        f"mailguard {report['version']}, {report['phase']} for {_lasting(report['uptime'])}, pid {report['pid']}"
    )
    console.print(f"policy {(report['policy'] or 'none')[:12]}, mode: {mode}")
    console.print(f"generation {report['generation']}, {sessions} sessions, {report['restarts']} workers replaced")
    table = Table(box=None, pad_edge=False)
    for name in ("process", "pid", "slot", "generation", "state", "sessions", "policy", "for", "not ready"):
        table.add_column(name, justify="right" if name in _NUMBERS else "left")
    for each in report["processes"]:
        worker = each["role"] == "worker"
        table.add_row(
            each["role"],
            str(each["pid"]),
            str(each["slot"]) if worker else "",
            str(each["generation"]) if worker else "",
            each["state"],
            str(each["connections"]) if worker else "",
            (each["policy"] or "")[:12],
            _lasting(each["seconds"]),
            ", ".join(each["reasons"]),
        )
    console.print(table)


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(seconds))


def _lasting(seconds: float) -> str:
    for unit, length in reversed(list(_UNITS.items())):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
