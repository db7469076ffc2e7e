"""Loads what an admin writes, ready to run by it: the settings, the policy, and the lists that the policy includes.

The only part of the policy that touches a disk. Every file is read once, whole, into a snapshot (``files``); what is
compiled is that snapshot, and its digest names it. Keys of lists (``policy.keys``) are read here too, and nothing that
is said of them, the digest included, tells what they are (decision 0130).
"""

from __future__ import annotations

import os
from dataclasses import replace
from hashlib import scrypt, sha256
from itertools import chain
from pathlib import Path
from typing import Final

from mailguard.config import Settings
from mailguard.facts import Source
from mailguard.files import MAX_FILE, absolute, is_open, read_settings
from mailguard.policy.compiler import Draft, draft_policy
from mailguard.policy.engine import CompiledPolicy
from mailguard.policy.keys import Key, MissingKey
from mailguard.policy.keys import parse as parse_key
from mailguard.policy.parts import merged
from mailguard.policy.schema import KeyEntry, KeyFile, KeyVariable
from mailguard.positions import Document, Problem, Problems, Text, parse
from mailguard.secret import Secret
from mailguard.settings_checks import problems_here
from mailguard.snapshot import DISK, Files

MAX_LIST: Final = 16 * 1024 * 1024
"""Octets of an address list: some 500,000 entries."""
MAX_KEY: Final = 4096
"""Octets of a file with a key."""
MAX_FILES: Final = 256
"""Files in a folder beside a policy."""
_NEARLY_YAML: Final = (".yml", ".YAML", ".YML")


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


def draft(path: Path, files: Files = DISK) -> Draft:
    """The policy in the file at ``path`` and in its parts, compiled, and its cases, which are not run yet.

    Lists that it includes are relative to its folder, in its parts too. Its ``digest`` is over its text and theirs, and
    over those of the lists, keys and cases beside it, in the order read. ``files``: where they are read.

    Raises:
        Problems: everything that is wrong with it, with a part, a list or a file of cases.
    """
    texts = _policy_texts(path, files)
    beside = [files.read(file) for file in cases_beside(path, files)]
    lists: list[Text] = []
    keys: list[Secret] = []
    read = [("part", text.file) for text in texts[1:]] + [("cases", text.file) for text in beside]

    def include(name: str) -> Text:
        lists.append(files.read(path.parent / name, MAX_LIST))
        read.append(("list", lists[-1].file))
        return lists[-1]

    def key(entry: KeyEntry) -> Key:
        found = _key(entry, path.parent, files)
        keys.append(found.secret)
        read.append(("key", _place(entry, path.parent)))
        return found

    found = draft_policy(_document(texts), include, beside, key)
    digest = _digest([*texts, *beside, *lists], keys)
    return replace(found, policy=replace(found.policy, digest=digest), read=tuple(read))


def _place(entry: KeyEntry, folder: Path) -> str:
    return str(folder / entry.file) if isinstance(entry, KeyFile) else f"${entry.env}"


def _key(entry: KeyEntry, folder: Path, files: Files) -> Key:
    """The key that ``entry`` names.

    Raises:
        MissingKey: there is none, or it cannot be read.
        BadKey: what is there is no key.
    """
    if isinstance(entry, KeyVariable):
        if (value := os.environ.get(entry.env)) is None:
            raise MissingKey(f"the environment variable {entry.env} is not set")
        return Key(parse_key(value))
    path = folder / entry.file
    try:
        text = files.read(path, MAX_KEY).text
    except Problems as error:
        # Of a problem with what stands in the file the line would be shown, and with it the key.
        message = f"{path}: {error.problems[0].message}"
        raise MissingKey(message) from None
    return Key(parse_key(text), "every user of this machine" if is_open(path) else "")


def load(path: Path) -> CompiledPolicy:
    """The policy in the file at ``path``, compiled, its cases passed.

    Raises:
        Problems: as :func:`draft`; or the cases that fail.
    """
    return draft(path).tested()


def _policy_texts(path: Path, files: Files) -> list[Text]:
    """The policy and its parts.

    Raises:
        Problems: one cannot be read, or they are longer than one file may be, all together.
    """
    texts: list[Text] = []
    octets = 0
    for file in [path, *parts_beside(path, files)]:
        texts.append(files.read(file))
        octets += len(texts[-1].text.encode())
        if octets > MAX_FILE:
            message = f"with this file the policy and its parts are longer than {MAX_FILE} octets"
            raise Problems([Problem(str(file), 1, 1, message, "addresses stand in files of lists")])
    return texts


