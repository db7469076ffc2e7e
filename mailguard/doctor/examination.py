"""The parts examined at the same time, each within its bound, none able to hide another.

A part that is not done in time keeps what it had found; what it was waiting for is a finding too. An exception that no
part should have raised is a finding as well, and a bug. Blocking parts run in threads of their own
(:class:`mailguard.net.aside.Aside`): one that hangs in a system call holds up nobody.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, TypeAlias

from mailguard.doctor.notes import Finding, Notes
from mailguard.doctor.patient import Patient
from mailguard.net.aside import Aside
from mailguard.net.together import together

Examine: TypeAlias = Callable[[Patient, Notes], Awaitable[None]]
"""What a part does."""
WITHIN: Final = 0.9
"""Share of a part's time that each of several things in it has."""


async def examined(notes: Notes, about: str, work: Awaitable[None], seconds: float) -> None:
    """Do ``work``, which writes into ``notes``, within ``seconds``; that it did not end well is noted ``about`` it."""
    try:
        async with asyncio.timeout(seconds):
            await work
    except TimeoutError:
        notes.failed(about, f"not done within {seconds:g} s", "look why it is so slow, or raise `doctor.timeout`")
    except Exception as error:  # noqa: BLE001  a bug in one examination must not hide the others
        notes.bug(about, f"{type(error).__name__}: {error}")


async def each(patient: Patient, notes: Notes, works: Mapping[str, Callable[[Notes], Awaitable[None]]]) -> None:
    """Do all ``works`` at the same time, named by what they are about; each as :func:`examined`.

    What they write stands in ``notes`` in their order, whoever was done first. Their bound is a little less than that
    of the part, so that it is told which of them was too slow.
    """
    seconds = patient.settings.doctor.timeout * WITHIN
    own = {about: Notes(notes.part, notes.configuration) for about in works}
    try:
        await together(examined(own[about], about, work(own[about]), seconds) for about, work in works.items())
    finally:
        for each_own in own.values():
            notes.take(each_own)


async def alive(asked: Awaitable[bool], seconds: float) -> bool:
    """Whether ``asked`` gives a sign of life within ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            return await asked
    except TimeoutError:
        return False


def beside(examine: Callable[[Patient, Notes], None]) -> Examine:
    """A blocking part, made to run beside the loop."""

    async def run(patient: Patient, notes: Notes) -> None:
        await Aside(notes.part).run(lambda: examine(patient, notes), patient.settings.doctor.timeout)

    return run


async def examination(patient: Patient, parts: Iterable[tuple[Notes, Examine]], seconds: float) -> list[Finding]:
    """What each of ``parts`` finds, in their order."""
    chosen = list(parts)
    await together(examined(notes, "", examine(patient, notes), seconds) for notes, examine in chosen)
    return [finding for notes, _ in chosen for finding in notes.findings]
