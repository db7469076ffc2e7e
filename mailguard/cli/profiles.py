"""``mailguard profiles``: which recipients have which profile, and who of them share a transaction.

``--export`` writes the recipients and their profiles to a file for Exim (``policy.export``), which files by it where
recipients of one message are filed differently. The file is replaced whole or not at all: Exim may read at any moment.

Exit status (sysexits.h): 0; 78 where the policy does not load or its cases fail, as the service would not load it
either; 73 where the file cannot be written. Both leave the file as it was.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any, Final

import typer

from mailguard.cli.as_json import problem_as_json
from mailguard.cli.paths import DEFAULT_CONFIG
from mailguard.files import absolute, read_settings
from mailguard.policy.engine import CompiledPolicy
from mailguard.policy.export import lookups, lsearch_text
from mailguard.policy.treatment import Difference, Pair, blocking_rules, by_address, pairs
from mailguard.policy_files import draft
from mailguard.positions import Problems

_READABLE: Final = 0o644
"""Exim reads it as another user."""
_WIDTH: Final = 79
_SHOWN: Final = 20
"""Recipients of a profile that are told of; JSON and the file have all."""
_DOES: Final = {Difference.BLOCK: "refuse or defer", Difference.TAGS: "tag", Difference.FOLDER: "file"}


def command(
    policy: Annotated[Path | None, typer.Argument(readable=False, help="The policy.")] = None,
    config: Annotated[
        Path, typer.Option(readable=False, help="Take the policy that this configuration names, where none is given.")
    ] = DEFAULT_CONFIG,
    export: Annotated[
        Path | None, typer.Option(writable=False, help="Write recipients and their profiles to this file, for Exim.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, with all of that.")] = False,
) -> None:
    """Tell which recipients have which profile, and who of them share a transaction; write it down for Exim."""
    try:
        found = draft(policy or absolute(read_settings(config)[1], config.parent.absolute()).policy).tested()
    except Problems as problems:
        _tell_problems(problems, as_json)
        raise typer.Exit(os.EX_CONFIG) from None
    if export is not None:
        _export(found, export)
    typer.echo(json.dumps(_as_json(found), indent=2) if as_json else "\n".join(_told(found)))


def _tell_problems(problems: Problems, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"problems": [problem_as_json(problem) for problem in problems.problems]}, indent=2))
    else:
        typer.echo(f"{problems}\n\nnothing was written", err=True)


def _export(policy: CompiledPolicy, path: Path) -> None:
    try:
        replace_file(path, lsearch_text(policy.profiles, policy.digest))
    except OSError as error:
        typer.echo(f"{path} cannot be written: {(error.strerror or str(error)).lower()}", err=True)
        raise typer.Exit(os.EX_CANTCREAT) from None


def replace_file(path: Path, text: str) -> None:
    """Put ``text`` in place of the file at ``path``, on the disk before it has the name.

    Raises:
        OSError: it cannot be written; what was there is there still.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fchmod(descriptor, _READABLE)
            os.fsync(descriptor)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise


def _told(policy: CompiledPolicy) -> Iterator[str]:
    """Paragraphs of lines that fit a terminal."""
    for line in _lines(policy):
        indent = line[: len(line) - len(line.lstrip())]
        yield fill(line, _WIDTH, subsequent_indent=f"{indent}  ", break_on_hyphens=False, break_long_words=False)


def _lines(policy: CompiledPolicy) -> Iterator[str]:
    names = [*policy.profiles.constants]
    for name in names:
        constants = ", ".join(f"{constant} {_value(value)}" for constant, value in _constants(policy, name).items())
        yield f"{name}: {constants or 'no constants'}"
        yield f"  {_some(_recipients(policy, name))}"
    yield ""
    for pair in pairs(policy.force, policy.profiles.constants):
        yield f"{pair.one}, {pair.other}: {_pair(pair)}"
    yield f"postmaster and abuse, others: {_postmaster(policy)}"
    for difference, rules in by_address(policy.force):
        yield f"any two of one profile: may wait, as {_DOES[difference]} may differ by address: {', '.join(rules)}"


def _some(recipients: list[str]) -> str:
    more = len(recipients) - _SHOWN
    return ", ".join(recipients[:_SHOWN] + ([f"and {more} more"] if more > 0 else [])) or "nobody"


def _constants(policy: CompiledPolicy, profile: str) -> dict[str, Any]:
    return dict(policy.profiles.constants[profile])


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


def _recipients(policy: CompiledPolicy, profile: str) -> list[str]:
    return [key for key, its in lookups(policy.profiles) if its == profile]


def _pair(pair: Pair) -> str:
    if pair.difference is None:
        return "share a transaction; where they are filed differently, the header says where by profile"
    return (
        f"the later waits (452 4.5.3): what may {_DOES[pair.difference]} looks at the profile: {', '.join(pair.rules)}"
    )


def _postmaster(policy: CompiledPolicy) -> str:
    if blocking_rules(policy.force) is None:
        return "share a transaction; they are never filed"
    return "the later waits (452 4.5.3): a message may be refused or deferred for others, never for them"


def _as_json(policy: CompiledPolicy) -> dict[str, Any]:
    return {
        "policy": str(policy.path),
        "digest": policy.digest,
        "profiles": {name: _constants(policy, name) for name in policy.profiles.constants},
        "recipients": dict(lookups(policy.profiles)),
        "pairs": [
            {"profiles": [pair.one, pair.other], "difference": pair.difference, "rules": list(pair.rules)}
            for pair in pairs(policy.force, policy.profiles.constants)
        ],
        "postmaster_waits": blocking_rules(policy.force) is not None,
        "by_address": {difference.value: list(rules) for difference, rules in by_address(policy.force)},
    }
