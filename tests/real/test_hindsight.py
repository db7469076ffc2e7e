"""Traffic through the real service, then the journal asked: what another policy would have done, what lists did."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mailguard.lab import world
from mailguard.lab.exim import Exim
from mailguard.lab.folders import shipped
from tests.real.conftest import StartMailguard
from tests.support.mail import EICAR, GTUBE, mail, submit

pytestmark = pytest.mark.real


def asked(*words: str, folder: Path, status: int = 0) -> Any:
    command = [sys.executable, "-m", "mailguard", *words, "--json", "--since", "1h", "--journal", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == status, done.stderr
    return json.loads(done.stdout)


def changed(tmp_path: Path, *changes: tuple[str, str]) -> str:
    """The default policy, changed; without its cases, which are those of the shipped one."""
    text = shipped("policies/default.yaml").read_text().partition("\ncases:")[0]
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / "changed.yaml"
    path.write_text(text + "\n")
    return str(path)


async def test_a_replay_says_exactly_what_would_change_and_lists_what_lists_did(
    start_mailguard: StartMailguard, tmp_path: Path, exim: Exim, client_address: str
) -> None:
    assert exim.address
    folder = tmp_path / "journal"
    service = await start_mailguard(journal={"directory": folder}, policy=Path(changed(tmp_path)))
    for address, body in (
        (client_address, "hello"),
        (client_address, GTUBE),
        (client_address, EICAR),
        (world.LISTED_TWICE, "hello"),
    ):
        async with await service.connect(address) as client:
            await submit(client, mail(body).octets)
    await service.worker.stop()

    same = asked("replay", "--policy", changed(tmp_path), folder=folder)
    assert (same["judged"], same["changed"], same["not_judged"]) == (4, 0, 0)

    weights = changed(tmp_path, ("127.0.0.2: {weight: 2.5}", "127.0.0.2: {weight: 0.5}"))
    [change] = asked("replay", "--policy", weights, folder=folder, status=1)["changes"]
    assert change["client"] == world.LISTED_TWICE
    assert (change["before"]["action"], change["before"]["rule"]) == ("reject", "several lists agree")
    assert (change["now"]["action"], change["now"]["content_known"]) == ("file", False)

    threshold = changed(tmp_path, ("junk_at: 5.0", "junk_at: 5000"))
    [change] = asked("replay", "--policy", threshold, folder=folder, status=1)["changes"]
    assert (change["before"]["folder"], change["now"]["action"]) == ("Junk", "accept")

    malware = changed(tmp_path, ("virus.kind == 'malware'", "virus.kind == 'pua'"))
    [change] = asked("replay", "--policy", malware, folder=folder, status=1)["changes"]
    assert (change["before"]["action"], change["now"]["action"]) == ("reject", "file")

    told = asked("lists", "--policy", changed(tmp_path), folder=folder)
    zen, spamcop, dnswl = (told["lists"][name] for name in ("zen", "spamcop", "dnswl"))
    assert [(each["asked"], each["listed"], each["alone"]) for each in (zen, spamcop, dnswl)] == [
        (4, 1, 0),
        (4, 1, 0),
        (4, 0, 0),
    ]
    assert (told["refusals"], zen["needed"], spamcop["needed"], dnswl["needed"]) == (1, 1, 1, 0)
    assert zen["together"] == {"dnswl": 0, "spamcop": 1}
    assert zen["seconds"]["p95"] is not None
    assert zen["false_positives"] is None


async def test_the_sample_lets_a_client_in_and_lists_counts_it(
    start_mailguard: StartMailguard, tmp_path: Path, exim: Exim
) -> None:
    folder = tmp_path / "journal"
    policy = changed(tmp_path, ("\nrules:", "\nsample: {share: 1, folder: Junk}\nrules:"))
    service = await start_mailguard(journal={"directory": folder}, policy=Path(policy))
    message, infected = mail("hello"), mail(EICAR)
    async with await service.connect(world.LISTED_TWICE) as client:
        assert (await submit(client, message.octets)).content.startswith(b"250 ")
    async with await service.connect(world.LISTED_TWICE) as client:
        assert (await submit(client, infected.octets)).content.startswith(b"554 ")
    await service.worker.stop()
    [found] = exim.find(message.message_id, 30)
    assert found.folder == "Junk"
    told = asked("lists", "--policy", policy, folder=folder)
    assert told["lists"]["zen"]["false_positives"] == {"measured": 2, "clean": 1}
    assert asked("replay", "--policy", policy, folder=folder)["changed"] == 0
