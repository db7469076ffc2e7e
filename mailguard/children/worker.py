"""A worker as a process: ``python -m mailguard.children worker CHANNEL SLOT METRICS``.

It gets settings, policy and sockets from its supervisor (``mailguard.channel``), and reads neither configuration nor
policy from the disk: a worker that replaces a dead one serves what its neighbours serve, whatever stands in the files
by now. Every ``heartbeat_interval`` it says how it is; that comes from the event loop, so a loop that hangs is noticed.

Where the supervisor is gone it drains and ends: nobody could reload it, replace it or watch it any more, and whoever
starts the service again finds the addresses free at once. So it does at SIGTERM, which systemd sends to all processes
of the service, if the supervisor does not say by then how: that knows whether others go on with the sockets. Exit
status 0 after a drain.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Final

from mailguard import log, metric_store
from mailguard.channel import Channel, ChannelClosed, Kind, Message
from mailguard.children import start
from mailguard.children.own_core import keep_to_own
from mailguard.lasting import lasting

_COLLECT: Final = (50_000, 10, 10)
"""Objects between two collections. A session leaves no cycle behind, so that they find nothing but what errors leave;
at CPython's 700 they look through every session and every answer in the cache again and again."""


class Attendant:
    """Does for a worker what the supervisor says, and tells it how the worker is."""

    def __init__(self, channel: Channel, begin: Message) -> None:
        from mailguard.smtp.shared_counts import SharedCounts
        from mailguard.snapshot import Snapshot
        from mailguard.worker import Worker

        self._channel = channel
        self._settings = start.settings_of(begin.fields)
        snapshot, counts, *listening = begin.descriptors
        self._slot = begin.fields["slot"]
        self._sockets_are_ours: bool = begin.fields["sockets_are_ours"]
        self._worker = Worker(
            self._settings,
            slot=self._slot,
            files=Snapshot.of(snapshot),
            counts=SharedCounts(counts, self._slot),
        )
        os.close(snapshot)
        self._sockets = [socket.socket(fileno=descriptor) for descriptor in listening]
        self._worker.observe(begin.fields["observe_until"])
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._prepared: tuple[int, Any] | None = None
        self._policy: int = begin.fields["policy"]
        self._accepting = False
        self._alone = False
        self._stops = 0

    async def run(self) -> None:
        """Until the worker has drained.

        Raises:
            Exception: it cannot start.
        """
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._terminated)
        await self._worker.prepare()
        loop.add_reader(self._channel.fileno(), self._heard)
        self._tell(Kind.READY)
        while not self._ended.is_set():
            log.flush()
            self._tell(Kind.STATE)
            try:
                await asyncio.wait_for(self._ended.wait(), self._settings.processes.heartbeat_interval)
            except TimeoutError:
                continue
        self._tell(Kind.STATE)
        if not self._alone:
            loop.remove_reader(self._channel.fileno())  # what comes now comes too late

    def _tell(self, kind: Kind, **more: Any) -> None:
        """Say ``kind``, with how the worker is; a supervisor that is gone is noticed here too."""
        state: dict[str, Any] = {
            "connections": self._worker.connections,
            "accepting": self._accepting,
            "policy": self._policy,
            "digest": self._worker.digest,
            "reasons": list(self._worker.reasons()),
        }
        try:
            self._channel.send(kind, **state, **more)
        except ChannelClosed:
            self._orphaned()

    def _terminated(self) -> None:
        """Let the supervisor say how to drain; if it does not, drain as though others went on."""
        wait, seconds = self._settings.processes.heartbeat_interval, self._settings.limits.drain_timeout
        asyncio.get_running_loop().call_later(wait, self._drain, seconds)

    def _orphaned(self) -> None:
        if self._alone:
            return
        self._alone = True
        asyncio.get_running_loop().remove_reader(self._channel.fileno())
        self._drain(self._settings.limits.drain_timeout, last=self._sockets_are_ours)

    def _heard(self) -> None:
        try:
            messages = self._channel.receive()
        except ChannelClosed:
            self._orphaned()
            return
        for message in messages:
            self._obey(message)

    def _obey(self, message: Message) -> None:
        fields = message.fields
        match message.kind:
            case Kind.ACCEPT:
                self._begin(self._accept(fields["seat"], fields["seats"]))
            case Kind.DRAIN:
                self._drain(fields["seconds"], last=fields["last"])
            case Kind.STOP:
                self._drain(0.0)
            case Kind.PREPARE:
                self._begin(self._prepare(fields["policy"], message.descriptors[0]))
            case Kind.COMMIT:
                self._commit(fields["policy"])
            case Kind.CERTIFICATE:
                self._begin(self._certificate())
            case Kind.OBSERVE:
                self._worker.observe(fields["until"])

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        """A step that failed by a bug ends the process, which is replaced: half a worker serves nobody."""
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            asyncio.get_running_loop().call_exception_handler({"message": "a worker's step failed", "exception": error})
            self._drain(0.0)

    async def _accept(self, seat: int, seats: int) -> None:
        if self._settings.processes.own_cores:  # now: the journal's threads have begun, and go where there is room
            keep_to_own(seat, seats)
        await self._worker.accept(self._sockets)
        self._accepting = True
        self._tell(Kind.STATE)

    async def _prepare(self, number: int, descriptor: int) -> None:
        """Compile the policy of a snapshot beside the one that runs."""
        from mailguard.positions import Problems
        from mailguard.snapshot import Snapshot

        try:
            policy = await self._worker.load(Snapshot.of(descriptor))
        except (Problems, TimeoutError) as error:
            self._tell(Kind.REFUSED, number=number, why=str(error))
            return
        finally:
            os.close(descriptor)
        if self._prepared is None or self._prepared[0] < number:  # else one that was given up comes late
            self._prepared = (number, policy)
        self._tell(Kind.PREPARED, number=number)

    def _commit(self, number: int) -> None:
        if self._prepared is not None and self._prepared[0] == number:
            self._worker.adopt(self._prepared[1])
            self._policy, self._prepared = number, None
        self._tell(Kind.STATE)

    async def _certificate(self) -> None:
        self._tell(Kind.CERTIFICATE, ok=await self._worker.reload_certificate())

    def _drain(self, seconds: float, *, last: bool = False) -> None:
        """Stop; called again, the shorter time holds. ``last``: nobody goes on with the sockets."""
        self._accepting = False
        self._stops += 1
        task = asyncio.create_task(self._worker.stop(seconds, last=last))
        self._tasks.add(task)
        task.add_done_callback(self._stopped)
        self._tell_soon()

    def _tell_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self._tell, Kind.STATE)

    def _stopped(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._stops -= 1
        if not self._stops:
            self._ended.set()
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


def _run(channel: Channel, begin: Message) -> None:
    import uvloop

    from mailguard.net.certificates import BadCertificate
    from mailguard.net.local import CannotListen
    from mailguard.positions import Problems
    from mailguard.relay import OpenRelay

    settings = start.settings_of(begin.fields)
    log.configure(settings.log.format, settings.log.level, settings.log.syslog)

    async def work() -> None:
        with log.gathered(asyncio.get_running_loop().call_later):
            await Attendant(channel, begin).run()

    try:
        uvloop.run(work())
    except Problems as problems:
        start.fail(channel, os.EX_CONFIG, str(problems))
    except (OpenRelay, BadCertificate) as error:
        start.fail(channel, os.EX_CONFIG, f"mailguard: {error}")
    except CannotListen as error:
        start.fail(channel, os.EX_UNAVAILABLE, f"mailguard: {error}")


def main() -> None:
    """Serve until told to end."""
    channel = start.inherited()
    metric_store.open_slot(Path(sys.argv[3]), int(sys.argv[2]))
    with lasting():
        import mailguard.worker  # noqa: F401  while the policy is still being read
    gc.set_threshold(*_COLLECT)
    try:
        begin = start.first(channel)
    except ChannelClosed:
        sys.exit(start.ORPHANED)
    _run(channel, begin)
