"""What mailguard does for one message, counted and not timed: the same on every machine, however busy.

    python -m tests.bench.counts FILE       # some seconds; the counts as JSON into FILE

One worker runs in this process on asyncio's own loop, whose steps a profile function sees (uvloop's are not Python);
resolver, backend and clients are in threads of their own, which it does not see. Lists, envelope rules, headers, log,
journal and metrics are on; the backend learns no client, so its connections are used again.
``tests/unit/test_counts.py`` holds the counts against the figures that stand there.

Counted a piece of work (a refusal, or a message):

* ``calls``: functions that began or went on, of Python and of C;
* ``tasks``: asyncio tasks made; ``callbacks``: what the event loop was given to call;
* ``cycles``: objects of mailguard's that only the garbage collector removes;
* ``sends``, ``connects``: system calls on sockets; ``datagrams``: questions that reached the resolver;
* ``peak`` (one large message only): octets of Python's memory above what it had before.
"""

from __future__ import annotations

import asyncio
import gc
import json
import socket
import sys
import tempfile
import threading
import tracemalloc
from asyncio import base_events
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from subprocess import DEVNULL, PIPE
from types import CodeType, FrameType
from typing import Any, Final

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import yaml

import mailguard
from mailguard import log
from mailguard.config import Settings
from mailguard.lab import world
from mailguard.worker import Worker
from tests.bench.generator import Job, run
from tests.bench.loads import LISTED, Load
from tests.bench.sink import Taken, listen
from tests.bench.subjects import small_policy

WARM_UP: Final = 0.25
LOADS: Final = {
    "refusal, new clients": Load("", refused=True, connections=40, at_once=1, clients=0),
    "refusal, known clients": Load("", refused=True, connections=40, at_once=1, clients=10),
    "relay, a connection each": Load("", connections=40, at_once=1, clients=10),
    "relay, 20 a connection": Load("", connections=4, at_once=1, messages=20, clients=4),
    "relay of 1 MB": Load("", connections=8, at_once=1, size=1_000_000, clients=4),
}
MEMORY: Final = "memory of 5 MB"
LARGE: Final = Load("", connections=2, at_once=1, size=5_000_000, clients=1)

_TEST_POINTS: Final = {
    IPv4Address("127.0.0.2").reverse_pointer.removesuffix(".in-addr.arpa"),
    IPv6Address("::ffff:127.0.0.2").reverse_pointer.removesuffix(".ip6.arpa"),
}

_CODES: Final[dict[CodeType, str]] = {
    base_events.BaseEventLoop.create_task.__code__: "tasks",
    base_events.BaseEventLoop._call_soon.__code__: "callbacks",  # type: ignore[attr-defined]
    base_events.BaseEventLoop.call_at.__code__: "callbacks",
}
_SYSTEM_CALLS: Final = {
    "socket.send": "sends",
    "socket.sendto": "sends",
    "socket.sendmsg": "sends",
    "socket.connect": "connects",
}


@contextmanager
def counted() -> Iterator[Counter[str]]:
    """Count what this thread does within ``with``."""
    counts: Counter[str] = Counter()

    def see(frame: FrameType, event: str, what: Any) -> None:
        if event == "call":
            counts["calls"] += 1
            if kind := _CODES.get(frame.f_code):
                counts[kind] += 1
        elif event == "c_call":
            counts["calls"] += 1
            if kind := _SYSTEM_CALLS.get(what.__qualname__):
                counts[kind] += 1

    sys.setprofile(see)
    try:
        yield counts
    finally:
        sys.setprofile(None)


@contextmanager
def left_over() -> Iterator[list[object]]:
    """At the end, in the list: what of mailguard's became garbage meanwhile and is part of a cycle."""
    found: list[object] = []
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
        found += [each for each in gc.garbage if type(each).__module__.startswith(mailguard.__name__)]
    finally:
        gc.garbage.clear()
        gc.set_debug(0)
        gc.enable()


