"""The certificate that clients are shown: loaded at start, again when told to, and spoken of in log and metrics.

A bad one that is found while the service runs changes nothing, and is loud: the old one is shown on. So is one whose
time is over, even at start, where it is loud too: senders to an MX seldom verify it, and no mail would harm more than
mail in TLS with an old certificate (decision 0085). Handshakes that have begun keep what they have.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Final

from mailguard import metrics
from mailguard.config import Tls
from mailguard.log import logger
from mailguard.net.aside import Aside
from mailguard.net.certificates import BadCertificate, Credentials, load_credentials

DAY: Final = 86400.0
"""Seconds."""


class Identity:
    """Our certificate and key as they are now, for all listeners; ``clock`` gives seconds since the epoch."""

    def __init__(self, settings: Tls, credentials: Credentials, clock: Callable[[], float]) -> None:
        self._settings = settings
        self._clock = clock
        self._show(credentials)

    @classmethod
    def load(cls, settings: Tls, clock: Callable[[], float]) -> Identity | None:
        """The certificate that ``settings`` name, if they name one. Blocking.

        Raises:
            BadCertificate: it cannot be used.
        """
        credentials = load_credentials(settings)
        metrics.CERTIFICATE_SUCCESS.set(1)
        metrics.CERTIFICATE_EXPIRY.set(0)
        return cls(settings, credentials, clock) if credentials else None

    @property
    def context(self) -> ssl.SSLContext:
        """For the next handshake."""
        return self._credentials.context

    async def reload(self, aside: Aside, seconds: float) -> bool:
        """Read the files again beside the event loop, within ``seconds``; whether the new certificate is shown."""
        try:
            fresh = await aside.run(self._read, seconds)
        except BadCertificate as bad:
            return self._refused(str(bad))
        except TimeoutError:
            return self._refused(f"it was not read within `limits.policy_timeout`, {seconds:g} s")
        self._show(fresh)
        return True

    def _read(self) -> Credentials:
        """The certificate as it is in its file now.

        Raises:
            BadCertificate: it cannot be used, or its time is over.
        """
        fresh = load_credentials(self._settings)
        if fresh is None:
            raise BadCertificate("certificate", "no certificate is configured", "name one in `tls.certificate`")
        if why := fresh.out_of_date(self._clock()):
            raise BadCertificate("certificate", why, "put a new one in its place")
        return fresh

    def _refused(self, why: str) -> bool:
        metrics.CERTIFICATE_SUCCESS.set(0)
        logger.error("certificate refused", path=str(self._credentials.path), error=why)
        return False

    def _show(self, credentials: Credentials) -> None:
        self._credentials = credentials
        metrics.CERTIFICATE_SUCCESS.set(1)
        metrics.CERTIFICATE_EXPIRY.set(credentials.not_after)
        now = self._clock()
        about = {"path": str(credentials.path), "expires": credentials.expiry}
        if why := credentials.out_of_date(now):
            logger.error("certificate out of date", error=why, **about)
        elif credentials.not_after - now < self._settings.expiry_warning * DAY:
            logger.warning("certificate expires soon", **about)
        else:
            logger.info("certificate loaded", **about)
