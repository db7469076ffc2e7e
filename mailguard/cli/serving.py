"""What ``mailguard serve`` does once its loader begins: the service, and its end in an exit status (:mod:`.serve`)."""

from __future__ import annotations

import os
from typing import NoReturn

import typer

from mailguard.cli.descriptors import fitted
from mailguard.log import NoOutput
from mailguard.net.local import CannotListen
from mailguard.positions import Problems
from mailguard.privileges import CannotDrop
from mailguard.supervisor.early import EarlyLoader
from mailguard.supervisor.failures import StartFailed
from mailguard.supervisor.run_dir import CannotRun
from mailguard.supervisor.service import serve
from mailguard.supervisor.systemd import BadHandover


def run(loader: EarlyLoader) -> NoReturn:
    """Run the service by the configuration of ``loader``, and end the command with what becomes of it."""
    try:
        raise typer.Exit(serve(loader, fitted))
    except Problems as problems:
        _end(str(problems), os.EX_CONFIG)
    except StartFailed as failed:
        _end(str(failed), failed.status)
    except (BadHandover, CannotDrop, NoOutput) as error:
        _end(f"mailguard: {error}", os.EX_CONFIG)
    except (CannotListen, CannotRun) as error:
        _end(f"mailguard: {error}", os.EX_UNAVAILABLE)


def _end(text: str, status: int) -> NoReturn:
    typer.echo(text, err=True)
    raise typer.Exit(status) from None