class Lists:
    """A resolver in a thread of its own: clients of ``LISTED`` are on the two black lists, and nothing else exists.

    It answers the lists' test points too (RFC 5782 5), so that none is taken for ill. ``questions``: datagrams so far.
    """

    def __init__(self) -> None:
        self.questions = 0
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread."""
        self._socket.sendto(b"", self._socket.getsockname())
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            query, peer = self._socket.recvfrom(4096)
            if not query:
                return
            self.questions += 1
            self._socket.sendto(self._reply(query), peer)

    def _reply(self, query: bytes) -> bytes:
        asked = dns.message.from_wire(query)
        reply = dns.message.make_response(asked)
        name = asked.question[0].name.to_text(omit_final_dot=True)
        if address := _entry(name):
            reply.answer.append(dns.rrset.from_text(f"{name}.", 300, "IN", "A", address))
        else:
            reply.set_rcode(dns.rcode.NXDOMAIN)
            zone = name.rpartition(".")[2]  # no negative answer is kept without the SOA of a zone above it (RFC 2308 5)
            soa = "ns.example. hostmaster.example. 1 3600 600 86400 300"
            reply.authority.append(dns.rrset.from_text(f"{zone}.", 300, "IN", "SOA", soa))
        return reply.to_wire()


def _entry(name: str) -> str:
    """What the list that ``name`` is in says of the address that it begins with; empty: nothing."""
    codes = {world.ZEN: "127.0.0.4", world.SPAMCOP: "127.0.0.2", world.DNSWL: "127.0.10.1"}
    zone = next((zone for zone in codes if name.endswith(f".{zone}")), "")
    reverse = name.removesuffix(f".{zone}")
    listed = reverse in _TEST_POINTS or (zone != world.DNSWL and _address(reverse) in LISTED)
    return codes[zone] if zone and listed else ""


def _address(reverse: str) -> IPv4Address:
    """The address whose labels stand in reverse; 0.0.0.0 for what is none of IPv4."""
    labels = reverse.split(".")
    return IPv4Address(".".join(reversed(labels)) if len(labels) == 4 else 0)


@contextmanager
def backend() -> Iterator[int]:
    """The sink in a thread of its own; gives its port."""
    loop, started = asyncio.new_event_loop(), threading.Event()
    ports: list[int] = []

    async def serve() -> None:
        server = await listen(Taken())
        ports.append(server.sockets[0].getsockname()[1])
        started.set()
        async with server:
            await ended.wait()

    ended = asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    started.wait(10)
    yield ports[0]
    loop.call_soon_threadsafe(ended.set)
    thread.join()
    loop.close()


@asynccontextmanager
async def serving(folder: Path, resolver: str, port: int) -> AsyncIterator[int]:
    """One worker, its files in ``folder``; gives its port, where clients are named in PROXY headers."""
    policy = folder / "policy.yaml"
    policy.write_text(yaml.safe_dump(small_policy(names=False), sort_keys=False))
    settings = {
        "hostname": world.MAILGUARD_NAME,
        "relay_domains": list(world.DOMAINS),
        "listen": [{"address": "127.0.0.1:0", "proxy_protocol_from": ["127.0.0.0/8"]}],
        "backends": [{"address": f"127.0.0.1:{port}", "relay_probe": False, "client_identity": "none"}],
        "policy": policy,
        "dns": {"servers": [resolver]},
        "admin": {"address": "127.0.0.1:0"},
        "journal": {"directory": folder / "journal"},
        "run_dir": folder / "run",
    }
    worker = Worker(Settings.model_validate(settings))
    await worker.start()
    try:
        yield worker.ports[0]
    finally:
        await worker.stop()


async def count(port: int, lists: Lists, load: Load) -> dict[str, float]:
    """What one piece of work of ``load`` takes."""
    await _do(port, load.scaled(WARM_UP), 0)
    questions = lists.questions
    with counted() as counts:
        await _do(port, load, 1)
    counts["datagrams"] = lists.questions - questions
    with left_over() as left:
        await _do(port, load, 1)
    counts["cycles"] = len(left)
    kinds = ("calls", "tasks", "callbacks", "cycles", "sends", "connects", "datagrams")
    return {kind: round(counts[kind] / load.work, 2) for kind in kinds}


async def peak(port: int, load: Load) -> float:
    """The most memory that Python had at once for ``load`` above what it had before, in octets."""
    job = Job(load, port, load.addresses(0), proxied=True).to_json().encode()
    await _elsewhere(job)
    tracemalloc.start()
    try:
        await _elsewhere(job)
        return float(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()


async def _elsewhere(job: bytes) -> None:
    """Do ``job`` in a process of its own, which holds the message whole."""
    client = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.generator", stdin=PIPE, stdout=DEVNULL
    )
    await client.communicate(job)
    if client.returncode:
        raise RuntimeError("the large message was not taken: see above")


async def _do(port: int, load: Load, turn: int) -> None:
    job = Job(load, port, load.addresses(turn), proxied=True)
    await asyncio.to_thread(lambda: asyncio.run(run(job)))


async def everything(folder: Path) -> dict[str, dict[str, float]]:
    """All counts, by load."""
    lists = Lists()
    with backend() as behind:
        async with serving(folder, lists.address, behind) as port:
            found = {name: await count(port, lists, load) for name, load in LOADS.items()}
            found[MEMORY] = {"peak": await peak(port, LARGE)}
    lists.close()
    return found


def main() -> None:
    """Count, and write."""
    log.configure("json")
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(everything(Path(folder)))
    Path(sys.argv[1]).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
