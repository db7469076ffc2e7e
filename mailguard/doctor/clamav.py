"""clamd: is it there, how old are its signatures, does it find what it must, and does it say what it did not look at?

It is asked twice: by pyclamd (PING, VERSION, STATS), a second opinion, and by the service's own client with the very
messages that tell. What passes as clean there would pass in earnest:

- the EICAR test file, attached to a message: it takes mail apart, and has signatures;
- archives within each other, deeper than its MaxRecursion can be: it must not call "OK" what it did not look at whole
  (``AlertExceedsMax yes``);
- the EICAR test file at the end of a message as long as ``limits.max_message_size``: MaxFileSize, MaxScanSize and
  StreamMaxLength are large enough.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from typing import Final

from mailguard.doctor import letters
from mailguard.doctor.examination import alive, each
from mailguard.doctor.notes import Measure, Notes
from mailguard.doctor.patient import Patient
from mailguard.facts import Answer, Cause, Known, Unknown, VirusResult
from mailguard.net.aside import Aside
from mailguard.scanners.clamav import Clamav, ClamdReport, probe
from mailguard.scanners.exchange import ScannerDown
from mailguard.spool import Folder, Spool, SpoolFull, SpoolLost

DAY: Final = 86400.0
_START: Final = "is clamd running, and may this user use its socket? `systemctl status clamav-daemon`"
_START_THERE: Final = (
    "is clamd running on that host, does it listen at that address (ListenStream of clamav-daemon.socket), and does "
    "its firewall let this host in?"
)
_WHOLE: Final = "something answers PING there: is it clamd, and not overloaded? `systemctl status clamav-daemon`"
_FRESHEN: Final = "`systemctl status clamav-freshclam` tells why no new ones come"
_LIMITS: Final = "raise MaxFileSize, MaxScanSize and StreamMaxLength in clamd.conf, or lower `limits.max_message_size`"
_QUESTIONS: Final = 4
"""Questions of one look by pyclamd, each with its own timeout."""


async def examine(patient: Patient, notes: Notes) -> None:
    """All that can be asked; nothing but that it is down, where it is."""
    settings = patient.settings.clamav
    if settings.address is None:
        notes.skipped("", "`clamav.address` names none")
        return
    client = Clamav(settings, patient.monotonic)
    if not await alive(client.alive(), settings.timeout):
        remedy = _START if settings.address.startswith("unix:") else _START_THERE
        notes.failed(settings.address, "does not answer PING", remedy)
        return
    works: dict[str, Callable[[Notes], Awaitable[None]]] = {
        "signatures": partial(_report, patient, settings.address),
        "EICAR": partial(_eicar, patient, client),
        "AlertExceedsMax": partial(_nested, patient, client),
        "longest message": partial(_longest, patient, client),
    }
    await each(patient, notes, works)


# -- by pyclamd


async def _report(patient: Patient, address: str, notes: Notes) -> None:
    seconds = min(patient.settings.clamav.timeout, patient.settings.doctor.timeout) / _QUESTIONS
    try:
        report = await Aside("pyclamd").run(lambda: probe(address, seconds), seconds * _QUESTIONS)
    except ScannerDown as error:
        notes.failed("pyclamd", f"PING, VERSION and STATS fail: {error}", _WHOLE)
        return
    except TimeoutError:
        told = f"PING, VERSION and STATS are not answered in {seconds * _QUESTIONS:g} s"
        notes.failed("pyclamd", told, _WHOLE)
        return
    queue = re.search(r"^QUEUE: (\d+) items", report.stats, re.MULTILINE)
    waiting = int(queue[1]) if queue else 0
    notes.ok("", f"{report.version.split('/')[0]}, {waiting} in its queue", [Measure("clamd_queue", waiting)])
    _age(report, patient, notes)


def made_at(version: str) -> float | None:
    """When the signatures were made, in seconds since the epoch, by what clamd says to VERSION; None: it does not say.

    It says so in its local time, which is taken to be ours.
    """
    date = version.partition("/")[2].partition("/")[2]
    try:
        return time.mktime(time.strptime(date, "%a %b %d %H:%M:%S %Y"))
    except (ValueError, OverflowError):
        return None


def _age(report: ClamdReport, patient: Patient, notes: Notes) -> None:
    made = made_at(report.version)
    if made is None:
        told = f"it has none of ClamAV's own (daily, main): {report.version!r} names no date"
        notes.warning("signatures", told, f"run freshclam; {_FRESHEN}")
        return
    limit = patient.settings.doctor.max_signature_age
    age = max(0.0, patient.now() - made) / DAY
    measure = [Measure("signature_age", round(age * DAY), "s", f"{limit * DAY:.0f}")]
    day = datetime.fromtimestamp(made, UTC).date()
    if age > limit:
        notes.warning("signatures", f"of {day}: {age:.0f} days old, more than {limit:g}", _FRESHEN, measure)
    else:
        notes.ok("signatures", f"of {day}", measure)


# -- by our own client


async def _eicar(patient: Patient, client: Clamav, notes: Notes) -> None:
    match await _scan(patient, client, letters.infected(_now(patient))):
        case Known(VirusResult(name)) if name:
            notes.ok("EICAR", f"found in an attachment, as {name}")
        case Known():
            remedy = "has it signatures (freshclam), and does clamd.conf leave ScanMail on?"
            notes.failed("EICAR", "called a message clean that has the test file attached", remedy)
        case Unknown(why):
            notes.failed("EICAR", f"no answer about the test file: {why}", _START)


async def _nested(patient: Patient, client: Clamav, notes: Notes) -> None:
    match await _scan(patient, client, [letters.nested(_now(patient))]):
        case Unknown(_, Cause.UNSCANNABLE):
            notes.ok("AlertExceedsMax", "says so where it did not look at all of a message")
        case Unknown(why):
            notes.failed("AlertExceedsMax", f"no answer about archives within each other: {why}", _START)
        case Known(VirusResult(name)):
            told = (
                f"called {letters.NESTED} archives within each other {name or 'clean'}, which it cannot have opened all"
            )
            notes.failed("AlertExceedsMax", told, "write `AlertExceedsMax yes` in clamd.conf, and restart clamd")


async def _longest(patient: Patient, client: Clamav, notes: Notes) -> None:
    size = patient.settings.limits.max_message_size
    about = "longest message"
    try:
        answer = await _scan(patient, client, letters.infected(_now(patient), size))
    except (SpoolFull, SpoolLost) as error:
        notes.skipped(about, f"there is no room to make a message of {size} octets: {error}")
        return
    match answer:
        case Known(VirusResult(name)) if name:
            notes.ok(about, f"of {size} octets is looked at to its end")
        case Known():
            told = f"of {size} octets is called clean, its end not looked at"
            notes.failed(about, told, f"write `AlertExceedsMax yes` in clamd.conf, and {_LIMITS}")
        case Unknown(why, Cause.UNSCANNABLE):
            notes.warning(about, f"of {size} octets is not looked at whole: {why}", _LIMITS)
        case Unknown(why):
            notes.warning(about, f"of {size} octets: no answer: {why}", f"{_LIMITS}, or `clamav.timeout`")


async def _scan(patient: Patient, client: Clamav, pieces: Iterable[bytes]) -> Answer[VirusResult]:
    """clamd's word on a message, spooled as the service does it.

    Raises:
        SpoolFull, SpoolLost: there is no room for it.
    """
    limits = patient.settings.limits
    deadline = asyncio.get_running_loop().time() + patient.settings.clamav.timeout
    folder = Folder(patient.settings.spool_dir, limits.min_spool_free)
    with closing(Spool(limits.max_message_memory, folder)) as spool:
        for piece in pieces:
            spool.write(piece)
        with spool.finish() as content:
            return await client.scan(content, deadline)


def _now(patient: Patient) -> datetime:
    return datetime.fromtimestamp(patient.now(), UTC)
