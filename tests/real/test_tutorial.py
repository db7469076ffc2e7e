"""docs/policy, step by step before real servers: what becomes of mail, and what `search` and `why` tell of it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml
from structlog.testing import capture_logs

from mailguard.lab import Lab
from mailguard.lab.mailguard import Mailguard
from mailguard.lab.process import wait_until
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
    observed = next((line.get("observed") for line in lines if line["event"] == "message"), "")
    tags = became.header("X-Mailguard-Tags")
    tagged = f", tagged {tags}" if tags else ""
    return became.words + tagged + (f"; observed: {observed}" if observed else "")


@pytest.fixture
def installed(lab: Lab, tmp_path: Path) -> Iterator[Mailguard]:
    """``mailguard serve`` with the policy of step 6 beside its settings."""
    shutil.copytree(FOLDER / "step6", tmp_path / "etc")
    server = Mailguard(tmp_path / "etc", lab, policy=tmp_path / "etc/policy.yaml")
    server.start()
    wait_until(
        lambda: "status 75" not in run(f"mailguard reload --config {server.configuration}; echo status $?"), "up"
    )
    yield server
    server.stop()


async def test_the_running_service_is_told(installed: Mailguard, lab: Lab) -> None:
    """The page's commands in their order; only while it observes is a listed client let through."""
    told = [block for block in blocks(SECTIONS["6. Hold it"]) if block.words[:2] == ("console", "serving")]
    became = {}
    for block in told:
        policy = "refused.yaml" if "mistake" in block.words else "policy.yaml"
        shutil.copy(FOLDER / "step6" / policy, installed.folder / "policy.yaml")
        for one in shown(block):
            printed = run(f"{one.command} --config {installed.configuration}")
            printed = printed.replace(str(installed.folder), "/etc/mailguard")
            assert type(one)(one.command, _steady(one.output)).agrees(_steady(printed)), printed
            listed = await become(installed.port, TRAFFIC["a client on zen and SpamCop"], lab.exim())
            became[f"{one.command}, {policy}"] = listed.words
    assert became == {
        "mailguard reload, policy.yaml": "554 at RCPT",
        "mailguard reload, refused.yaml": "554 at RCPT",
        "mailguard observe --for 2h, policy.yaml": "inbox",
        "mailguard observe --off, policy.yaml": "554 at RCPT",
    }


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
