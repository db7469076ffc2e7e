"""Whether a backend takes mail for anybody (architecture.md, "Never an open relay"; docs/decisions/0005).

Asked in the name of a client far outside, about a recipient in a domain that cannot exist (RFC 2606 2): a server that
takes it either relays for the whole Internet, or does not heed the PROXY header and takes mailguard for a local client.
The transaction ends before DATA: nothing is ever sent.
"""

from __future__ import annotations

from typing import Final

from mailguard.commands import MailFrom, Path, RcptTo
from mailguard.facts import ClientAddress
from mailguard.relay.backend import Dialogue
from mailguard.relay.identity import Identity

_STRANGER: Final = ClientAddress.parse("192.0.2.1")
"""Of TEST-NET-1 (RFC 5737): nobody's address, and so on nobody's list of relay hosts."""
PROBE: Final = Identity(_STRANGER, 0, _STRANGER, 25, "relay-probe.invalid")
"""Whom the backend is told to be asked by."""
ELSEWHERE: Final = RcptTo(Path(b"postmaster", b"relay-probe.invalid"))
"""A recipient that no server has a reason to take."""


class OpenRelay(Exception):
    """A backend takes mail for anybody; the text tells an administrator what to do."""

    def __init__(self, address: str) -> None:
        super().__init__(
            f"backend {address} is an open relay: it took a recipient in a domain that cannot exist, from a stranger. "
            "Let it relay for listed hosts alone, and make it heed the PROXY header (Exim: hosts_proxy), or set "
            "relay_probe: false for a backend that nobody else can reach"
        )


async def takes_anybody(dialogue: Dialogue) -> bool:
    """Whether the backend takes :data:`ELSEWHERE` in ``dialogue``, which was opened for :data:`PROBE`.

    Raises:
        BackendFailed: it gave no answer.
    """
    try:
        mail, answers = await dialogue.envelope(MailFrom(Path()), [ELSEWHERE])
    finally:
        dialogue.quit()
    return mail.taken and any(answer.taken for answer in answers)
