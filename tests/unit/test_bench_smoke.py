"""The pieces of ``make bench`` do what its figures rest on: work is done whole or the run fails, and it is counted."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from argparse import ArgumentTypeError
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mailguard.config import Limits
from mailguard.lab.process import LabError
from mailguard.policy_files import load, load_settings
from mailguard.scanners.spamd_protocol import request
from tests.bench import bare, curves, half_load, peer
from tests.bench.generator import Job, Seen, UnexpectedReply, content, run, script
from tests.bench.half_load import LEAST, SECONDS, Added, Latency, half
from tests.bench.life import Life
from tests.bench.loads import LOADS, Load, message, read_share
from tests.bench.memory import LARGE as LARGE_MESSAGE
from tests.bench.memory import LOADS as MEMORY
from tests.bench.memory import Peak, section
from tests.bench.micro import everything
from tests.bench.profile import Share, profile, table
from tests.bench.quota import NoQuota, limited
from tests.bench.real_peers import CONFIGURATIONS, REAL_PEERS, RealPeer, cannot_run, write
from tests.bench.report import LOAD_COLUMNS, Run, markdown
from tests.bench.rounds import ROUND_SECONDS, ROUNDS, Figures, RunFailed, Sampler, cpu_seconds, enough, peak_memory
from tests.bench.scanning import Pair, Requests, Scanning, supplied
from tests.bench.sections import PAGE, heading, keeping, split, with_section
from tests.bench.sink import Sink, Taken, listen
from tests.bench.subjects import Mailguard

pytestmark = pytest.mark.slow

SERVERS = len(REAL_PEERS) + 4
"""In turn: two shapes of mailguard, the peers of stock parts and of next to none, besides the real ones."""
SMALL = Load("small", connections=6, at_once=3, messages=2, size=4096)
LARGE = Load("large", connections=3, at_once=3, size=300_000)
CHUNKS = Load("chunks", connections=3, at_once=3, messages=2, size=100_000, chunk=33_000)
REFUSED = Load("refused", refused=True, connections=6, at_once=3, clients=0)


def port(server: asyncio.Server) -> int:
    return int(server.sockets[0].getsockname()[1])


class Wire:
    """What a sink writes to."""

    def __init__(self) -> None:
        self.said = b""

    def write(self, octets: bytes) -> None:
        self.said += octets

    def close(self) -> None:
        self.said += b"closed"


def test_the_sink_counts_the_same_however_its_input_is_cut() -> None:
    proxy = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"
    chunked = b"BDAT 6 LAST\r\n\r\n.\r\nQ" * 2
    contents = b"one\r\n", b"", b"..two\r\n\r\n.x\r\n"
    octets = proxy + b"".join(b"DATA\r\n" + content + b".\r\n" for content in contents) + chunked + b"QUIT\r\n"
    for step in (1, 2, 3, 5, 7, len(octets)):
        taken, wire = Taken(), Wire()
        sink = Sink(taken, chunking=True)
        sink.connection_made(wire)  # type: ignore[arg-type]
        for start in range(0, len(octets), step):
            sink.data_received(octets[start : start + step])
        assert (taken.messages, taken.octets) == (5, sum(map(len, contents)) + 12), step
        assert wire.said.endswith(b"221 2.0.0 bye\r\nclosed")


@pytest.mark.parametrize("load_", [SMALL, LARGE], ids=lambda load_: load_.name)
async def test_the_generator_sends_every_message_whole(load_: Load) -> None:
    taken = Taken()
    async with await listen(taken) as sink:
        seen = await run(Job(load_, port(sink), ["127.0.0.1"]))
    assert (taken.messages, taken.octets) == (load_.work, load_.work * load_.octets)
    assert len(seen.latencies) == load_.work
    assert 0 < max(seen.latencies) <= seen.seconds


def test_content_by_chunks_is_the_same_content() -> None:
    steps = content(CHUNKS)
    assert [code for _, code in steps] == [b"250"] * 4
    assert b"".join(octets.partition(b"\r\n")[2] for octets, _ in steps) == message(CHUNKS.size)
    assert [octets.partition(b"\r\n")[0].count(b" LAST") for octets, _ in steps] == [0, 0, 0, 1]


async def test_a_server_that_does_not_do_the_work_has_no_figure() -> None:
    async with await listen(Taken()) as sink:
        with pytest.raises(ExceptionGroup) as raised:
            await run(Job(REFUSED, port(sink), ["127.0.0.1"]))
    assert raised.group_contains(UnexpectedReply, match="5 was expected")


@pytest.mark.parametrize("load_", [SMALL, LARGE, REFUSED], ids=lambda load_: load_.name)
async def test_the_peer_asks_about_the_client_and_relays_or_refuses(load_: Load) -> None:
    taken, asked = Taken(), []

    async def listed(address: str) -> int:
        asked.append(address)
        return 2 if load_.refused else 1

    addresses = load_.addresses(0)[:3]
    async with await listen(taken) as sink:
        handler = peer.Handler(listed, f"127.0.0.1:{port(sink)}")
        async with await peer.listen(handler, proxied=True) as server:
            await run(Job(load_, port(server), addresses, proxied=True))
    assert set(asked) == set(addresses)
    assert taken.messages == (0 if load_.refused else load_.work)
    assert taken.octets >= taken.messages * load_.octets


@pytest.mark.parametrize("load_", [SMALL, LARGE, REFUSED], ids=lambda load_: load_.name)
async def test_the_bare_filter_asks_once_and_relays_or_refuses(load_: Load) -> None:
    class Resolver(asyncio.DatagramProtocol):
        """Says of every name that there is one record."""

        def connection_made(self, transport: Any) -> None:
            self.transport, self.asked = transport, 0

        def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
            self.asked += 1
            self.transport.sendto(data[:6] + bytes((0, load_.refused)) + data[8:], addr)

    loop, taken = asyncio.get_running_loop(), Taken()
    where, resolver = await loop.create_datagram_endpoint(Resolver, ("127.0.0.1", 0))
    resolves = where.get_extra_info("sockname")
    way, lists = await loop.create_datagram_endpoint(lambda: bare.Lists(["a.test", "b.test"]), remote_addr=resolves)
    async with await listen(taken) as sink:
        pool = bare.Pool(f"127.0.0.1:{port(sink)}")
        async with await loop.create_server(lambda: bare.Client(lists, pool), "127.0.0.1", 0) as server:
            await run(Job(load_, port(server), ["127.0.0.1"]))
            asked = resolver.asked
            await run(Job(load_, port(server), ["127.0.0.1"]))
        pool.close()
    way.close()
    where.close()
    assert resolver.asked == asked > 0
    assert taken.messages == (0 if load_.refused else 2 * load_.work)


def test_a_job_survives_its_journey() -> None:
    job = Job(SMALL, 25, ["198.18.1.10"], proxied=True)
    assert Job.from_json(job.to_json()) == job


@pytest.mark.parametrize("load_", LOADS, ids=lambda load_: load_.name)
def test_a_load_has_clients_of_its_own_for_every_round(load_: Load) -> None:
    last = SERVERS * (ROUNDS + 2) - 1  # two rounds of each do not count
    first, second = load_.addresses(0), load_.addresses(last)
    assert len(set(first)) == (load_.clients or load_.connections)
    assert (set(first) & set(second)) == (set(first) if load_.clients else set())


def test_a_message_is_as_long_as_it_is_called() -> None:
    assert 4000 < len(message(4096)) <= 4096
    assert b"\r\n." not in message(4096)


@pytest.mark.parametrize("names", [False, True])
def test_mailguard_gets_a_configuration_and_a_policy_that_load(tmp_path: Path, names: bool) -> None:
    mailguard = Mailguard(tmp_path / "m", "127.0.0.1:53", "127.0.0.1:2600", proxied=True, names=names)
    settings = load_settings(Path(mailguard.command()[-1]))
    policy = load(settings.policy)
    assert {each.zone for each in policy.lists} == {"zen.spamhaus.org", "bl.spamcop.net", "list.dnswl.org"}
    assert {"helo", "sender"} & set(policy.sources) == ({"helo", "sender"} if names else set())
    assert (settings.clamav.address, settings.spamassassin.address) == (None, None)


BUSY = """
import time
while time.process_time() < 0.2: pass
print(flush=True)
input()
"""


def test_cpu_time_and_memory_of_another_process() -> None:
    options: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "start_new_session": True}
    with subprocess.Popen([sys.executable, "-c", BUSY], **options) as process:
        assert process.stdout is not None
        process.stdout.readline()
        cpu, memory = cpu_seconds(process.pid), peak_memory(process.pid)
        process.communicate(b"\n")
    assert 0.15 <= cpu < 10
    assert 1e6 < memory < 1e9


def groups(pid: int) -> str:
    return Path(f"/proc/{pid}/cgroup").read_text()


def test_a_limited_process_is_in_a_group_of_its_own_for_so_long() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        before = within = groups(process.pid)
        try:
            with limited([process.pid], 0.5):
                within = groups(process.pid)
        except NoQuota as error:
            assert re.search("no cpu controller|Read-only|denied|permitted", str(error))
        else:
            assert "mailguard-bench-" in within
        assert groups(process.pid) == before
        process.kill()


def test_no_quota_where_there_is_no_controller(tmp_path: Path) -> None:
    with pytest.raises(NoQuota, match="no cpu controller"), limited([1], 0.5, tmp_path):
        pass


def figures(*rates: float, peak: int = 50_000_000) -> Figures:
    return Figures(list(rates), [rate / 2 for rate in rates], [0.001 * n for n in range(1, 101)], peak)


def test_the_report_tells_medians_and_the_ratio_of_rounds() -> None:
    row = {"mailguard": figures(300.0, 100.0, 200.0), "Postfix": figures(90.0, 100.0, 110.0, peak=60_000_000)}
    row["Exim"] = Figures(void="small, Exim: b'421 busy' came where 250 was expected")
    through, straight = (
        Latency([0.003, 0.009, 0.002], [0.016, 0.044, 0.012]),
        Latency([0.001] * 3, [0.002, 0.09, 0.004]),
    )
    added = {"mailguard": Added(50.0, through, straight), "Exim": Added(5.0, void="it failed")}
    life = Life(
        start=[0.5, 0.7, 0.6],
        start_cpu=[1.0, 1.2, 1.1],
        idle_cpu=0.004,
        memory=150_000_000,
        connection=14336.0,
        second_worker=[(1.5, 0.9), (1.6, 1.0), (1.7, 1.1)],
        apart=[1.8, 2.0, 1.9],
        reload=[(0.02, 0.03)] * 3,
        renewal=[(1.0, 2.0)],
    )
    scanning = Scanning(
        [Pair(0.004, 0.001, 0.1, through, 0.09, 20.0) for through in (17.0, 18.0, 21.0)],
        supplied=0.995,
        apart=[Pair(0.004, 0.001, 0.1, 12.0, 0.09, 12.5)],
    )
    run_ = Run(
        [(SMALL, row)],
        list(everything(0.0005)),
        added,
        life,
        scanning,
        {"Haraka": "there is no node"},
        rounds=3,
        busy=4.4,
    )
    page = markdown(run_, date(2026, 11, 21))
    assert "of a quarter of an hour: 4." in page
    assert "| mailguard | 200 | 300 | 100 | 51 ms | 100 ms | 50 MB |  |" in page
    assert "| Postfix | 100 | 110 | 50 | 51 ms | 100 ms | 60 MB | 1.82x (1.00-3.33) |" in page
    assert "| Exim | void |  |  |  |  |  |  |" in page
    assert "Exim is void: small, Exim: b'421 busy' came" in page
    assert "Haraka is not here: there is no node." in page
    assert "| mailguard | 50 | 2.0 ms | 12 ms (8.0-40) | 4.0 ms |" in page
    assert "| Exim | void |  |  |  |" in page
    assert "server reached above; 3 rounds" in page
    assert "mailguard 4.0 ms, clamd 1.0 ms, spamd 100 ms; mailguard's is\n  4.0% of spamd's" in page
    assert "20.0 by spamd driven directly: 0.90 (0.85-1.05) of it" in page
    assert "each child in hand 99.5% of the time" in page
    assert "takes nothing from it: 0.96 (0.96-0.96) of it." in page
    assert "two workers: 0.60 s, at best 0.50 s" in page
    assert "1.60 times the messages a second, 1.00 times" in page
    assert "1.90 times (1.80-2.00)." in page
    assert "in force: 0.02 s, 0.03 s of CPU time; one that makes new workers: 1.00 s, 2.00 s of CPU time." in page
    assert all(f"| {micro.name} |" in page for micro in run_.micros)
    assert all(micro.best > 0 for micro in run_.micros)


def test_the_page_that_stands_in_docs_has_the_tables_of_today() -> None:
    page = PAGE.read_text()
    assert "| " + " | ".join(LOAD_COLUMNS) + " |" in page
    assert all(f"### {load.name}: {load.unit}\n" in page for load in LOADS)


def test_spamd_is_asked_directly_what_mailguard_asked() -> None:
    message = b"Received: from mail.example.org (unknown [%b])\r\n\r\n[198.19.1.20]\r\n"
    recorded, other = (b"".join(request("HEADERS", message % client)) for client in (b"198.19.1.2", b"198.19.10.200"))
    assert Requests(recorded, "198.19.1.2").about("198.19.10.200") == other
    for unknown in (recorded.replace(b"HEADERS", b"SYMBOLS"), other, recorded + b"more"):
        with pytest.raises(LabError, match="in another way"):
            Requests(unknown, "198.19.1.2")


@pytest.mark.parametrize(
    ("spans", "share"),
    [
        ([(0, 10), (0, 10), (10, 20), (10, 20)], 1.0),  # the next comes as one is answered
        ([(0, 10), (0, 10), (4, 15), (5, 15), (20, 30)], 0.75),  # nothing is in hand from 15 to 20
        ([(0, 12), (10, 20)], 0.0),  # one child has nothing to do until the last request
        ([(0, 4), (1, 5), (6, 9), (8, 9)], 0.375),
    ],
)
def test_what_spamd_had_in_hand_counts_until_the_last_request(spans: list[tuple[float, float]], share: float) -> None:
    assert supplied(spans, 2) == pytest.approx(share)


class Refusing(asyncio.Protocol):
    """Refuses at the greeting, and hangs up."""

    code = b"554"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(self.code + b" not you\r\n")
        transport.close()


class Busy(Refusing):
    code = b"421"


async def test_a_refusal_is_5xx_wherever_it_comes_and_421_is_none() -> None:
    loop = asyncio.get_running_loop()
    async with await loop.create_server(Refusing, "127.0.0.1") as server:
        seen = await run(Job(REFUSED, port(server), ["127.0.0.1"]))
    assert len(seen.latencies) == REFUSED.work
    async with await loop.create_server(Busy, "127.0.0.1") as server:
        with pytest.raises(ExceptionGroup) as raised:
            await run(Job(REFUSED, port(server), ["127.0.0.1"]))
    assert raised.group_contains(UnexpectedReply, match="421 not you")


@pytest.mark.parametrize("load_", [SMALL, REFUSED], ids=lambda load_: load_.name)
async def test_the_generators_process_says_in_a_line_what_makes_a_row_void(load_: Load) -> None:
    """The first line is what the page tells (``tests.bench.report``)."""
    async with await asyncio.get_running_loop().create_server(Busy, "127.0.0.1") as server:
        generator = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.bench.generator", stdin=subprocess.PIPE, stderr=subprocess.PIPE
        )
        job = Job(load_, port(server), ["127.0.0.1"])
        _, said = await asyncio.wait_for(generator.communicate(job.to_json().encode()), 60)
    assert generator.returncode == 1
    assert re.fullmatch(r"load generator: UnexpectedReply\(.*421 not you.*\)\n", said.decode())


async def test_connections_begin_at_their_rate() -> None:
    paced = Load("paced", connections=5, at_once=5, rate=50)
    async with await listen(Taken()) as sink:
        seen = await run(Job(paced, port(sink), ["127.0.0.1"]))
    assert seen.seconds >= 4 / 50


def test_a_round_is_as_much_work_as_its_time_allows() -> None:
    assert enough(SMALL, figures(6.0)).connections == round(6 * ROUND_SECONDS * 6 / SMALL.work)
    assert enough(SMALL, figures(1e6)) == SMALL
    assert enough(SMALL, figures(0.001)).connections == 1


def test_half_load_is_half_of_what_was_reached() -> None:
    reached = figures(400.0)
    load_ = half(SMALL, reached)
    assert load_.rate * SMALL.messages == reached.wall / 2
    assert load_.connections == load_.rate * SECONDS
    assert half(SMALL, reached, 2.0).connections == load_.rate * 2
    assert half(SMALL, figures(1.0)).connections == LEAST


async def test_half_load_comes_in_rounds_and_a_bad_one_of_either_side_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A moment in which the machine does other work is in one round, of the server's or of the backend's own."""
    subjects = [SimpleNamespace(name=name) for name in ("mailguard", "Postfix", "Exim", "void")]
    sink = SimpleNamespace(name="sink")
    bench: Any = SimpleNamespace(sink=sink, subjects=lambda alone: subjects)
    done: list[str] = []

    def worked(_: object, subject: Any, load_: Load, __: object) -> Seen:
        done.append(subject.name)
        if subject.name == "Exim":
            raise RunFailed("refused")
        slow = 50 if done.count(subject.name) == 2 else 1
        latency = 0.001 if subject is sink else 0.004
        return Seen(1.0, [latency * slow] * 100)

    monkeypatch.setattr(half_load, "work", worked)
    row = {each.name: figures(400.0) for each in subjects} | {"void": Figures(void="it failed")}
    found = half_load.added(bench, SMALL, row, rounds=3)
    assert list(found) == ["mailguard", "Postfix", "Exim"]
    for name in ("mailguard", "Postfix"):
        assert found[name].p50 == pytest.approx(0.003)
        assert found[name].p99s == pytest.approx([0.003, 0.003, 0.199])
        assert found[name].sink_p99 == 0.001
    assert found["Exim"].void == "refused"
    assert done.count("Exim") == 1
    turns = [name for name in done if name not in {"sink", "Exim"}]
    assert turns == ["mailguard", "Postfix", "Postfix", "mailguard", "mailguard", "Postfix"]


