"""kill -9 under load: workers and the admin process are replaced; when the supervisor dies, workers drain and end."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from mailguard.lab.process import LabError
from tests.soak.failure import require
from tests.soak.figures import Figures, durations
from tests.soak.place import BOUND, WORKERS, Place, until
from tests.soak.traffic import Traffic

_DRAIN = 10.0
_LIMITS = {"drain_timeout": _DRAIN}
_MARGIN = 30.0


async def killing(place: Place, workers: int, admins: int, supervisors: int, senders: int) -> Figures:
    """Kill so many of each.

    Raises:
        SoakFailed: a message was lost or doubled, one that was killed is not replaced, or one lives on.
    """
    await place.start(limits=_LIMITS)
    traffic = place.traffic()
    async with traffic.flowing(senders):
        await traffic.more(senders)
        replaced = [await _worker(place, traffic, number) for number in range(workers)]
        of_workers = traffic.came_of()
        admin = [await _admin(place, traffic) for _ in range(admins)]
        ends = [await _supervisor(place, traffic) for _ in range(supervisors)]
        await traffic.more(senders)
    account = await place.settled(traffic)
    figures = Figures()
    figures.tell_rate(traffic)
    broken = sum(count for name, count in of_workers.items() if not name.isdigit())
    figures.tell("workers killed", f"{workers}; replaced: {durations(replaced)}; {broken} connections broken")
    figures.tell("admin processes killed", f"{admins}; pages back: {durations(admin)}; no client noticed")
    gone, back = [each[0] for each in ends], [each[1] for each in ends]
    figures.tell("supervisors killed", f"{supervisors}; workers ended: {durations(gone)}")
    figures.tell("the service started again beside them", f"served: {durations(back)}")
    figures.tell("messages", account.told())
    return figures


async def _worker(place: Place, traffic: Traffic, number: int) -> float:
    """Kill a worker; seconds until another has its place, which the backoff lets grow."""
    before = (await place.status())["restarts"]
    counted = await place.metric("process_restarts_total")
    await place.kill_worker((await place.processes("worker"))[number % WORKERS]["pid"])

    async def replaced() -> bool:
        status = await place.status()
        states = [each["state"] for each in status["processes"] if each["role"] == "worker"]
        return status["restarts"] == before + 1 and states == ["accepting"] * WORKERS

    took = await until(replaced, "a killed worker is replaced")

    async def counts() -> bool:
        return await place.metric("process_restarts_total") == counted + 1

    await until(counts, "mailguard_process_restarts_total counts it")
    require((await place.page("/healthz"))[0] == 200, "/healthz is not 200")
    await traffic.more(2 * WORKERS)
    return took


async def _admin(place: Place, traffic: Traffic) -> float:
    """Kill the admin process; seconds until the pages are there again."""
    since, before = len(traffic.attempts), await place.metric("messages_total")
    (admin,) = await place.processes("admin")
    os.kill(admin["pid"], signal.SIGKILL)

    async def back() -> bool:
        found = await place.processes("admin")
        return [each["pid"] for each in found] != [admin["pid"]] and (await place.page("/readyz"))[0] == 200

    took = await until(back, "the admin pages are back")
    require(await place.metric("messages_total") >= before, "a counter went back")
    await traffic.more(2 * WORKERS)
    came = traffic.came_of(since)
    require(set(came) == {"250"}, f"clients noticed that the admin process died: {dict(came)}")
    return took


async def _supervisor(place: Place, traffic: Traffic) -> tuple[float, float]:
    """Kill the supervisor, and start the service again at once; seconds until its workers ended, and until mail flows.

    A service manager does the same: it starts again until the addresses are free, which is soon.
    """
    session, began = place.pid, time.monotonic()
    os.kill(session, signal.SIGKILL)
    old = asyncio.create_task(place.gone(session, _DRAIN + _MARGIN))
    await _start_again(place)
    await traffic.more(2 * WORKERS)
    back = time.monotonic() - began
    gone = await old
    return gone, back


async def _start_again(place: Place) -> None:
    """Start until this one answers: as long as processes of the one before hold the addresses, it ends at once."""
    deadline = time.monotonic() + BOUND
    while True:
        try:
            await place.start(limits=_LIMITS)
            if await _serves(place):
                return
            why = place.serving.process.log_tail()
        except LabError as error:
            why = str(error)
        require(time.monotonic() < deadline, f"it does not start again: {why}")
        await asyncio.sleep(0.1)


async def _serves(place: Place) -> bool:
    """Whether the service that was started last is the one that can be asked, and not one that ends."""

    async def known() -> bool:
        return not place.serving.running or (await place.status())["pid"] == place.pid

    await until(known, "the service answers or ends")
    return place.serving.running
