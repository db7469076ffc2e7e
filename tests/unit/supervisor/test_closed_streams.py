"""Standard streams that are closed: who starts mailguard so is told, and no socket takes their place."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.unit.session.serving import BOUND, Place

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]


async def closed(place: Place, streams: str) -> tuple[int, str]:
    """Exit status of ``mailguard serve`` behind redirections by the shell, and what it says on standard error."""
    (place.folder / "mailguard.yaml").write_text(yaml.safe_dump(place.settings))
    command = f'exec "$0" -m mailguard serve --config "$1" {streams}'
    done = await asyncio.to_thread(
        subprocess.run,
        ["sh", "-c", command, sys.executable, str(place.folder / "mailguard.yaml")],
        stderr=subprocess.PIPE,
        text=True,
        timeout=BOUND,
        check=False,
    )
    return done.returncode, done.stderr


async def test_a_closed_standard_output_is_told_in_one_line(place: Place) -> None:
    status, said = await closed(place, ">&-")
    assert (status, said.count("\n")) == (os.EX_CONFIG, 1), said
    assert said.startswith("mailguard: standard output is closed, and the log goes there: open it")


async def test_with_all_closed_the_status_tells(place: Place) -> None:
    assert await closed(place, "<&- >&- 2>&-") == (os.EX_CONFIG, "")


def workers_of(pid: int) -> list[int]:
    """Its workers; other children come and go."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(each) for each in children if "children\0worker" in command_of(each)]


def command_of(pid: str) -> str:
    """Its command line; nothing of one that has ended, or is gone by now."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def streams_of(pid: int) -> list[str]:
    return [str(Path(f"/proc/{pid}/fd/{descriptor}").readlink()) for descriptor in range(3)]


async def test_with_a_log_in_syslog_it_serves_and_no_socket_is_a_standard_stream(place: Place) -> None:
    served = await place.serve(
        within=("sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh"), log={"syslog": str(place.folder / "nobody")}
    )
    async with asyncio.timeout(BOUND):
        while not place.listens():  # noqa: ASYNC110  another process makes it true
            await asyncio.sleep(0.05)
        async with await place.client() as client:
            assert (await client.reply())[0].startswith(b"220")
    pid = served.process.pid
    found = [streams_of(each) for each in (pid, *workers_of(pid))]
    assert len(found) > 1
    assert found == [["/dev/null"] * 3] * len(found)
    served.process.terminate()
    assert (await served.ended())[0] == os.EX_OK
