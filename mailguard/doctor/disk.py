"""Room on the disks: for long messages in the spool, and for the journal. Blocking; sizes in octets."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from mailguard.config import Journal
from mailguard.doctor.notes import Measure, Notes
from mailguard.doctor.patient import Patient
from mailguard.spool import Folder

MIN_INODES: Final = 1000
"""Files that can still be made, before it is a warning."""
MIB: Final = 1024 * 1024


def examine(patient: Patient, notes: Notes) -> None:
    """The file systems of spool and journal."""
    _spool(patient, notes)
    _journal(patient.settings.journal, notes)


def _spool(patient: Patient, notes: Notes) -> None:
    limits = patient.settings.limits
    folder = Folder(patient.settings.spool_dir, limits.min_spool_free)
    try:
        free = _free(folder.where)
    except OSError as error:
        notes.failed("spool", f"{folder.name}: {error.strerror}", "make it, or name another in `spool_dir`")
        return
    least, good = limits.min_spool_free, limits.min_spool_free + 2 * limits.max_message_size
    measure = [Measure("spool_free", free, "B", f"{good}:", f"{least}:")]
    remedy = f"make room on the file system of {folder.where}, or name a folder on another in `spool_dir`"
    if free < least:
        told = f"{_mib(free)} free of which {_mib(least)} must stay: long messages are told 452"
        notes.failed("spool", told, remedy, measure)
    elif free < good:
        notes.warning("spool", f"{_mib(free)} free: two messages of the largest size do not fit", remedy, measure)
    else:
        notes.ok("spool", f"{_mib(free)} free in {folder.where}", measure)
    _inodes("spool", folder.where, notes)


def _journal(settings: Journal, notes: Notes) -> None:
    if settings.directory is None:
        notes.skipped("journal", "`journal.directory` names none: no journal is kept")
        return
    there = settings.directory if settings.directory.exists() else settings.directory.parent
    try:
        free = _free(there)
        used = sum(entry.stat().st_size for entry in os.scandir(there) if entry.is_file()) if there.is_dir() else 0
    except OSError as error:
        notes.failed("journal", f"{there}: {error.strerror}", "make it, or name another in `journal.directory`")
        return
    if there != settings.directory:
        used = 0
    growth = max(0, settings.max_size - used)
    measure = [Measure("journal_free", free, "B", f"{growth}:", f"{settings.segment_size}:")]
    if free < settings.segment_size:
        told = f"{_mib(free)} free, less than one file of it takes: records will be lost"
        notes.failed("journal", told, f"make room on the file system of {there}", measure)
    elif free < growth:
        told = f"{_mib(free)} free, while it may grow by {_mib(growth)} (`journal.max_size`)"
        notes.warning("journal", told, "lower `journal.max_size`, or make room", measure)
    else:
        notes.ok("journal", f"{_mib(free)} free, enough for all of `journal.max_size`", measure)
    _inodes("journal", there, notes)


def _inodes(about: str, folder: Path, notes: Notes) -> None:
    """File systems that make inodes as they need them tell of none at all."""
    system = os.statvfs(folder)
    if not system.f_files or system.f_favail >= MIN_INODES:
        return
    told = f"{system.f_favail} more files can be made on the file system of {folder}"
    remedy = "remove small files there: `df -i` shows them used up"
    (notes.warning if system.f_favail else notes.failed)(f"{about} inodes", told, remedy)


def _free(folder: Path) -> int:
    """What an ordinary user may still use (``f_bavail``), also to root."""
    system = os.statvfs(folder)
    return system.f_bavail * system.f_frsize


def _mib(octets: int) -> str:
    return f"{octets / MIB:,.0f} MiB"
