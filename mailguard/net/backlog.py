"""Clients that wait in the kernel for a listening socket to accept them: whether there are any, and no more of them.

When the last process closes a listening socket, the kernel resets all who wait there, though their connection stands
already. Whoever wants none of them reset stops new ones first, takes those that there are, and closes then. New ones
are stopped by a filter on the socket (socket(7), SO_ATTACH_FILTER; no privilege is needed) that drops a segment with
SYN and without ACK (RFC 9293 3.1), which is how a connection begins: the client sends it again a second later, and
meets then whoever listens, or nobody. A filter belongs to the socket and not to the process: it must not be put on one
that others go on with.
"""

from __future__ import annotations

import select
import socket
import struct
from array import array
from typing import Final

_SO_ATTACH_FILTER: Final = 26
"""asm-generic/socket.h; Python's socket has no name for it."""
_FLAGS, _SYN, _ACK = 13, 0x02, 0x10
"""Where the flags stand in a TCP header, and two of them."""
_DROP_NEW: Final = (
    (0x30, 0, 0, _FLAGS),  # ldb [13]
    (0x54, 0, 0, _SYN | _ACK),  # and #0x12
    (0x15, 0, 1, _SYN),  # jeq #0x02, next, the one behind
    (0x06, 0, 0, 0),  # ret #0: drop it
    (0x06, 0, 0, 0xFFFFFFFF),  # ret #-1: keep it whole
)
"""Classic BPF: operation, jumps, operand (linux/filter.h, ``struct sock_filter``)."""


def stop_new(listening: socket.socket) -> bool:
    """Let nobody begin a connection to it any more, for as long as it is open anywhere; whether that can be had."""
    program = array("B", b"".join(struct.pack("HBBI", *each) for each in _DROP_NEW))
    filtering = struct.pack("HP", len(_DROP_NEW), program.buffer_info()[0])  # the kernel copies the program
    try:
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filtering)
    except OSError:  # a kernel or a security module without it: some may be reset, as before
        return False
    return True


def waiting(listening: socket.socket) -> bool:
    """Whether somebody waits to be accepted."""
    poll = select.poll()
    poll.register(listening, select.POLLIN)
    return bool(poll.poll(0))
