"""Plays the rows of the table: through the real service into a recording sink, and before Exim's own header parser."""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path

from mailguard.lab.folders import give
from mailguard.lab.process import find_program
from mailguard.message.fields import mailguard_folder
from tests.dialogues.runner import Dialogue, chunk
from tests.dialogues.worlds import SMTP_BY_DATA, World, before_sink
from tests.forgeries.rows import ROWS, Forgery, Row
from tests.support.client import Client, stuffed
from tests.support.heads import fields

OURS = [b"Received", b"Authentication-Results", b"X-Mailguard-Id"]
"""The fields that must stand above what is left, and no other."""


async def _by_data(client: Client, octets: bytes) -> bytes:
    await client.command(b"DATA")
    await client.send(stuffed(octets) + b".\r\n")
    return (await client.reply())[-1]


async def _by_bdat(client: Client, octets: bytes) -> bytes:
    await client.send(chunk(octets, b" LAST"))
    return (await client.reply())[-1]


WAYS: Mapping[str, Callable[[Client, bytes], Awaitable[bytes]]] = {"DATA": _by_data, "BDAT": _by_bdat}
"""How the content comes."""


@asynccontextmanager
async def _mailguard(host: str) -> AsyncIterator[World]:
    """The whole mailguard under the name ``host``, before a sink."""
    async with before_sink(Dialogue("forgeries", settings={"hostname": host}), SMTP_BY_DATA) as world:
        yield world


async def deliver(way: str) -> Mapping[Row, bytes]:
    """What arrived of each row at a sink, by ``way``, one of :data:`WAYS`.

    Raises:
        AssertionError: a message was not taken.
    """
    arrived: dict[Row, bytes] = {}
    for host in dict.fromkeys(row.host for row in ROWS):
        rows = [row for row in ROWS if row.host == host]
        async with _mailguard(host) as world:
            async with await Client.connect("127.0.0.1", world.ports["plain"]) as client:
                await client.reply()
                await client.command(b"EHLO mail.example.org")
                for row in rows:
                    await client.command(b"MAIL FROM:<a@example.org>")
                    await client.command(b"RCPT TO:<u@example.com>")
                    answer = await WAYS[way](client, row.sent)
                    assert answer.startswith(b"250 "), (row.name, answer)
            contents = [message.content for message in world.behind().messages]
        arrived |= {row.key: content for row, content in zip(rows, contents, strict=True)}
    return arrived


def as_it_must_be(row: Forgery, content: bytes) -> bool:
    """Whether ``content`` is what is left of ``row``, to the octet, below our own fields, each of them once."""
    above = content[: -len(row.arrives) or None]
    return content == above + row.arrives and [field.partition(b":")[0] for field in fields(above)] == OURS


class EximReader:
    """Exim's header parser, asked by ``exim -bh``: a session with a client that is not there, and no delivery.

    Args:
        folder: for its configuration; removed by whoever made it.
    """

    def __init__(self, folder: Path) -> None:
        self._binary = find_program("exim4", "exim4-daemon-heavy")
        self._headers = sorted({row.header for row in ROWS if row.header})
        self._configuration = folder / "exim.conf"
        folder.chmod(0o755)
        spool = folder / "spool"
        spool.mkdir()
        give(spool, "Debian-exim")
        says = "\n".join(
            f"  logwrite = says {number} <${{length_60:$h_{name}:}}> end" for number, name in enumerate(self._headers)
        )
        self._configuration.write_text(_EXIM.format(spool=spool, folder=folder, says=says))

    def headers(self, messages: Sequence[bytes]) -> list[dict[str, str]]:
        """For each message, what ``$h_NAME:`` is in Exim's DATA ACL, for all names that the table asks for."""
        transaction = b"MAIL FROM:<a@example.org>\r\nRCPT TO:<u@example.com>\r\nDATA\r\n%b.\r\n"
        script = b"EHLO mail.example.org\r\n" + b"".join(transaction % stuffed(one) for one in messages)
        command = [self._binary, "-C", str(self._configuration), "-bh", "198.18.1.10"]
        done = subprocess.run(command, input=script + b"QUIT\r\n", capture_output=True, timeout=60, check=False)
        said = re.findall(rb"^LOG: \S+ says (\d+) <(.*)> end$", done.stderr, re.MULTILINE)
        values = [(self._headers[int(number)], value.decode()) for number, value in said]
        assert len(values) == len(messages) * len(self._headers), (done.stdout + done.stderr)[-1000:]
        return [dict(islice(values, i, i + len(self._headers))) for i in range(0, len(values), len(self._headers))]

    def sees(self, rows: Sequence[Forgery]) -> set[Row]:
        """Those of ``rows`` whose field it sees if nobody removes it."""
        found = self.headers([row.sent for row in rows])
        return {row.key for row, values in zip(rows, found, strict=True) if values[row.header]}

    def sees_ours_alone(self, arrived: Mapping[Row, bytes]) -> set[Row]:
        """Those rows in whose message, as it arrived, it sees our own fields and no other; also where we file it."""
        above = {row: arrived[row.key][: -len(row.arrives) or None] for row in ROWS}
        ours = self.headers([above[row] + b"\r\n" for row in ROWS])
        seen = self.headers([arrived[row.key] for row in ROWS])
        filed = self.headers([above[row] + mailguard_folder("Junk") + row.arrives for row in ROWS])
        return {
            row.key
            for row, alone, all_, in_junk in zip(ROWS, ours, seen, filed, strict=True)
            if alone == all_ and in_junk == alone | {"X-Mailguard-Folder": "Junk"}
        }


_EXIM = """\
primary_hostname = mx.example.com
spool_directory = {spool}
log_file_path = {folder}/%slog
exim_user = Debian-exim
exim_group = Debian-exim
keep_environment =
host_lookup =
host_lookup_order =
tls_advertise_hosts =
smtp_accept_max_per_connection = 0
acl_smtp_rcpt = accept
acl_smtp_data = say
begin acl
say:
  accept
{says}
"""