def test_memory_is_sampled_while_work_is_done() -> None:
    options: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "start_new_session": True}
    with subprocess.Popen([sys.executable, "-c", BUSY], **options) as process:
        assert process.stdout is not None
        with Sampler(process.pid) as memory:
            process.stdout.readline()
        process.communicate(b"\n")
    assert 1e6 < memory.peak < 1e9


@pytest.mark.parametrize("peer_", REAL_PEERS, ids=lambda peer_: peer_.name)
def test_no_name_is_left_in_a_peers_configuration(tmp_path: Path, peer_: type[RealPeer]) -> None:
    source = CONFIGURATIONS / peer_.configuration
    names = set(re.findall(r"@([A-Z_]+)@", "".join(file.read_text() for file in source.iterdir() if file.is_file())))
    assert names <= {"FOLDER", "PORT", "BACKEND", "BACKEND_PORT", "OWNER", "GROUP", "UNPACKED"}
    write(source, tmp_path, dict.fromkeys(names, "7"))
    assert not [file for file in tmp_path.iterdir() if re.search(r"@[A-Z_]+@", file.read_text())]


def test_without_addresses_of_their_own_no_real_peer_is_measured() -> None:
    assert set(cannot_run(proxied=True)) == {peer_.name for peer_ in REAL_PEERS}


