"""Starts a command as systemd does with a socket unit: ``launcher.py ADDRESS[,ADDRESS...] COMMAND...``.

Each address is listened on, and becomes a descriptor from 3 on; LISTEN_PID is the process that becomes the command.
``udp`` in place of an address hands over what is no TCP socket.
"""

from __future__ import annotations

import os
import socket
import sys


def main() -> None:
    made = []
    for address in sys.argv[1].split(","):
        if address == "udp":
            made.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            continue
        host, _, port = address.rpartition(":")
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, int(port)))
        listening.listen()
        made.append(listening)
    high = [os.dup2(each.fileno(), 100 + number) for number, each in enumerate(made)]
    for number, descriptor in enumerate(high):
        os.dup2(descriptor, 3 + number, inheritable=True)
        os.close(descriptor)
    names = ":".join(f"smtp{number}" for number in range(len(made)))
    told = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(made)), "LISTEN_FDNAMES": names}
    os.execvpe(sys.argv[2], sys.argv[2:], os.environ | told)


if __name__ == "__main__":
    main()
