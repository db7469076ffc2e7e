"""``mailguard serve``: run the service until SIGTERM or SIGINT; SIGHUP loads policy and certificate again.

Exit status (sysexits.h): 0 after a drain, 69 where an address cannot be listened on, 78 for a broken configuration,
policy or certificate or an open relay behind us; in the last two nothing ever listened.
"""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Annotated

import typer
import uvloop

from mailguard import log
from mailguard.cli.descriptors import fitted
from mailguard.config import Settings
from mailguard.files import DEFAULT_CONFIG
from mailguard.net.certificates import BadCertificate
from mailguard.net.local import CannotListen
from mailguard.policy_files import load_settings
from mailguard.positions import Problems
from mailguard.relay import OpenRelay
from mailguard.worker import Worker


async def _serve(settings: Settings) -> None:
    told: asyncio.Queue[int] = asyncio.Queue()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, told.put_nowait, number)
    worker = Worker(settings)
    await worker.start()
    while await told.get() == signal.SIGHUP:
        worker.reload_soon()
    log.logger.info("draining")
    await worker.stop(drain=settings.limits.drain_timeout)
    log.logger.info("stopped")


def serve(
    config: Annotated[Path, typer.Option(readable=False, help="The configuration file.")] = DEFAULT_CONFIG,
) -> None:
    """Run mailguard in the foreground; SIGTERM drains and ends it, SIGHUP loads policy and certificate again."""
    try:
        settings = load_settings(config)
        log.configure(settings.log.format, settings.log.level)
        uvloop.run(_serve(fitted(settings)))
    except Problems as problems:
        typer.echo(str(problems), err=True)
        raise typer.Exit(os.EX_CONFIG) from None
    except (OpenRelay, BadCertificate) as error:
        typer.echo(f"mailguard: {error}", err=True)
        raise typer.Exit(os.EX_CONFIG) from None
    except CannotListen as error:
        typer.echo(f"mailguard: {error}", err=True)
        raise typer.Exit(os.EX_UNAVAILABLE) from None