def _document(texts: list[Text]) -> Document:
    """The policy with its parts.

    Raises:
        Problems: one of them is no YAML.
    """
    documents: list[Document] = []
    problems: list[Problem] = []
    for text in texts:
        try:
            documents.append(parse(text))
        except Problems as error:
            problems += error.problems
    if problems:
        raise Problems(chain(problems, *(document.problems for document in documents)))
    return merged(documents[0], documents[1:])


def parts_beside(path: Path, files: Files = DISK) -> list[Path]:
    """The parts of a policy: of ``a.yaml`` those are ``a.d/*.yaml``, by name.

    Raises:
        Problems: as :func:`_in_folder`.
    """
    return _in_folder(path.with_name(f"{path.stem}.d"), "parts of a policy", files)


def cases_beside(path: Path, files: Files = DISK) -> list[Path]:
    """The files of cases beside a policy: of ``a.yaml`` those are ``a.cases.yaml`` and ``a.cases/*.yaml``, by name.

    Raises:
        Problems: as :func:`_in_folder`.
    """
    alone = path.with_name(f"{path.stem}.cases.yaml")
    found = _in_folder(path.with_name(f"{path.stem}.cases"), "files of cases", files)
    return [alone, *found] if files.exists(alone) else found


def _in_folder(folder: Path, what: str, files: Files) -> list[Path]:
    """The files ``*.yaml`` in ``folder``, by name; none where there is none. Others and hidden ones are not read.

    Raises:
        Problems: the folder cannot be read, holds more than :data:`MAX_FILES`, or one ends in ``.yml``, so that its
            author thinks that it is read.
    """
    try:
        inside = [folder / name for name in files.names(folder) or []]
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise Problems([Problem(str(folder), 1, 1, f"this folder cannot be read: {reason}")]) from error
    shown = [file for file in inside if not file.name.startswith(".")]
    unread = [file for file in shown if file.suffix in _NEARLY_YAML]
    if unread:
        raise Problems(Problem(str(f), 1, 1, f"only *.yaml is read as {what}", "rename it") for f in unread)
    found = [file for file in shown if file.suffix == ".yaml"]
    if len(found) > MAX_FILES:
        message = f"this folder holds more than {MAX_FILES} {what}"
        raise Problems([Problem(str(folder), 1, 1, message, "put several into one file")])
    return found


def load_for(settings: Settings, files: Files = DISK) -> CompiledPolicy:
    """The policy that ``settings`` name, read from ``files``, if it can work with them.

    Raises:
        Problems: as :func:`draft_for`.
    """
    return draft_for(settings, files).policy


def draft_for(settings: Settings, files: Files = DISK, *, keys_at_hand: bool = True) -> Draft:
    """As :func:`load_for`, with where it stands; its cases are passed.

    Args:
        settings: name it.
        files: where it is read.
        keys_at_hand: whether a list's key that cannot be had is a problem, and not a warning.

    Raises:
        Problems: as :func:`load`; or a key is not at hand, or it would defer all mail for want of a scanner that is
            not configured.
    """
    found = draft(settings.policy, files)
    policy = found.tested()
    if keys_at_hand and policy.missing_keys:
        raise Problems(policy.missing_keys)
    scanners = {Source.CLAMAV: settings.clamav.address, Source.SPAMASSASSIN: settings.spamassassin.address}
    missing = [source for source, address in scanners.items() if address is None and policy.defers_without(source)]
    if missing:
        raise Problems([_unconfigured(settings.policy, source) for source in missing])
    return found


def _unconfigured(path: Path, source: Source) -> Problem:
    message = f"this policy defers all mail while `{source}` is down, and the settings name no `{source}.address`"
    return Problem(str(path), 1, 1, message, f"set `{source}.address`, or say `{source}: {{down: deliver, ...}}` here")


def _digest(snapshot: list[Text], keys: list[Secret]) -> str:
    """SHA-256 over the texts, each behind its length, so that no two snapshots run together to the same octets.

    A key goes in hashed so that each guess at it takes 16 MiB and tens of milliseconds (RFC 7914): digests stand in
    log and journal, where somebody may guess at leisure. The salt is the digest of all that came before it.
    """
    result = sha256()
    for text in snapshot:
        octets = text.text.encode()
        result.update(b"%d:" % len(octets))
        result.update(octets)
    for key in keys:
        result.update(scrypt(key.revealed().encode(), salt=result.digest(), n=2**14, r=8, p=1))
    return result.hexdigest()
