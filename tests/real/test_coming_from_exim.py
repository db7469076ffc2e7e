"""docs/coming-from-exim.md: what becomes of mail before and after is what its tables say.

Each part's ACLs stand in a real Exim that faces its clients, each part's policy in a mailguard before a plain Exim, and
the same messages go from the same addresses to both. All of it is taken from the page: ACLs, files, policies, settings,
and the outcomes in the tables; whom their first column speaks of stands in ``tests/support/tabled.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml

from mailguard.config import Settings
from mailguard.lab import Lab
from mailguard.policy.schema import PolicyFile
from tests.real.conftest import StartMailguard
from tests.support.filtering_exim import FilteringExim, impossible
from tests.support.pages import ROOT, blocks, sections, table
from tests.support.tabled import TRAFFIC, Became, become, make_lab

SECTIONS = sections((ROOT / "docs/coming-from-exim.md").read_text())
AROUND = SECTIONS["What stands around them"]
COMPARED = {name: text for name, text in SECTIONS.items() if table(text) and "Exim" in table(text)[0]}
DEFAULT_POLICY = yaml.safe_load((ROOT / "policies/default.yaml").read_text())


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """Servers of the tables alone."""
    if reason := impossible():
        pytest.skip(reason)
    with Lab() as servers:
        yield make_lab(servers)


def acls(section: str, kind: str) -> str:
    """All ACLs: what the section shows of each, and below it what stands around."""
    [ours] = [_statements(block.text) for block in blocks(section, *kind.split())]
    [around] = [_statements(block.text) for block in blocks(AROUND, "exim") if block.text.startswith("acl_")]
    assert ours.keys() <= around.keys()
    return "\n".join(f"{name}:\n{ours.get(name, '')}{text}" for name, text in around.items())


def _statements(text: str) -> dict[str, str]:
    """What stands below the name of each ACL."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        if line.endswith(":") and not line.startswith(" "):
            name = line.removesuffix(":")
            found[name] = ""
        else:
            found[name] += f"{line}\n"
    return found


def filtering_exim(lab: Lab, folder: str, section: str, kind: str) -> FilteringExim:
    """An Exim with the ACLs of a section, and the page's router that files."""
    [router] = [block.text for block in blocks(AROUND, "exim") if not block.text.startswith("acl_")]
    files = [(block.language, block.text) for block in blocks(section) if block.language.startswith("local_")]
    return lab.server(
        folder,
        FilteringExim,
        lambda path: FilteringExim(
            path, acls(section, kind), router, files, clamd=lab.clamd(), spamd=lab.spamd(), next_server=lab.exim()
        ),
    )


def shown(section: str, keys: set[str]) -> dict[str, Any]:
    """The section's YAML that is part of a policy, or of settings, whichever ``keys`` are."""
    parts = [yaml.safe_load(block.text) for block in blocks(section, "yaml")]
    return {key: value for part in parts if part.keys() <= keys for key, value in part.items()}


def policy_of(section: str, folder: Path) -> Path:
    """The section's policy: its parts in place of those of the default policy, whose cases are about its own rules."""
    base = {key: value for key, value in DEFAULT_POLICY.items() if key != "cases"}
    path = folder / "policy.yaml"
    path.write_text(yaml.safe_dump(base | shown(section, set(PolicyFile.model_fields)), sort_keys=False, width=1000))
    return path


def in_words(became: Became) -> str:
    """What the tables say of it: where it is, and by which header it is marked."""
    marks = [name for name in ("X-Warning", "X-Mailguard-Tags") if became.header(name)]
    return became.words + "".join(f" with {name}" for name in marks)


def test_the_tables_speak_of_mail_that_is_known() -> None:
    rows = [row["from"] for section in COMPARED.values() for row in table(section)]
    assert len(COMPARED) >= 10
    assert set(rows) <= set(TRAFFIC)


@pytest.mark.parametrize("name", list(COMPARED))
async def test_both_do_what_the_table_says(
    name: str, lab: Lab, start_mailguard: StartMailguard, tmp_path: Path
) -> None:
    section = COMPARED[name]
    stays = bool(list(blocks(section, "exim", "behind")))
    number, kind = list(COMPARED).index(name), "exim behind" if stays else "exim"
    before = filtering_exim(lab, f"exim-{number}", section, kind)
    behind = filtering_exim(lab, f"exim-{number}-behind", section, kind) if stays else lab.exim()
    settings = {"backends": [{"address": behind.address}], **shown(section, set(Settings.model_fields) - {"policy"})}
    told, well = [], await start_mailguard(lab, policy_of(section, tmp_path), **settings)
    for row in table(section):
        sent = TRAFFIC[row["from"]]
        with sent.broken(lab) if sent.broken else nullcontext():
            # One of its own where something is broken: nothing that it learns of that is left for the next row.
            service = await start_mailguard(lab, well.settings.policy, **settings) if sent.broken else well
            at_exim = await become(before.port, sent, before)
            at_mailguard = await become(service.port, sent, behind)
        told.append(row | {"Exim": in_words(at_exim), "mailguard": in_words(at_mailguard)})
    assert told == table(section)