def test_a_section_is_put_into_its_place_and_others_are_kept() -> None:
    page = "# T\n\nabove\n\n## A\n\n1\n\n## B\n\n2\n"
    assert with_section(page, "## A\n\n3\n") == page.replace("1", "3")
    longer = with_section(page, "## C\n\n4\n")
    assert longer == page + "\n## C\n\n4\n"
    assert with_section(longer, "## B\n\n5\n") == longer.replace("2", "5")
    assert keeping("# U\n\n## B\n\n6\n", longer) == "# U\n\n## B\n\n6\n\n## A\n\n1\n\n## C\n\n4\n"
    assert keeping(longer, page) == longer


def test_the_section_about_memory_is_of_today() -> None:
    assert {load.size for load in MEMORY if load.at_once < Limits().max_connections} == {4096, LARGE_MESSAGE}
    assert any(load.at_once == Limits().max_connections and load.by_volume for load in MEMORY)
    assert {bool(load.chunk) for load in MEMORY if load.size == LARGE_MESSAGE} == {False, True}
    text = section([Peak(load, 80_000_000, 81_000_000) for load in MEMORY])
    assert heading(text) in map(heading, split(PAGE.read_text()))
    assert all(f"| {load.name} |" in PAGE.read_text() for load in MEMORY)
    assert "| 45 MB by DATA | 80 MB | 81 MB |" in text


