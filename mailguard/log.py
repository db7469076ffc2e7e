"""The structured log: one line an event, JSON or logfmt, on standard output or to syslog, each field in :data:`FIELDS`.

A message's content never stands in it, nor a header but the Message-ID. ``docs/reference/log.md`` is generated
from :data:`FIELDS`.

Much of what stands in a line was written by strangers. Whatever does not print, or is there to move other text about
(controls, line separators, directional marks, byte order marks, half a surrogate pair), comes out as ``\\uXXXX``, in
both formats: a line is one line, in one order, to whoever reads it (decision 0067). Lines are UTF-8.

Failure: a line that standard output or syslog does not take is lost and counted (:func:`when_lost`). It must not raise:
a message that the backend took would be deferred for it, and come twice. Nor does mail wait for whoever reads the log:
behind :func:`never_wait` a line that the pipe has no room for is kept here until the next one or :func:`flush`, all of
them up to :data:`MAX_WAITING`. Where lines are :func:`gathered`, a process that is killed takes the last of them along.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import re
import select
import socket
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any, ClassVar, Final, TextIO

import orjson

from mailguard.rfc3339 import stamp


@contextlib.contextmanager
def _left_out(name: str) -> Iterator[None]:
    """Within ``with``, whoever would import ``name`` finds it not installed, but where it is imported already.

    None in ``sys.modules`` stands for that (Python's reference 5.3.1).
    """
    there = name in sys.modules
    if not there:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if not there:
            del sys.modules[name]


with _left_out("rich"):  # structlog would draw tracebacks by it; that takes as long to import as all the rest of it
    import structlog

FIELDS: Final[Mapping[str, str]] = {
    "time": "when, RFC 3339 in UTC",
    "level": "debug, info, warning, error",
    "event": "what happened: `connection`, `recipient`, `message`, `command refused`, `policy loaded`, ...",
    "ref": "the reference id that also stands in the reply and the headers: of a connection, or of a transaction in it",
    "client": "address of the connecting client",
    "reverse": "the client's confirmed name",
    "helo": "what the client called itself",
    "tls": "version and cipher of the client's connection, where it is in TLS",
    "sender": "the reverse-path, `<>` for a bounce",
    "recipients": "the forward-paths, as far as taken",
    "recipient": "the forward-path that was refused",
    "action": "the policy's verdict: accept, reject, defer, file; the backend may refuse what it accepts",
    "rule": "the rule that decided, `unavailable: SOURCE`, or `postmaster`; none where the rules came to their end",
    "folder": "where the message was filed",
    "others": "recipients whom policy treats otherwise than the message's first: `recipients: action folder, rule`",
    "observed": "what observe mode kept from being done: `action rule`",
    "facts": "what the rules looked at, `name=value` or `name=unknown`; quoted where it holds commas or quotes",
    "reply": "our reply to the client",
    "cause": "the private cause of a reply",
    "refused_by": "who gave a refusal: policy, backend, or mailguard itself",
    "dnsbl": "lists that list the client, `name=code+code`, and those without an answer, `name=unknown(why)`",
    "weights": "what counted, `name=weight`: of lists by label, and of facts; where `observed` stands, of that",
    "spam": "SpamAssassin's total, or `unknown(why)`",
    "spam_content": "`spam.content_score`",
    "spam_received": "`spam.received_score`",
    "spam_rules": "what hit, `RULE=points`, `/received` behind rules that may look at Received; the 40 weightiest",
    "spam_rule": "a SpamAssassin rule that the taint list does not hold",
    "virus": "signature name, `clean` or `unknown(why)`",
    "virus_kind": "`virus.kind`",
    "size": "size of the content in octets",
    "seconds": "duration in seconds",
    "end": "how the connection ended",
    "messages": "messages of the connection that were taken",
    "commands": "commands of the connection",
    "errors": "commands of the connection that were unknown, malformed or out of order",
    "backend": "the backend's address",
    "slot": "of a worker: which of them it was",
    "pid": "number of a process",
    "message_id": "the Message-ID header field of a message that was judged, taken or not",
    "digest": "SHA-256: of the content where a duplicate is possible, of the policy that was loaded",
    "zone": "the policy's name of a list",
    "address": "a listening address",
    "path": "a file or folder",
    "operation": "what of the journal failed: `write`, `overflow`, `seal`, `expire`",
    "expires": "the last day of a certificate",
    "error": "what went wrong",
    "exception": "a traceback",
    "version": "version of mailguard",
    "count": "how many",
}
"""Every field of the log and what it means; an undeclared one is a bug that tests find."""


MAX_WAITING: Final = 1024 * 1024
"""Octets of lines that wait in a process for whoever reads the log; what comes on top is lost."""

GATHER: Final = 0.005
"""Seconds for which :func:`gathered` keeps lines."""

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
"""Of lines, in order."""

_EMPTY: Final[tuple[object, ...]] = ("", None, [], ())
"""What a line leaves out."""
_is_plain: Final = re.compile(r"[!#-<>-\[\]-~]+").fullmatch
"""Whether logfmt need not quote it, of ASCII."""
_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)


def _to_json(value: Any) -> str:
    """``value`` in JSON, each character as it is."""
    try:
        return orjson.dumps(value, default=str).decode()
    except orjson.JSONEncodeError:  # half a surrogate pair, or a number of more than 64 bits
        return _ENCODER.encode(value)


def _json_line(time: str, level: str, event: Mapping[str, Any]) -> str:
    return f'{{"time":"{time}","level":"{level}",{_to_json(event)[1:]}'


def _logfmt_line(time: str, level: str, event: Mapping[str, Any]) -> str:
    plain = _is_plain
    words = [
        f"{name}={value if type(value) is str and plain(value) else _word(value)}" for name, value in event.items()
    ]
    return f"time={time} level={level} {' '.join(words)}"


def _word(value: Any) -> str:
    text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    if _is_plain(text):
        return text
    quoted = text.isascii() or not text.isprintable() or any(c in text for c in ' "=\\')
    return _to_json(text) if quoted else text


def _prints(encoded: str) -> bool:
    """Of ASCII's controls JSON leaves DEL alone (RFC 8259 7); where all is ASCII, there is no need to look at each."""
    return "\x7f" not in encoded if encoded.isascii() else encoded.isprintable()


def _escaped(character: str) -> str:
    """As JSON has it. Half a surrogate pair, which readers refuse even so, is told as a text of six characters."""
    escaped = json.dumps(character)[1:-1]
    return f"\\{escaped}" if "\ud800" <= character <= "\udfff" else escaped


class _Line:
    """Makes the line of an event, as ``encode`` puts time, level and fields.

    structlog's one processor. Events below ``least`` make no line.
    """

    def __init__(self, encode: Callable[[str, str, Mapping[str, Any]], str], least: str) -> None:
        self._encode = encode
        self._levels = LEVELS[LEVELS.index(least) :]

    def __call__(self, logger: Any, level: str, event: MutableMapping[str, Any]) -> str:
        if level not in self._levels:
            raise structlog.DropEvent
        if "exc_info" in event:
            event = structlog.processors.format_exc_info(logger, level, event)
        text = self._encode(stamp(time.time_ns() // 1000), level, event)
        return text if _prints(text) else "".join(c if c.isprintable() else _escaped(c) for c in text)


class _Output:
    """Writes lines to ``file``; a line that it does not take is told to ``lost``.

    A file with a descriptor is written without Python's buffer, which would cut lines where the descriptor is full.
    """

    lost: ClassVar[Callable[[], None]] = staticmethod(lambda: None)
    current: ClassVar[_Output | None] = None
    gathering: ClassVar[_Gathering | None] = None

    def __init__(self, file: TextIO) -> None:
        if isinstance(file, io.TextIOWrapper):
            file.reconfigure(encoding="utf-8")
        self._file = file
        self._descriptor = _descriptor(file)
        self._waiting: deque[bytes] = deque()
        self._octets = 0
        self._writing = threading.RLock()

    def msg(self, line: str) -> None:
        """Write one line, its end in the same write(2): between two, another process would write its own."""
        whole = f"{line}\n"
        if self._descriptor is None:
            self._print(whole)
            return
        octets = whole.encode()
        length = len(octets)
        with self._writing:
            if self._octets + length > MAX_WAITING:
                self.flush()
                if self._octets + length > MAX_WAITING:
                    _Output.lost()
                    return
            self._waiting.append(octets)
            self._octets += length
        if self.gathering is None or not self.gathering.keeps():
            self.flush()

    def _print(self, line: str) -> None:
        try:
            self._file.write(line)
            self._file.flush()
        except (OSError, ValueError):  # a full disk, a closed file
            _Output.lost()

    def flush(self) -> None:
        """Write what waits, as far as it is taken now."""
        with self._writing:
            while self._waiting and self._descriptor is not None:
                lines = self._next()
                octets = b"".join(lines)
                try:
                    sent = os.write(self._descriptor, octets)
                except BlockingIOError:
                    sent = 0
                except OSError:  # a full disk, a pipe without a reader
                    for _ in lines:
                        _Output.lost()
                    continue
                if rest := octets[sent:]:
                    self._waiting.appendleft(rest)
                    self._octets += len(rest)
                    if not sent:
                        return

    def _next(self) -> list[bytes]:
        """Lines that a pipe takes whole or not at all (PIPE_BUF), so that no other process writes in between."""
        lines = [self._waiting.popleft()]
        room = select.PIPE_BUF - len(lines[0])
        while self._waiting and len(self._waiting[0]) <= room:
            lines.append(self._waiting.popleft())
            room -= len(lines[-1])
        self._octets -= sum(map(len, lines))
        return lines

    def urgent(self, line: str) -> None:
        """Write one line now, and what was kept before it: it may be the last that this process says."""
        self.msg(line)
        self.flush()

    log = debug = info = msg
    warning = error = critical = exception = urgent


class _Gathering:
    """Keeps the lines of the thread that made it until ``later`` writes them."""

    def __init__(self, later: Callable[[float, Callable[[], None]], object]) -> None:
        self._later = later
        self._thread = threading.get_ident()
        self._due = False

    def keeps(self) -> bool:
        """Whether the line that has just come may wait, as one of this thread may."""
        if threading.get_ident() != self._thread:
            return False
        if not self._due:
            self._due = True
            self._later(GATHER, self._flush)
        return True

    def _flush(self) -> None:
        self._due = False
        flush()


_FACILITY_MAIL: Final = 2 << 3
"""RFC 3164 4.1.1, as are the severities below."""


class _Syslog:
    """Sends lines to the syslog daemon behind the datagram socket ``path``, as the C library does it (facility mail).

    It never waits: what the daemon does not take at once is lost and told, also while the daemon is away. When that is
    back the next line finds it.
    """

    _in_use: ClassVar[_Syslog | None] = None

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket: socket.socket | None = None
        _Syslog._in_use = self

    def _send(self, severity: int, line: str) -> None:
        head = f"<{_FACILITY_MAIL | severity}>{time.strftime('%b %e %H:%M:%S')} mailguard[{os.getpid()}]: "
        datagram = (head + line).encode(errors="backslashreplace")
        if not self._sent(datagram) and not self._sent(datagram):  # the second time on a socket of its own
            _Output.lost()

    def _sent(self, datagram: bytes) -> bool:
        """Whether it was taken, or there is no use in trying again: told as lost then."""
        try:
            self._connected().send(datagram)
        except BlockingIOError:  # the daemon is slow, and its queue full
            _Output.lost()
        except OSError:  # the daemon is gone, or was, or the line is too long for a datagram
            self.close()
            return False
        return True

    def _connected(self) -> socket.socket:
        if self._socket is None:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self._socket = made
            made.connect(str(self._path))
        return self._socket

    @classmethod
    def end(cls) -> None:
        """Close the socket of the log that was configured before, if it had one."""
        if cls._in_use is not None:
            cls._in_use.close()
            cls._in_use = None

    def close(self) -> None:
        """Close the socket; the next line opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def critical(self, line: str) -> None:
        """Severity 2."""
        self._send(2, line)

    def error(self, line: str) -> None:
        """Severity 3."""
        self._send(3, line)

    def warning(self, line: str) -> None:
        """Severity 4."""
        self._send(4, line)

    def info(self, line: str) -> None:
        """Severity 6."""
        self._send(6, line)

    def debug(self, line: str) -> None:
        """Severity 7."""
        self._send(7, line)

    exception, msg, log = error, info, info


def _descriptor(file: TextIO) -> int | None:
    """What ``file`` writes to; None where that is no descriptor, or it is closed."""
    try:
        file.flush()
        return file.fileno()
    except (OSError, ValueError):
        return None


def flush() -> None:
    """Write what waits for room, as far as there is some; to be called now and then."""
    if _Output.current is not None:
        _Output.current.flush()


@contextlib.contextmanager
def gathered(later: Callable[[float, Callable[[], None]], object]) -> Iterator[None]:
    """Keep this thread's lines below warning for :data:`GATHER` s, so that one write(2) takes many; at the end all are
    written.

    ``later`` is ``call_later`` of the event loop that runs in this thread. What another thread tells goes out at once,
    behind what was kept. Who is killed loses what is kept.
    """
    _Output.gathering = _Gathering(later)
    try:
        yield
    finally:
        _Output.gathering = None
        flush()


def never_wait(descriptor: int = 1) -> None:
    """Have writes to standard output fail where they would wait for its reader; children inherit that.

    A pipe is opened once more for it, since whoever else writes to it has not asked for that; a socket (journald's) is
    this service's own. Both get as much room as the system gives. What else there is, is left as it is: a file makes
    nobody wait for a reader, and a terminal is for whoever sits at it. So is a pipe that we may not open.
    """
    try:
        mode = os.fstat(descriptor).st_mode
        if stat.S_ISSOCK(mode):
            os.set_blocking(descriptor, False)
        if not stat.S_ISFIFO(mode):
            return
        own = os.open(f"/proc/self/fd/{descriptor}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    os.dup2(own, descriptor)
    os.close(own)
    with contextlib.suppress(OSError):  # beyond pipe(7)'s pipe-user-pages-soft
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, MAX_WAITING)


class NoOutput(Exception):
    """There is nowhere to log to; the message says why, and what to do."""


def when_lost(tell: Callable[[], None]) -> None:
    """Call ``tell`` for each line that is lost from now on."""
    _Output.lost = staticmethod(tell)


def configure(format_: str = "logfmt", level: str = "info", syslog: Path | None = None) -> None:
    """Send all further lines in ``format_`` (``json`` or ``logfmt``) from ``level`` on to standard output, or to the
    datagram socket ``syslog``.

    Raises:
        NoOutput: lines are for standard output, and that is closed.
    """
    flush()
    _Syslog.end()
    if syslog is None and sys.stdout is None:
        raise NoOutput(
            "standard output is closed, and the log goes there: open it (`>>FILE`, or `>/dev/null` for no log), or set "
            "`log.syslog`"
        )
    _Output.current = _Output(sys.stdout) if syslog is None else None
    output = _Output.current if syslog is None else _Syslog(syslog)
    structlog.configure(
        processors=[_Line(_json_line if format_ == "json" else _logfmt_line, level)],
        logger_factory=lambda *_: output,
    )


def silence() -> None:
    """Log nothing from now on: for commands that have their own way to tell what they find."""
    structlog.configure(processors=[_dropped])


def _dropped(_logger: Any, _method: str, _event: MutableMapping[str, Any]) -> str:
    raise structlog.DropEvent


class _Logger:
    """Passes events through structlog's processors, which :func:`configure` and tests set, to the output.

    It does what structlog's own logger does with that configuration, without one made for each event. What is empty is
    left out.
    """

    def debug(self, event: str, **fields: Any) -> None:
        """Tell what only a developer wants to know."""
        self._tell("debug", event, fields)

    def info(self, event: str, **fields: Any) -> None:
        """Tell what happened."""
        self._tell("info", event, fields)

    def tell(self, fields: dict[str, Any]) -> None:
        """As :meth:`info` does, of ``fields`` that are given away: the event first, and none that is empty."""
        self._pass("info", fields)

    def warning(self, event: str, **fields: Any) -> None:
        """Tell what somebody should look at."""
        self._tell("warning", event, fields)

    def error(self, event: str, **fields: Any) -> None:
        """Tell what went wrong."""
        self._tell("error", event, fields)

    def critical(self, event: str, **fields: Any) -> None:
        """Tell what ends the service."""
        self._tell("critical", event, fields)

    def exception(self, event: str, **fields: Any) -> None:
        """Tell what went wrong, with the traceback of the exception that is being handled."""
        self._tell("error", event, fields | {"exc_info": True})

    def _tell(self, level: str, event: str, fields: Mapping[str, Any]) -> None:
        whole = {name: value for name, value in fields.items() if value or value not in _EMPTY}
        self._pass(level, {"event": event, **whole})

    def _pass(self, level: str, fields: Any) -> None:
        configured = structlog.get_config()
        try:
            for process in configured["processors"]:
                fields = process(None, level, fields)
        except structlog.DropEvent:
            return
        getattr(configured["logger_factory"](), level)(fields)


logger: Final = _Logger()
"""The logger: ``logger.info("message", ref=..., client=...)``."""
