"""Who may write what mailguard obeys, and read what it keeps secret; and what it must write itself. Blocking.

What everybody may write is no configuration of the administrator's; so it is with a folder that everybody may write
where the sticky bit does not keep names from being taken away. The group is the administrator's affair.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from functools import reduce
from pathlib import Path

from mailguard.config import secret_variables
from mailguard.doctor.access import CannotAsk, denied
from mailguard.doctor.notes import Notes
from mailguard.doctor.patient import Patient
from mailguard.journal.folder import why_unusable as why_no_journal
from mailguard.policy_files import cases_beside, parts_beside
from mailguard.positions import Problems
from mailguard.spool import Folder
from mailguard.spool import why_unusable as why_no_spool


def examine(patient: Patient, notes: Notes) -> None:
    """Files of configuration, secrets, and what mailguard itself reads and writes."""
    before = len(notes.findings)
    for path in dict.fromkeys(_obeyed(patient)):
        _writable(path, notes)
    for name, path in secrets(patient).items():
        _readable(name, path, notes)
    if len(notes.findings) == before:
        notes.ok("files", "nobody but owner and group may write configuration, or read secrets")
    user = patient.settings.user
    if os.geteuid() != 0:
        _folders(patient, notes)
    elif user is None:
        notes.skipped(
            "user", "this is root, who may do anything: run doctor as the user that runs mailguard, or set `user`"
        )
    else:
        _as_user(user, patient, notes)


def _as_user(user: str, patient: Patient, notes: Notes) -> None:
    """What ``user``, whom root becomes to serve mail, may do."""
    files = (*_obeyed(patient), *secrets(patient).values(), *_read(patient, "key"))
    wanted = {path: os.R_OK for path in files if path.exists()}
    wanted |= {path: os.R_OK | os.W_OK for path in _sockets(patient) if path.exists()}
    for folder in (patient.settings.spool_dir, patient.settings.journal.directory):
        if folder is not None:
            wanted[folder if folder.exists() else folder.parent] = os.R_OK | os.W_OK | os.X_OK
    try:
        refused = denied(user, wanted, patient.settings.doctor.timeout)
    except CannotAsk as error:
        notes.failed("user", str(error), f"make the user, as in `adduser --system --group {user}`, or change `user`")
        return
    for path in refused:
        if path.is_socket():
            told, remedy = f"the user {user} may not use this socket", f"put him into its group: `stat -c %G {path}`"
        else:
            what = "write" if wanted[path] & os.W_OK else "read"
            told, remedy = f"the user {user} may not {what} it", "let him: chgrp, chmod g+r, or chown for a folder"
        notes.failed(str(path), told, remedy)
    if not refused:
        notes.ok("user", f"{user} may read and write what the service must")


def _obeyed(patient: Patient) -> Iterator[Path]:
    """What mailguard does as it says: files, and the folders that hold them."""
    policy = patient.settings.policy
    files = [patient.path.absolute(), policy]
    try:
        files += [*parts_beside(policy), *cases_beside(policy)]
    except Problems:  # told of by the part `policy`
        yield policy.parent
    for file in (*files, *_read(patient, "list")):
        yield file
        yield file.parent


def _read(patient: Patient, wanted: str) -> list[Path]:
    """The lists or keys that the policy includes."""
    return [Path(place) for what, place in patient.read if what == wanted and not place.startswith("$")]


def _sockets(patient: Patient) -> list[Path]:
    """Of scanners on this machine; where they are down there is none."""
    addresses = (patient.settings.clamav.address, patient.settings.spamassassin.address)
    return [Path(address.removeprefix("unix:")) for address in addresses if address and address.startswith("unix:")]


def _writable(path: Path, notes: Notes) -> None:
    """Whether everybody may change what stands at ``path``; what is not there is told of elsewhere."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return
    if not mode & stat.S_IWOTH or (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
        return
    kind = "folder" if stat.S_ISDIR(mode) else "file"
    told = f"every user of this machine may change this {kind} (mode {stat.S_IMODE(mode):04o})"
    notes.failed(str(path), told, f"chmod o-w {path}")


def secrets(patient: Patient) -> dict[str, Path]:
    """The files of which nobody else may know the contents, by the setting that names them."""
    found: dict[str, Path] = {}
    for path in secret_variables().values():
        value = reduce(getattr, path, patient.settings)
        if isinstance(value, Path):
            found[".".join(path)] = value
    tls = patient.settings.tls
    if tls.key is None and tls.certificate is not None:  # which then holds the key
        found["tls.certificate"] = tls.certificate
    return found


def _readable(name: str, path: Path, notes: Notes) -> None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        with path.open("rb"):
            pass
    except OSError as error:
        told = f"{path} cannot be read: {(error.strerror or str(error)).lower()}"
        notes.failed(name, told, "let the user who runs mailguard, as this check does, read it: chgrp, chmod 640")
        return
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        told = f"{path} is open to every user of this machine (mode {mode:04o})"
        notes.failed(name, told, f"chmod o= {path}, and make a new one: this one may be known")


def _folders(patient: Patient, notes: Notes) -> None:
    """What this user must write; ``run_dir`` is made when the service starts, often by the service manager."""
    settings = patient.settings
    checks = {"spool_dir": why_no_spool(Folder(settings.spool_dir))}
    if settings.journal.directory is not None:
        checks["journal.directory"] = why_no_journal(settings.journal.directory)
    if settings.run_dir.exists():
        writable = os.access(settings.run_dir, os.W_OK | os.X_OK)
        checks["run_dir"] = "" if writable else f"{settings.run_dir} cannot be written by this user"
    for name, why in checks.items():
        if why:
            notes.failed(name, why, "let the user that runs mailguard, as this check does, make files there")
        else:
            notes.ok(name, "files can be made there")
