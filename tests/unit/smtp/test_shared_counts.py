"""Counts that real processes share: over all, too high rather than too low, and none of the dead."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from mailguard.smtp.shared_counts import BUCKETS, ROWS, SharedCounts, Tally, clear, create

HOLDING = """
import sys
from mailguard.smtp.shared_counts import SharedCounts, Tally
counts = SharedCounts(int(sys.argv[1]), int(sys.argv[2]))
for client in map(int, sys.argv[3].split(",")):
    counts.add([Tally.CONNECTIONS], 1)
    counts.add(counts.of_client(client), 1)
print(counts.total(Tally.CONNECTIONS), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def memory() -> Iterator[int]:
    fd = create(3)
    yield fd
    os.close(fd)


def holder(fd: int, slot: int, clients: str) -> subprocess.Popen[str]:
    started = subprocess.Popen(
        [sys.executable, "-c", HOLDING, str(fd), str(slot), clients],
        pass_fds=[fd],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    assert started.stdout.readline().strip().isdigit()
    return started


def test_counts_hold_over_processes_and_die_with_them(memory: int) -> None:
    holders = [holder(memory, 0, "7,7,8"), holder(memory, 1, "7")]
    mine = SharedCounts(memory, 2)
    mine.add([Tally.CONNECTIONS], 1)
    mine.add(mine.of_client(8), 1)
    assert (mine.total(Tally.CONNECTIONS), mine.client(7), mine.client(8), mine.client(9)) == (5, 3, 2, 0)
    holders[0].send_signal(signal.SIGKILL)
    holders[0].communicate(timeout=60)
    assert mine.client(7) == 3, "nobody has said yet that it is dead"
    clear(memory, 0)
    assert (mine.total(Tally.CONNECTIONS), mine.client(7), mine.client(8)) == (2, 1, 1)
    holders[1].kill()
    holders[1].communicate(timeout=60)
    assert SharedCounts(memory, 1).client(7) == 0, "whoever takes a slot begins at nothing"


SERVING = """
import asyncio, sys
from mailguard.smtp.admission import Slots
from mailguard.smtp.shared_counts import SharedCounts
from tests.support.story import RecordingStory
from tests.unit.smtp.conftest import settings
from mailguard.config import Listener
from mailguard.smtp.listener import listen

async def main():
    made = settings(max_connections=4, reserved_share=50, max_connections_per_client=2)
    slots = Slots(made.limits, (), SharedCounts(int(sys.argv[1]), int(sys.argv[2])))
    address = Listener(address="127.0.0.1:0", proxy_protocol_from=["127.0.0.0/8"])
    listener = await listen(made, address, RecordingStory, slots)
    print(listener.port, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""
"""A worker with a listener of its own; two connections are for strangers, two for this machine."""


def worker(fd: int, slot: int) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-c", SERVING, str(fd), str(slot)]
    started = subprocess.Popen(command, pass_fds=[fd], stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    return started, int(started.stdout.readline())


def greeting(port: int, address: str, held: ExitStack) -> str:
    """The first line that the client at ``address`` gets; it stays connected."""
    client = held.enter_context(socket.create_connection(("127.0.0.1", port), 60))
    client.sendall(f"PROXY TCP4 {address} 127.0.0.1 40000 25\r\n".encode())
    return client.recv(4096).decode()


def test_two_workers_keep_one_bound_and_it_outlives_the_death_of_one(memory: int) -> None:
    one, two = worker(memory, 0), worker(memory, 1)
    with ExitStack() as held:
        assert greeting(one[1], "198.18.5.1", held).startswith("220 ")
        assert greeting(two[1], "198.18.5.2", held).startswith("220 ")
        assert greeting(one[1], "198.18.5.3", held).startswith("421 4.3.2 ")
        assert greeting(two[1], "198.18.5.3", held).startswith("421 4.3.2 ")
        assert greeting(one[1], "127.0.0.2", held).startswith("220 ")
        assert greeting(two[1], "127.0.0.2", held).startswith("220 ")
        assert greeting(two[1], "127.0.0.3", held).startswith("421 4.3.2 ")
        one[0].kill()
        one[0].communicate(timeout=60)
        clear(memory, 0)
        assert greeting(two[1], "198.18.5.2", held).startswith("220 ")
        assert greeting(two[1], "198.18.5.3", held).startswith("421 4.3.2 ")
    two[0].kill()
    two[0].communicate(timeout=60)


def test_a_place_that_two_want_is_never_given_to_both(memory: int) -> None:
    """Each counts itself before it looks; so one at least sees both."""
    one, two = SharedCounts(memory, 0), SharedCounts(memory, 1)
    one.add([Tally.CONNECTIONS], 1)
    two.add([Tally.CONNECTIONS], 1)
    assert (one.total(Tally.CONNECTIONS), two.total(Tally.CONNECTIONS)) == (2, 2)


def test_ten_thousand_clients_take_no_more_memory_and_are_never_counted_too_low(memory: int) -> None:
    size, counts = os.fstat(memory).st_size, SharedCounts(memory, 0)
    held = {client: client % 5 for client in range(10_000)}
    for client, number in held.items():
        counts.add(counts.of_client(client), number)
    assert all(counts.client(client) >= number for client, number in held.items())
    for client, number in held.items():
        counts.add(counts.of_client(client), -number)
    assert not any(counts.client(client) for client in held)
    assert os.fstat(memory).st_size == size


def test_a_thousand_connections_of_few_clients_hurt_no_other() -> None:
    """The bound is 50: no client of 20,000 without a connection seems to have it, while 20 clients do."""
    counts = SharedCounts.alone()
    for client in range(20):
        counts.add(counts.of_client(client), 50)
    assert max(counts.client(client) for client in range(1000, 21_000)) < 50
    counts.close()


def test_who_shares_a_bucket_depends_on_a_key() -> None:
    """What hits a bucket in one memory says nothing of another: addresses that collide cannot be looked for."""
    buckets = [[SharedCounts.alone().of_client(client) for client in range(50)] for _ in range(2)]
    assert buckets[0] != buckets[1]
    for of_client in buckets[0]:
        assert len({(cell - len(Tally)) // BUCKETS for cell in of_client}) == ROWS


def test_nobody_can_cut_the_memory_under_the_others(memory: int) -> None:
    with pytest.raises(PermissionError):
        os.ftruncate(memory, 1)
    with pytest.raises(PermissionError):
        os.ftruncate(memory, 1 << 20)


@pytest.mark.parametrize("slot", [-1, 3])
def test_a_slot_that_is_none(memory: int, slot: int) -> None:
    with pytest.raises(ValueError, match="of 3"):
        SharedCounts(memory, slot)


def test_a_memory_of_no_slots() -> None:
    with pytest.raises(ValueError, match="0 slots"):
        create(0)
