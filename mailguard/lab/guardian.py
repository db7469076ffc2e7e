"""Kills and removes what a laboratory leaves behind when its process dies, however it dies.

Run as a script by :mod:`mailguard.lab.process`, its standard input a pipe that the laboratory and no other holds open.
Each process writes ``+SESSION`` into the pipe before it turns into the server, the laboratory ``-SESSION`` once it has
ended, and ``/FOLDER`` for a scratch folder of its own making. End of file means that the laboratory is gone: every
process of the sessions still on the list gets SIGKILL, and the folders are removed.
(PR_SET_PDEATHSIG does not do: the kernel clears it when a server changes its user, and grandchildren never have it.)
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from pathlib import Path

ROUNDS = 50
"""How often the sessions are looked through for processes born while others were killed."""


def session_members(session: int) -> list[int]:
    """The living processes of the session ``session``, zombies left out (proc(5), /proc/pid/stat)."""
    members = []
    for process in Path("/proc").iterdir():  # no glob: it raises where a process ends meanwhile
        if not process.name.isdecimal():
            continue
        try:
            stat = (process / "stat").read_text(errors="replace")
            state, _parent, _group, sid = stat.rpartition(")")[2].split()[:4]
        except (OSError, ValueError):
            continue  # it ended while we looked
        if int(sid) == session and state not in "ZX":
            members.append(int(process.name))
    return members


def kill_session(session: int) -> bool:
    """SIGKILL for every process of the session; whether none was left to kill."""
    members = session_members(session)
    for pid in members:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return not members


def main() -> None:
    """Keep the list until end of file, then kill."""
    for interrupt in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(interrupt, signal.SIG_IGN)
    sessions: set[int] = set()
    folders: list[str] = []
    for line in sys.stdin:
        if line[0] == "/":
            folders.append(line.rstrip("\n"))
        else:
            (sessions.add if line[0] == "+" else sessions.discard)(int(line[1:]))
    for _ in range(ROUNDS):
        ended = [kill_session(session) for session in sessions]
        if all(ended):
            break
        time.sleep(0.02)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
