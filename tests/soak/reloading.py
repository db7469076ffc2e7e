"""Policies and generations are replaced under a steady load: no client notices, and a broken policy changes nothing."""

from __future__ import annotations

import os
import time
from collections import Counter

from tests.soak.failure import require
from tests.soak.figures import Figures, durations
from tests.soak.place import WORKERS, Place, until
from tests.soak.traffic import Traffic

_BROKEN = "mailguard_policy: 1\nrules: nonsense\n"


async def reloading(place: Place, reloads: int, generations: int, senders: int) -> Figures:
    """``reloads`` policies, then ``generations`` of workers, then a policy that is wrong.

    Raises:
        SoakFailed: a client was refused, reset or deferred, a message was lost or doubled, or a reload did not come.
    """
    await place.start()
    traffic = place.traffic()
    async with traffic.flowing(senders):
        await traffic.more(senders)
        policies = [await _new_policy(place, number) for number in range(2, reloads + 2)]
        _only(traffic, since=0, codes={"250"})
        since = len(traffic.attempts)
        crews = [await _new_generation(place, number) for number in range(2, generations + 2)]
        await traffic.more(senders)
        # Between two messages a client of the old generation hears 421, and comes again.
        turned_away = _only(traffic, since, {"250", "421"})["421"]
        since = len(traffic.attempts)
        await _broken_policy(place, traffic)
        _only(traffic, since, {"250", "421"} if turned_away else {"250"})
    account = await place.settled(traffic)
    figures = Figures()
    figures.tell_rate(traffic)
    figures.tell("policies replaced", f"{reloads}: {durations(policies)}")
    figures.tell("generations replaced", f"{generations}: {durations(crews)}; 421 between messages {turned_away} times")
    figures.tell("connections refused, reset or closed", "none")
    figures.tell("a broken policy", "refused with status 78; the one before went on")
    figures.tell("messages", account.told())
    return figures


def _only(traffic: Traffic, since: int, codes: set[str]) -> Counter[str]:
    """What came of the attempts from that number on."""
    came = traffic.came_of(since)
    require(set(came) <= codes, f"nothing but {codes} may come: {dict(came)}")
    return came


async def _digests(place: Place) -> list[str]:
    """The policy of each worker that accepts clients, as it says itself."""
    return [each["policy"] for each in await place.processes("worker") if each["state"] == "accepting"]


async def _new_policy(place: Place, number: int) -> float:
    """Replace the policy; seconds until all workers have it."""
    before = (await place.status())["policy"]
    place.write_policy(number)
    began = time.monotonic()
    answer = await place.reload()
    took = time.monotonic() - began
    require(answer["status"] == os.EX_OK, f"policy {number}: {answer}")
    after = (await place.status())["policy"]
    require(after != before, f"policy {number} is not the running one")
    require(await _digests(place) == [after] * WORKERS, f"a worker has not policy {number}")
    return took


async def _new_generation(place: Place, number: int) -> float:
    """Change a setting; seconds until the new workers serve and the old ones have ended."""
    place.configure(limits={"max_errors": 10 + number})
    began = time.monotonic()
    answer = await place.reload()
    require(answer["status"] == os.EX_OK, f"generation {number}: {answer}")

    async def alone() -> bool:
        workers = await place.processes("worker")
        return [each["generation"] for each in workers] == [number] * WORKERS

    await until(alone, f"generation {number} is alone")
    return time.monotonic() - began


async def _broken_policy(place: Place, traffic: Traffic) -> None:
    before = (await place.status())["policy"]
    place.policy.write_text(_BROKEN)
    status, said = await place.command("reload")
    require(status == os.EX_CONFIG, f"`mailguard reload` of a broken policy ended with {status}: {said}")
    require(f"{place.policy}:2:" in said, f"it does not say where the policy is broken: {said}")

    async def success(value: float) -> bool:
        return await place.metric("policy_load_success") == value

    await until(lambda: success(0), "mailguard_policy_load_success is 0")
    require((await place.status())["policy"] == before, "a broken policy runs")
    require(await _digests(place) == [before] * WORKERS, "a worker has not the policy from before")
    await traffic.more(2 * WORKERS)
    place.write_policy(0)
    status, said = await place.command("reload")
    require(status == os.EX_OK, f"`mailguard reload` of a mended policy ended with {status}: {said}")
    await until(lambda: success(1), "mailguard_policy_load_success is 1 again")
