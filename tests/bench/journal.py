"""``make bench-journal``: a journal of five million records, made and sealed as the service does it, then asked.

    python -m tests.bench.journal                     # five million records in a scratch folder, some minutes, 1 GB
    python -m tests.bench.journal --records 100000    # fewer
    python -m tests.bench.journal --write             # and put the figures into docs/performance.md

Two thirds of the records are refusals at the envelope, one third messages that were scanned, from a quarter of a
million clients and a hundred thousand senders over thirty days. Questions are asked by the command itself, a new
process each: its time is from its start to its end, its memory the peak of its resident size.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median

from rich.console import Console
from rich.table import Table

from mailguard.config import Journal
from mailguard.journal.folder import Folder
from mailguard.journal.form import VERSION, Record, encode, microseconds
from mailguard.journal.index import BLOCK
from mailguard.journal.sealing import seal
from mailguard.journal.segment import INDEX, PLAIN, SEALED, stem_of
from mailguard.rfc3339 import stamp
from tests.bench.sections import PAGE, with_section

RECORDS = 5_000_000
DAYS = 30
START = datetime(2026, 10, 1, tzinfo=UTC)
ROUNDS = 5
HEADING = "## Journal\n"
SIGNS = "23456789BCDFGHJKLMNPQRSTVWXZ"
MEASURE = (
    "import resource, subprocess, sys; status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode; "
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss); sys.exit(status > 1)"
)
"""Runs a command and prints the peak of its resident size, or of its largest process, in KiB; 1: there are changes."""
EVERYTHING = ("search", "--ip", "203.0.113.0/24")
"""What no index answers, and nobody is in: all is unpacked and read."""
POLICY = Path(__file__).parents[2] / "policies" / "default.yaml"
SINCE = ("--since", START.date().isoformat())
REPLAY = ("replay", "--policy", str(POLICY), *SINCE)
LISTS = ("lists", "--policy", str(POLICY), *SINCE)
ALONE = ("replay", "--policy", str(POLICY), "--since", (START + timedelta(days=DAYS - 3)).date().isoformat())
"""The last three days, for what takes too long else."""
LONG = (EVERYTHING, REPLAY, LISTS)
"""What takes minutes, and is asked once."""
LISTS_ASKED = {
    "zen": ("zen.spamhaus.org", ["127.0.0.4"], 0.6),
    "spamcop": ("bl.spamcop.net", ["127.0.0.2"], 0.4),
    "dnswl": ("list.dnswl.org", ["127.0.5.1"], 0.05),
}
"""Zone, answer and share of listed clients, of each list of policies/default.yaml."""
ZONES = {name: zone for name, (zone, _, _) in LISTS_ASKED.items()}
SPAM_RULES = [f"RULE_NUMBER_{number}" for number in range(200)]


# --- making it ----------------------------------------------------------------------------------------------------


def _decision(chance: random.Random, action: str, rule: str) -> Record:
    return {
        "action": action,
        "rule": rule,
        "folder": None,
        "tags": [],
        "rules": [
            {"rule": name, "fired": name == rule} for name in ("a welcome client", "several lists agree", "malware")
        ],
        "facts": {"client.ip": "198.18.7.7", "dnsbl.score": f"{chance.random() * 9:.2f}", "dnsbl.listed_by": "2"},
        "weights": {"zen/XBL": 4.5, "spamcop": 2.5},
        "observed": None,
    }


def _any(chance: random.Random, at: datetime) -> Record:
    client = chance.randrange(250_000)
    ip = f"198.{18 + client // 65_536 % 2}.{client // 256 % 256}.{client % 256}"
    return {
        "v": VERSION,
        "time": stamp(microseconds(at)),
        "event": "recipient",
        "ref": "".join(chance.choices(SIGNS, k=9)) + "-1",
        "client": {
            "ip": ip,
            "port": chance.randrange(1024, 65_536),
            "own_relay": False,
            "early_talker": {"unknown": "not asked", "cause": "down"},
            "reverse": {"name": f"host-{client}.provider.example", "confirmed": bool(client % 3)},
            "dnsbl": {
                name: codes if chance.random() < share else [] for name, (_, codes, share) in LISTS_ASKED.items()
            },
            "zones": ZONES,
            "dnsbl_seconds": {name: round(chance.expovariate(50), 3) for name in LISTS_ASKED},
        },
        "helo": {"name": f"host-{client}.provider.example", "is_address": False, "resolves": True},
        "tls": None,
        "sender": f"user{chance.randrange(100_000)}@domain{chance.randrange(20_000)}.example",
        "sender_resolves": True,
        "recipient": f"person{chance.randrange(5_000)}@example.com",
        "verdict": "reject",
        "policy": "0123456789abcdef" * 4,
        "envelope": _decision(chance, "reject", "several lists agree"),
        "backend": "",
        "reply": {
            "code": 554,
            "enhanced": "5.7.1",
            "text": f"Service unavailable; client host [{ip}] blocked using zen; https://check.example/ip/{ip}",
            "by": "policy",
            "cause": "",
        },
        "seconds": {"questions": round(chance.random(), 3)},
    }


def _message(chance: random.Random, record: Record) -> Record:
    hits = chance.sample(SPAM_RULES, 12)
    del record["recipient"]
    return record | {
        "event": "message",
        "verdict": chance.choice(["accept", "accept", "file"]),
        "recipients": [f"person{chance.randrange(5_000)}@example.com"],
        "envelope": _decision(chance, "accept", ""),
        "content": _decision(chance, "file", "looks like spam"),
        "virus": {"name": "", "kind": ""},
        "spam": {
            "score": 5.5,
            "content_score": 4.5,
            "required": 5.0,
            "rules": {name: round(chance.random() * 3, 3) for name in hits},
            "tainted": hits[:3],
            "truncated": False,
        },
        "size": chance.randrange(1_000, 100_000),
        "message_size": 900,
        "message_id": f"<{chance.getrandbits(64):x}@domain{chance.randrange(20_000)}.example>",
        "digest": "",
        "backend": "127.0.0.1:10025",
        "reply": {
            "code": 250,
            "enhanced": "2.0.0",
            "text": f"OK id={chance.getrandbits(48):x}",
            "by": "backend",
            "cause": "",
        },
        "seconds": {"questions": 0.02, "backend": 0.1, "scan": round(chance.random(), 3), "message": 0.8},
    }


def _records(chance: random.Random, first: int, count: int, of: int) -> Iterator[bytes]:
    for number in range(first, first + count):
        record = _any(chance, START + timedelta(days=DAYS * number / of))
        yield encode(_message(chance, record) if number % 3 == 0 else record)


def _segment(path: Path, job: tuple[int, int, int]) -> int:
    """Make and seal the segment of ``count`` records from ``first`` on; octets of its lines."""
    first, count, of = job
    folder = Folder(path)
    stem = stem_of(START + timedelta(days=DAYS * first / of), 0, os.getpid())
    octets = b"".join(_records(random.Random(first), first, count, of))
    (path / f"{stem}{PLAIN}").write_bytes(octets)
    assert seal(folder, stem)
    return len(octets)


def make(path: Path, records: int, workers: int) -> int:
    """A journal of ``records`` in ``path``; octets of its lines before they were packed."""
    path.mkdir(exist_ok=True)
    sample = b"".join(_records(random.Random(0), 0, 300, records))
    share = max(1, Journal().segment_size // (len(sample) // 300))
    jobs = [(first, min(share, records - first), records) for first in range(0, records, share)]
    with ProcessPoolExecutor(workers) as pool:
        return sum(pool.map(partial(_segment, path), jobs))


# --- asking it ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Question:
    """One question, how it was asked, and how long and how large the command was, at the median."""

    name: str
    command: tuple[str, ...]
    seconds: float = 0.0
    mebibytes: float = 0.0


def _ask(path: Path, question: Question, rounds: int) -> Question:
    command = [sys.executable, "-m", "mailguard", *question.command, "--journal", str(path)]
    seconds, sizes = [], []
    for _ in range(rounds):
        began = time.monotonic()
        done = subprocess.run([sys.executable, "-c", MEASURE, *command], capture_output=True, check=True)
        seconds.append(time.monotonic() - began)
        sizes.append(int(done.stdout) / 1024)
    return Question(question.name, question.command, median(seconds), median(sizes))


def _some_record(path: Path) -> Record:
    """A record from the middle of the journal."""
    sealed = sorted(path.glob(f"*{SEALED}"))[len(list(path.glob(f"*{SEALED}"))) // 2]
    unpacked = subprocess.run(["zcat", sealed], capture_output=True, check=True).stdout
    found: Record = json.loads(unpacked[: 4 * BLOCK].splitlines()[7])
    return found


def questions(path: Path) -> list[Question]:
    """What is asked of the journal in ``path``."""
    record = _some_record(path)
    day = START + timedelta(days=DAYS - 2)
    return [
        Question("`why`, a reference from the middle", ("why", record["ref"])),
        Question("`why`, a connection's", ("why", record["ref"].partition("-")[0])),
        Question("`search --limit 50`, the newest", ("search",)),
        Question("`search --ip`, one address, all 30 days", ("search", "--ip", record["client"]["ip"])),
        Question("`search --from`, one address, all 30 days", ("search", "--from", record["sender"])),
        Question(
            "`search --from @domain --verdict file`", ("search", "--from", "@domain7.example", "--verdict", "file")
        ),
        Question(
            "`search --since --ip NETWORK`, the last 2 days",
            ("search", "--ip", "198.18.99.0/30", "--since", day.isoformat()),
        ),
        Question("`search --ip NETWORK`, all 30 days, without a hit", EVERYTHING),
        Question("`replay`, all 30 days", REPLAY),
        Question("`replay`, the last 3 days", ALONE),
        Question("`replay --processes 1`, the last 3 days", (*ALONE, "--processes", "1")),
        Question("`lists`, all 30 days", LISTS),
    ]


def measured(path: Path, rounds: int) -> list[Question]:
    """The questions with their times; what unpacks everything is asked once."""
    return [_ask(path, each, 1 if each.command in LONG else rounds) for each in questions(path)]


# --- telling ------------------------------------------------------------------------------------------------------


def _sizes(path: Path) -> tuple[int, int, int]:
    """How many segments, octets of them, octets of their indices."""
    sealed, index = list(path.glob(f"*{SEALED}")), list(path.glob(f"*{INDEX}"))
    return len(sealed), sum(each.stat().st_size for each in sealed), sum(each.stat().st_size for each in index)


def section(path: Path, records: int, lines: int, seconds: float, asked: list[Question]) -> str:
    """The section of docs/performance.md."""
    count, sealed, index = _sizes(path)
    rows = "".join(
        f"| {each.name} | {each.seconds:.2f} s | {f'{each.mebibytes:.0f} MiB' if each.mebibytes else ''} |\n"
        for each in asked
    )
    return (
        f"{HEADING}\n"
        f"`make bench-journal` makes a journal of {records:,} records, seals it as the service does, and asks it by "
        f"the\ncommand line, a new process each time. {datetime.now(UTC).date()}, the machine named above.\n\n"
        f"* {lines / 1e9:.2f} GB of lines, {lines / records:,.0f} octets a record; two thirds refusals, one third "
        f"messages with 12 rules of SpamAssassin.\n"
        f"* {sealed / 1e6:,.0f} MB when sealed, {sealed / records:.0f} octets a record, in {count} segments; "
        f"{index / 1e6:,.0f} MB of indices, {index / sealed:.0%} on top.\n"
        f"* Made and sealed in {seconds:,.0f} s by {os.cpu_count()} processes; most of that is making records up.\n\n"
        "| question | time | memory |\n| --- | ---: | ---: |\n"
        f"{rows}\n"
        "Times are from the start of the command to its end, the median of 5 (one of what unpacks all 30 days), files\n"
        "in the page cache; memory is the peak of the resident size of the largest process. A segment that is not\n"
        "sealed yet is read whole. What no index answers, such as a network, unpacks every block of the time asked\n"
        "for; `replay` and `lists` do, with a process for each core.\n"
    )


def main() -> None:
    """Make, ask, print, and write where asked to."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.journal")
    parser.add_argument("--records", type=int, default=RECORDS, help=f"how many (default {RECORDS})")
    parser.add_argument("--folder", type=Path, help="made here and kept (default: a scratch folder)")
    parser.add_argument("--write", action="store_true", help="put the figures into docs/performance.md")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mailguard-journal-") as scratch:
        path = options.folder or Path(scratch) / "journal"
        began = time.monotonic()
        lines = make(path, options.records, os.cpu_count() or 1)
        took = time.monotonic() - began
        asked = measured(path, ROUNDS)
        table = Table("question", "seconds", "MiB")
        for each in asked:
            table.add_row(each.name, f"{each.seconds:.2f}", f"{each.mebibytes:.0f}")
        Console().print(table)
        text = section(path, options.records, lines, took, asked)
        print(text)
        if options.write:
            PAGE.write_text(with_section(PAGE.read_text(), text))


if __name__ == "__main__":
    main()
