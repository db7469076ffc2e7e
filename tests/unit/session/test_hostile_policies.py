"""What a policy must not be, at SIGHUP and to ``mailguard check``: nothing ends, stops or fills anything."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest

from mailguard.cli.check import check
from mailguard.policy_loads import MAX_LOGGED
from tests.support.mail import mail, submit
from tests.unit.session.conftest import POLICY
from tests.unit.session.serving import BOUND, Place, Served

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Bad:
    """A policy that does not load: ``make`` puts it in its place; ``said`` of its ``problems``."""

    make: Callable[[Path], None]
    said: str
    problems: int = 1


def text(content: str) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        path.write_text(content)

    return make


def listing(name: str) -> str:
    return POLICY + f"lists: {{welcome: {{file: {name}}}}}\n"


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def list_of_a_pipe(path: Path) -> None:
    os.mkfifo(path.parent / "pipe")
    path.write_text(listing("pipe"))


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10))

BAD = {
    "a pipe": Bad(pipe, "this file cannot be read: it is no regular file"),
    "a folder": Bad(folder, "this file cannot be read: is a directory"),
    "a device": Bad(device, "this file cannot be read: it is no regular file"),
    "a link to itself": Bad(loop, "this file cannot be read: too many levels of symbolic links"),
    "a list named NUL": Bad(text(listing('"a\\0b"')), "this cannot be the name of a file"),
    "a list that is a pipe": Bad(list_of_a_pipe, "this file cannot be read: it is no regular file"),
    "a list that is a folder": Bad(text(listing("/")), "this file cannot be read: is a directory"),
    "a list that is a device": Bad(text(listing("/dev/zero")), "this file cannot be read: it is no regular file"),
    "sequences": Bad(text("mailguard_policy: " + "[" * 200_000), "nested deeper than 24 levels"),
    "mappings": Bad(text("mailguard_policy: " + "{a: " * 50_000), "nested deeper than 24 levels"),
    "blocks": Bad(text("- " * 300_000), "nested deeper than 24 levels"),
    "tags": Bad(text("".join(f"%TAG !a{n}! x:\n" for n in range(60_000)) + "---\na: 1\n"), "`%TAG` is a directive"),
    "too long": Bad(text("#" * (1024 * 1024 + 1)), "this file is longer than 1048576 octets"),
    "aliases": Bad(text(POLICY + BOMB), "`&a0` is an anchor", 10 + 81),
    "problems": Bad(
        text(POLICY + "".join(f"unknown_{n}: 1\n" for n in range(5000))), "`unknown_0` is not known here", 5000
    ),
}

ONLY_CHECKED = {"a link to itself", "a list that is a folder", "a list that is a device", "blocks", "too long"}
"""Much the same as others to the service, whose start takes a second."""


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_check_tells_what_is_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: Bad) -> None:
    policy = tmp_path / "policy.yaml"
    policy.touch()
    bad.make(policy)
    assert check(policy, None) == os.EX_CONFIG
    out, told = capsys.readouterr()
    assert bad.said in told
    assert told.endswith(f"\n\n{bad.problems} problem{'s' * (bad.problems > 1)}\n")
    assert out == ""
    assert len(told) < 200_000


@pytest.mark.parametrize("bad", [pytest.param(BAD[name], id=name) for name in BAD if name not in ONLY_CHECKED])
async def test_at_sighup_the_service_goes_on_with_the_policy_it_has(place: Place, bad: Bad) -> None:
    served = await place.serve()
    await served.until('event="policy loaded"')
    async with answering(place):
        bad.make(place.folder / "policy.yaml")
        served.process.send_signal(signal.SIGHUP)
        lines = await refused(served, min(bad.problems, MAX_LOGGED + 1))
    assert bad.said in lines[0]
    assert all(" level=error " in line for line in lines)
    assert await policy_success(served) == 0
    await old_rules_hold(place)
    mend(place.folder / "policy.yaml")
    served.process.send_signal(signal.SIGHUP)
    await served.until('event="policy loaded"')
    assert served.log.count('"policy refused"') == len(lines)
    assert await policy_success(served) == 1


async def refused(served: Served, number: int) -> list[str]:
    """The first ``number`` lines that say so."""
    return [await served.until('event="policy refused"') for _ in range(number)]


async def policy_success(served: Served) -> int:
    """The metric; its address is in the log."""
    [line] = [line for line in served.log.splitlines() if 'event="admin listening"' in line]
    address = line.split(" address=")[1].split()[0]
    async with aiohttp.ClientSession() as http, http.get(f"http://{address}/metrics") as answer:
        [value] = [line.split()[1] for line in (await answer.text()).splitlines() if line.startswith(METRIC)]
    return int(float(value))


METRIC = "mailguard_policy_load_success "


async def old_rules_hold(place: Place) -> None:
    async with await place.client() as client:
        outcome = await submit(client, mail().octets, sender="a@unwanted.example")
    assert outcome.rcpt[0].startswith(b"554 ")


def mend(policy: Path) -> None:
    if policy.is_dir():
        policy.rmdir()
    else:
        policy.unlink()
    policy.write_text(POLICY)


@asynccontextmanager
async def answering(place: Place) -> AsyncIterator[None]:
    """Meanwhile each message is taken, one after the other, at least one of them."""
    over = asyncio.Event()

    async def go_on() -> int:
        taken = 0
        while not (taken and over.is_set()):
            async with asyncio.timeout(BOUND), await place.client() as client:
                assert (await submit(client, mail().octets)).content.startswith(b"250 ")
            taken += 1
        return taken

    sending = asyncio.create_task(go_on())
    try:
        yield
    finally:
        over.set()
        await sending


async def test_a_list_of_900_000_entries_is_loaded_beside_the_sessions(place: Place) -> None:
    entries = (f"{n >> 16}.{n >> 8 & 255}.{n & 255}.1\n" for n in range(900_000))
    (place.folder / "long.txt").write_text("".join(entries))
    served = await place.serve()
    await served.until('event="policy loaded"')
    place.policy(listing("long.txt"))
    async with answering(place):
        served.process.send_signal(signal.SIGHUP)
        await served.until('event="policy loaded"')
