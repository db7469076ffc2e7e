"""The pieces of ``make bench`` do what its figures rest on: work is done whole or the run fails, and it is counted."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from mailguard.policy_files import load, load_settings
from tests.bench import peer
from tests.bench.generator import Job, UnexpectedReply, content, run
from tests.bench.loads import LOADS, Load, message
from tests.bench.memory import LARGE as LARGE_MESSAGE
from tests.bench.memory import LOADS as MEMORY
from tests.bench.memory import Peak, section
from tests.bench.micro import everything
from tests.bench.report import LOAD_COLUMNS, PEER, Run, markdown, tables
from tests.bench.rounds import Figures, cpu_seconds, peak_memory
from tests.bench.sections import PAGE, heading, keeping, split, with_section
from tests.bench.sink import Sink, Taken, listen
from tests.bench.subjects import Mailguard

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
        await run(Job(load_, port(sink), ["127.0.0.1"]))
    assert (taken.messages, taken.octets) == (load_.work, load_.work * load_.octets)


def test_content_by_chunks_is_the_same_content() -> None:
    steps = content(CHUNKS)
    assert [code for _, code in steps] == [b"250"] * 4
    assert b"".join(octets.partition(b"\r\n")[2] for octets, _ in steps) == message(CHUNKS.size)
    assert [octets.partition(b"\r\n")[0].count(b" LAST") for octets, _ in steps] == [0, 0, 0, 1]


async def test_a_server_that_does_not_do_the_work_has_no_figure() -> None:
    async with await listen(Taken()) as sink:
        with pytest.raises(ExceptionGroup) as raised:
            await run(Job(REFUSED, port(sink), ["127.0.0.1"]))
    assert raised.group_contains(UnexpectedReply, match="554 was expected")


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


def test_a_job_survives_its_journey() -> None:
    job = Job(SMALL, 25, ["198.18.1.10"], proxied=True)
    assert Job.from_json(job.to_json()) == job


@pytest.mark.parametrize("load_", LOADS, ids=lambda load_: load_.name)
def test_a_load_has_clients_of_its_own_for_every_round(load_: Load) -> None:
    first, second = load_.addresses(0), load_.addresses(12)
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


def test_the_report_tells_medians_and_the_ratio_of_rounds() -> None:
    ours, peers = Figures([300.0, 100.0, 200.0], 50_000_000), Figures([90.0, 100.0, 110.0], 60_000_000)
    alone = Load("alone", alone=True)
    run_ = Run([(SMALL, [ours, peers]), (alone, [ours])], list(everything(0.0005)), rounds=3)
    page = markdown(run_, date(2026, 11, 21))
    assert "| small (messages) | 200 | 300 | 100 | 110 | 1.82 (1.00-3.33) | 50 MB, 60 MB |" in page
    assert "| alone (messages) | 200 | 300 |  |  |  | 50 MB |" in page
    assert [table.row_count for table in tables(run_)] == [2, len(run_.micros)]
    assert [table.caption for table in tables(run_)] == [PEER, None]
    assert PEER in page
    assert all(micro.best > 0 for micro in run_.micros)


def test_the_page_that_stands_in_docs_has_the_tables_of_today() -> None:
    page = PAGE.read_text()
    assert "| " + " | ".join(LOAD_COLUMNS) + " |" in page
    assert PEER in page


def test_a_section_is_put_into_its_place_and_others_are_kept() -> None:
    page = "# T\n\nabove\n\n## A\n\n1\n\n## B\n\n2\n"
    assert with_section(page, "## A\n\n3\n") == page.replace("1", "3")
    longer = with_section(page, "## C\n\n4\n")
    assert longer == page + "\n## C\n\n4\n"
    assert with_section(longer, "## B\n\n5\n") == longer.replace("2", "5")
    assert keeping("# U\n\n## B\n\n6\n", longer) == "# U\n\n## B\n\n6\n\n## A\n\n1\n\n## C\n\n4\n"
    assert keeping(longer, page) == longer


def test_the_section_about_memory_is_of_today() -> None:
    assert {load.size for load in MEMORY} == {4096, LARGE_MESSAGE}
    assert {bool(load.chunk) for load in MEMORY if load.size == LARGE_MESSAGE} == {False, True}
    text = section([Peak(load, 80_000_000, 81_000_000) for load in MEMORY])
    assert heading(text) in map(heading, split(PAGE.read_text()))
    assert all(f"| {load.name} |" in PAGE.read_text() for load in MEMORY)
    assert "| 45 MB by DATA | 80 MB | 81 MB |" in text
