"""What was found: a finding for each thing that was looked at, and the notes into which a part writes them.

A finding says what is so in one sentence, and where it is not well, what to do. ``WARNING``: mail goes on as it should,
yet something had better be mended. ``FAILED``: something that mailguard needs does not work. ``SKIPPED``: not looked
at, and why. Units of measures are those of Nagios plug-ins: ``s``, ``B``, ``%``, or none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum


class Status(StrEnum):
    """How something stands."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Measure:
    """A figure to be drawn over time.

    ``warn`` and ``fail`` are where it is not well any more, as Nagios writes ranges: ``10`` over ten, ``10:`` under it.
    """

    name: str
    value: float
    unit: str = ""
    warn: str = ""
    fail: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        part: of which part.
        about: what it is about, such as an address; empty for the part as a whole.
        told: what is so.
        remedy: what to do; empty where all is well.
        configuration: whether the configuration must be changed, and no waiting helps.
        bug: whether the examination itself went wrong.
    """

    part: str
    about: str
    status: Status
    told: str
    remedy: str = ""
    measures: tuple[Measure, ...] = ()
    configuration: bool = False
    bug: bool = False

    @property
    def subject(self) -> str:
        """Part and thing."""
        return f"{self.part} {self.about}".rstrip()


@dataclass(slots=True)
class Notes:
    """What one part finds, in the order of its being written down.

    Attributes:
        part: its name.
        configuration: whether what fails in it is the configuration's fault.
    """

    part: str
    configuration: bool = False
    _findings: list[Finding] = field(default_factory=list)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All so far."""
        return tuple(self._findings)

    def take(self, others: Notes) -> None:
        """Write down what stands in ``others`` too."""
        self._findings += others.findings

    def ok(self, about: str, told: str, measures: Iterable[Measure] = ()) -> None:
        """It is as it should be."""
        self._findings.append(Finding(self.part, about, Status.OK, told, measures=tuple(measures)))

    def warning(self, about: str, told: str, remedy: str, measures: Iterable[Measure] = ()) -> None:
        """It works, and had better be mended."""
        self._findings.append(Finding(self.part, about, Status.WARNING, told, remedy, tuple(measures)))

    def failed(
        self,
        about: str,
        told: str,
        remedy: str,
        measures: Iterable[Measure] = (),
        *,
        configuration: bool | None = None,
    ) -> None:
        """It does not work."""
        at_fault = self.configuration if configuration is None else configuration
        self._findings.append(Finding(self.part, about, Status.FAILED, told, remedy, tuple(measures), at_fault))

    def skipped(self, about: str, why: str) -> None:
        """It was not looked at."""
        self._findings.append(Finding(self.part, about, Status.SKIPPED, why))

    def bug(self, about: str, told: str) -> None:
        """The examination itself went wrong."""
        remedy = "this is a bug of mailguard: report it, with the line above"
        self._findings.append(Finding(self.part, about, Status.FAILED, told, remedy, bug=True))