def test_a_profile_is_of_what_was_at_work() -> None:
    lines = [
        "process 7:x;run (asyncio/runners.py:86);decide (mailguard/policy/engine.py:9) 30",
        "process 7:x;run (asyncio/runners.py:86) 10",
        "process 7:x;_bootstrap (threading.py:1);Condition.wait (threading.py:288) 400",
    ]
    found = profile(lines)
    assert found.functions == [
        Share("decide (mailguard/policy/engine.py:9)", 75.0, 75.0),
        Share("run (asyncio/runners.py:86)", 25.0, 100.0),
    ]
    assert found.packages == [("mailguard/policy", 75.0), ("asyncio", 25.0)]
    assert "| `decide` mailguard/policy/engine.py:9 | 75.0 | 75.0 |" in table(SMALL, found)


def test_each_recipient_is_named_once_and_each_is_to_be_taken() -> None:
    said = [step for step in script(Load("many", messages=2, recipients=30)) if step[0].startswith(b"RCPT")]
    assert len(said) == 60
    assert len({octets for octets, _ in said}) == 30
    assert {code for _, code in said} == {b"250"}


@pytest.mark.parametrize("text", ["0", "-1", "1.01", "nan", "a tenth"])
def test_a_share_of_a_round_is_over_nothing_and_up_to_all(text: str) -> None:
    assert read_share("0.1") == 0.1
    with pytest.raises(ArgumentTypeError, match="no number over 0 and up to 1"):
        read_share(text)


def test_curves_are_a_section_with_a_table_each() -> None:
    grown = curves.Curve(
        "rules",
        {"mailguard": {10: 0.001, 1000: 0.25}, "Postfix": {10: 0.002, 1000: 0.5}},
        {10: 5_000_000, 1000: 6_000_000},
    )
    text = curves.section([grown])
    assert heading(text) == curves.HEADING
    for line in ("| rules | 10 | 1,000 |", "| mailguard | 1.00 ms | 250 ms |", "| memory | 5 MB | 6 MB |"):
        assert line in text.splitlines()
