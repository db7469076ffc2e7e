"""The scanners' host beside the guest: a real clamd and a real spamd in a network namespace of their own, behind the
firewall and by the options of ``deploy/guest/neighbour``, as these are shipped.
"""

from __future__ import annotations

import re
import shlex
import time
from pathlib import Path
from typing import Final

from typing_extensions import override

from mailguard.lab.clamd import Clamd
from mailguard.lab.spamd import Spamd
from tests.guest.layout import CLAMD, GUEST, NEIGHBOUR, SPAMD
from tests.support.box import Box

SHIPPED: Final = GUEST / "neighbour/etc"
_NAMED = 'mount --bind "$1" /etc/hosts && shift && exec "$@"'
CABLE: Final = "scanners"


class _TheirClamd(Clamd):
    """clamd with one signature, dated now, and the limits that mailguard wants of it."""

    def __init__(self, folder: Path, box: Box) -> None:
        self._box = box
        super().__init__(folder, dated=time.time(), listen=(NEIGHBOUR, CLAMD))
        wanted = (GUEST / "clamd.conf").read_text()
        words = re.findall(r"^(\w+) ", wanted, re.MULTILINE)
        conf = folder / "clamd.conf"
        kept = [line for line in conf.read_text().splitlines() if line.split(" ")[0] not in words]
        conf.write_text("\n".join(kept) + "\n" + wanted)

    @override
    def command(self) -> list[str]:
        return self._box.inside(*super().command())

    @override
    def answers(self) -> bool:
        return self.answers_on_this_host()  # its firewall lets nobody in but the guest


class _TheirSpamd(Spamd):
    """spamd by the options and the ``/etc/hosts`` that the neighbour has: there is no resolver here."""

    def __init__(self, folder: Path, box: Box) -> None:
        self._box = box
        super().__init__(folder, None)
        found = re.search(r'^OPTIONS="(.*)"$', (SHIPPED / "default/spamd").read_text(), re.MULTILINE)
        assert found, "no OPTIONS"
        self._shipped = [word for word in shlex.split(found[1]) if word != "--helper-home-dir"]
        assert f"--listen={NEIGHBOUR}:{SPAMD}" in self._shipped
        self.port = SPAMD
        (folder / "hosts").write_text("127.0.0.1 localhost\n" + (GUEST / "neighbour/hosts").read_text())

    @override
    def command(self) -> list[str]:
        ours = [word for word in super().command() if word != f"--listen={self.address}"]
        named = ["unshare", "--mount", "sh", "-c", _NAMED, "sh", str(self.folder / "hosts")]
        return self._box.inside(*named, *ours, *self._shipped)

    @override
    def answers(self) -> bool:
        return self.answers_on_this_host()


class Neighbour:
    """Both.

    Args:
        folder: for their files.
        box: a namespace in which :data:`CABLE` has their address.
    """

    def __init__(self, folder: Path, box: Box) -> None:
        self._box = box
        box.run("nft", "-f", SHIPPED / "nftables.d/scanners.nft")
        self.clamd = _TheirClamd(folder / "clamd", box)
        self.spamd = _TheirSpamd(folder / "spamd", box)
        self.clamd.start()
        self.spamd.start()

    def cut(self) -> None:
        """The cable is out: whoever asks hears nothing, not even a refusal."""
        self._box.run("ip", "link", "set", CABLE, "down")

    def mend(self) -> None:
        """It is in again."""
        self._box.run("ip", "link", "set", CABLE, "up")

    def close(self) -> None:
        """End both."""
        for process in (self.clamd, self.spamd, self._box.process):
            process.kill()
