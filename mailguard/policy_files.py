"""Loads what an admin writes, ready to run by it: the settings, the policy, and the lists that the policy includes.

The only part of the policy that touches a disk. Every file is read once, whole, into a snapshot (``files``); what is
compiled is that snapshot, and its digest names it.
"""

from __future__ import annotations

import os
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Final

from mailguard.config import Settings
from mailguard.facts import Source
from mailguard.files import absolute, read, read_settings
from mailguard.policy.compiler import Draft, draft_policy
from mailguard.policy.engine import CompiledPolicy
from mailguard.positions import Problem, Problems, Text, parse
from mailguard.settings_checks import problems_here

MAX_LIST: Final = 16 * 1024 * 1024
"""Octets of an address list: some 500,000 entries."""
MAX_CASE_FILES: Final = 256
"""Files of cases in the folder beside a policy."""


def load_settings(path: Path) -> Settings:
    """The settings in the file at ``path``; paths in it, which are relative to its folder, are made absolute.

    Links and ``..`` stay in those of policy and certificate: they may lead elsewhere when these are loaded again.

    Raises:
        Problems: everything that is wrong with it, or that does not work on this machine.
    """
    document, settings = read_settings(path)
    if problems := problems_here(document, settings):
        raise Problems(problems)
    return absolute(settings, path.parent.absolute())


def draft(path: Path) -> Draft:
    """The policy in the file at ``path``, compiled, and its cases, which are not run yet.

    Lists that it includes are relative to its folder. Its ``digest`` is over its text, theirs and those of the cases
    beside it, in the order read.

    Raises:
        Problems: everything that is wrong with it, with a list or with a file of cases.
    """
    policy_text = read(path)
    beside = [read(file) for file in cases_beside(path)]
    snapshot = [policy_text, *beside]

    def include(name: str) -> Text:
        snapshot.append(read(path.parent / name, MAX_LIST))
        return snapshot[-1]

    found = draft_policy(parse(policy_text), include, beside)
    return replace(found, policy=replace(found.policy, digest=_digest(snapshot)))


def load(path: Path) -> CompiledPolicy:
    """The policy in the file at ``path``, compiled, its cases passed.

    Raises:
        Problems: as :func:`draft`; or the cases that fail.
    """
    return draft(path).tested()


def cases_beside(path: Path) -> list[Path]:
    """The files of cases beside a policy: of ``a.yaml`` those are ``a.cases.yaml`` and ``a.cases/*.yaml``, by name.

    Raises:
        Problems: the folder cannot be read, or holds more than :data:`MAX_CASE_FILES`.
    """
    alone, folder = path.with_name(f"{path.stem}.cases.yaml"), path.with_name(f"{path.stem}.cases")
    try:
        inside = sorted(folder.iterdir()) if os.path.lexists(folder) else []
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Problems([Problem(str(folder), 1, 1, f"this folder cannot be read: {reason}")]) from error
    found = [file for file in inside if file.suffix == ".yaml" and not file.name.startswith(".")]
    if len(found) > MAX_CASE_FILES:
        message = f"this folder holds more than {MAX_CASE_FILES} files of cases"
        raise Problems([Problem(str(folder), 1, 1, message, "put several cases into one file")])
    return [alone, *found] if os.path.lexists(alone) else found


def load_for(settings: Settings) -> CompiledPolicy:
    """The policy that ``settings`` name, if it can work with them.

    Raises:
        Problems: as :func:`load`; or it would defer all mail for want of a scanner that is not configured.
    """
    policy = load(settings.policy)
    scanners = {Source.CLAMAV: settings.clamav.address, Source.SPAMASSASSIN: settings.spamassassin.address}
    missing = [source for source, address in scanners.items() if address is None and policy.defers_without(source)]
    if missing:
        raise Problems([_unconfigured(settings.policy, source) for source in missing])
    return policy


def _unconfigured(path: Path, source: Source) -> Problem:
    message = f"this policy defers all mail while `{source}` is down, and the settings name no `{source}.address`"
    return Problem(str(path), 1, 1, message, f"set `{source}.address`, or say `{source}: {{down: deliver, ...}}` here")


def _digest(snapshot: list[Text]) -> str:
    """SHA-256 over the texts, each behind its length, so that no two snapshots run together to the same octets."""
    result = sha256()
    for text in snapshot:
        octets = text.text.encode()
        result.update(b"%d:" % len(octets))
        result.update(octets)
    return result.hexdigest()
