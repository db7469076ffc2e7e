"""What happened, told once: a line of the log, and a record of the journal where one is kept."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from mailguard import metrics
from mailguard.config import Limits
from mailguard.journal.form import Record, begun, bounded
from mailguard.journal.journal import Journal
from mailguard.journal.line import log_line
from mailguard.journal.throttle import Throttle
from mailguard.log import logger
from mailguard.replies import Reply

ACCEPT: Final = "accept"
FILE: Final = "file"
DEFER: Final = "defer"
REJECT: Final = "reject"
"""What can become of a message or a command."""


def reply_fields(answer: Reply) -> dict[str, Any]:
    """``answer`` as a record has it."""
    return {
        "code": answer.code,
        "enhanced": answer.enhanced,
        "text": answer.text,
        "by": answer.origin,
        "cause": answer.cause,
    }


def became(answer: Reply, folder: str = "") -> str:
    """The verdict that ``answer`` means, for a message filed in ``folder`` where it is taken."""
    if answer.positive:
        return FILE if folder else ACCEPT
    return DEFER if answer.code < 500 else REJECT


class Recorder:
    """Logs what happens, and has it written where there is a ``journal``.

    Never fails: a bug in telling of a message that a backend has taken must not make it 451, and so come twice.
    """

    def __init__(self, journal: Journal | None = None, most: int = Limits().max_refusals_recorded) -> None:
        """``most``: refusals of one kind that are recorded in a minute (``limits.max_refusals_recorded``)."""
        self._journal = journal
        self._throttle = Throttle(most, _later, _more)

    def note(self, record: Record, client: Mapping[str, object] | None = None) -> None:
        """Tell of ``record``, which is given away; ``client``: of the line, where that is made."""
        try:
            logger.tell(log_line(record, client))
        except Exception:  # noqa: BLE001  told of as any bug is, but for the journal
            self._failed(record["ref"])
        self._write(record)

    def _write(self, record: Record) -> None:
        if self._journal is None:
            return
        try:
            self._journal.put(record)
        except Exception:  # noqa: BLE001  as above
            self._failed(record["ref"])

    def _failed(self, reference: str) -> None:
        metrics.ERRORS.inc()
        logger.exception("internal error", ref=reference)

    def finish(self) -> None:
        """The end: tell how many refusals were not recorded, where a minute is not over yet."""
        self._throttle.finish()

    def bug(self, reference: str, client: str) -> None:
        """Count and tell of the exception being handled, which nobody expected; the client is told 4yz."""
        self._failed(reference)
        about = {**begun("internal error", reference), "verdict": DEFER, "client": {"ip": client}}
        self._write({**about, "exception": bounded(repr(sys.exception()))})

    def refused(self, event: str, reference: str, client: str, answer: Reply, **more: object) -> bool:
        """Tell of a refusal that no story gave: of a command, or of a whole connection.

        Returns:
            Whether it can be found by its reference: not if there were very many of its kind.
        """
        if not self._throttle.admits(f"{event}: {answer.code} {answer.enhanced}"):
            return False
        about = {**begun(event, reference), "verdict": became(answer), "client": {"ip": client}}
        self.note({**about, **more, "reply": reply_fields(answer)})
        return True


def _later(seconds: float, call: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, call)


def _more(kind: str, count: int) -> None:
    logger.warning("refusals not recorded", error=f"{count} more in the last minute: {kind}", count=count)
