"""The table as a page: ``docs/forgeries.md``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.forgeries.rows import GROUPS, ROWS, Forgery

PAGE = Path(__file__).parents[2] / "docs" / "forgeries.md"

_INTRO = """\
# Ways to forge our fields

<!-- Written by `python -m tests.forgeries --write`; do not edit. -->

Whoever files by `X-Mailguard-Folder` or believes `X-Spam-Flag` must be able to: only mailguard writes its fields. These
are the ways to forge them that are known to us, {count} of them, and {others} neighbours that must stay. Why so is
decision [0062](decisions/0062-which-fields-are-stripped.md), where a header section ends decision
[0060](decisions/0060-where-a-header-section-ends.md). None of them can stand where mailguard does not look: a header
section longer than `limits.max_header_size` is refused (decision
[0068](decisions/0068-a-header-section-over-the-bound-is-refused.md)).

Each row is a message through the running service, by DATA and by BDAT, into a recording sink: what comes out is
compared to the octet (`sh tests/in_namespace.sh .venv/bin/python -m tests.forgeries`). Where a row is one field, it
stands between a `From` and a `Subject`. *Exim* says whether Exim 4.96 would see the field if nobody removed it: its own
header parser is asked before mailguard, and behind it, where it must see our fields alone (`--exim`). In `code`,
`{{z*9}}` is `z` nine times."""

_LONG = re.compile(r"(\\r\\n z|[!-~])\1{19,}")


def shown(octets: bytes) -> str:
    """``octets`` in printable ASCII, runs of one thing shortened."""
    text = "".join(
        {0x0D: "\\r", 0x0A: "\\n", 0x09: "\\t", 0: "\\0", 0x5C: "\\\\"}.get(octet)
        or (chr(octet) if 0x20 <= octet < 0x7F else f"\\x{octet:02x}")
        for octet in octets
    )
    text = _LONG.sub(lambda run: f"{{{run[1]}*{len(run[0]) // len(run[1])}}}", text)
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _columns(group: str) -> list[str]:
    middle = ["comes out"] if group == "places" else []
    last = ["Exim"] if group in ("names", "values", "places") else []
    return ["what", "sent", *middle, "why", *last]


def _cells(row: Forgery) -> Iterator[str]:
    values = {
        "what": row.name if row.host.isascii() else f"{row.name} (we are {row.host})",
        "sent": shown(row.field or row.sent),
        "comes out": "the same" if row.sent == row.arrives else shown(row.arrives) if row.arrives else "nothing",
        "why": row.why,
        "Exim": "sees it" if row.exim else "does not",
    }
    return (values[column] for column in _columns(row.group))


def _line(cells: Iterator[str] | list[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def page() -> str:
    """The whole page."""
    forged = sum(row.goes for row in ROWS)
    parts = [_INTRO.format(count=forged, others=len(ROWS) - forged)]
    for group, heading in GROUPS.items():
        columns = _columns(group)
        rows = [_line(_cells(row)) for row in ROWS if row.group == group]
        parts.append("\n".join([f"## {heading}\n", _line(columns), _line(["---"] * len(columns)), *rows]))
    return "\n\n".join(parts) + "\n"
