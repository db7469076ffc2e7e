"""docs/policy, step by step before real servers: what becomes of mail, and what `search` and `why` tell of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml
from structlog.testing import capture_logs

from mailguard.lab import Lab
from tests.real.conftest import Service, StartMailguard
from tests.support.consoles import run, shown
from tests.support.filtering_exim import impossible
from tests.support.pages import ROOT, blocks, sections, table
from tests.support.tabled import TRAFFIC, Traffic, become, make_lab

FOLDER = ROOT / "docs/policy"
SECTIONS = sections((FOLDER / "README.md").read_text())
OWN_RELAYS = yaml.safe_load((FOLDER / "mailguard.yaml").read_text())["own_relays"]
POLICIES = [(name, column) for name, text in SECTIONS.items() for column in table(text)[0] if column != "from"]

REFERENCE = re.compile(r"\b[2-9B-Z]{9}-\d+\b")
VARYING = re.compile(r"\d{4}-\d\d-\d\d|\d\d:\d\d(?::\d\d)?(?:\.\d+)?|[+-]\d\d:?\d\d\b|\b\d+\.\d+ s\b")
"""Times, and how long something took: what is otherwise each time."""


WIDE = 120
"""Columns for the table of `search`."""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Servers of the tables alone."""
    if reason := impossible():
        pytest.skip(reason)
    with Lab() as servers:
        yield make_lab(servers)


@pytest.mark.parametrize(("name", "column"), POLICIES)
async def test_the_step_does_what_its_table_says(
    name: str, column: str, lab: Lab, start_mailguard: StartMailguard, tmp_path: Path
) -> None:
    async def start() -> Service:
        return await start_mailguard(lab, FOLDER / column, own_relays=OWN_RELAYS, journal={"directory": journal})

    rows, told, journal = table(SECTIONS[name]), [], tmp_path / "journal"
    well = await start()
    for row in rows:
        sent = TRAFFIC[row["from"]]
        with sent.broken(lab) if sent.broken else nullcontext():
            # One of its own where something is broken: nothing that it learns of that is left for the next row.
            told.append(await _told(sent, lab, await start() if sent.broken else well))
    assert told == [row[column] for row in rows]
    await well.worker.stop()
    _compare_what_is_kept(SECTIONS[name], journal)


async def _told(sent: Traffic, lab: Lab, service: Service) -> str:
    """What becomes of ``sent``, in the words of the tables: "Junk, tagged DIALUP; observed: reject a rule"."""
    with capture_logs() as lines:
        became = await become(service.port, sent, lab.exim())
    observed = next((line["observed"] for line in lines if line["event"] == "message"), "")
    tags = became.header("X-Mailguard-Tags")
    tagged = f", tagged {tags}" if tags else ""
    return became.words + tagged + (f"; observed: {observed}" if observed else "")


def _compare_what_is_kept(section: str, journal: Path) -> None:
    """The commands that ask the journal print what the page shows, times and references apart."""
    ours: dict[str, str] = {}
    for one in (one for block in blocks(section, "console", "live") for one in shown(block)):
        command = REFERENCE.sub(lambda found: ours[found[0]], one.command)
        printed = run(f"{command} --journal {journal}", WIDE)
        ours.update(zip(REFERENCE.findall(one.output), REFERENCE.findall(printed), strict=False))
        expected = type(one)(one.command, _steady(one.output))
        assert expected.agrees(_steady(printed)), f"{one.command}\n{printed}"


def _steady(text: str) -> str:
    return re.sub(" +", " ", VARYING.sub("#", REFERENCE.sub("REF", text)))
