"""``mailguard serve``: run the service until SIGTERM or SIGINT; SIGHUP loads settings, policy and certificate again.

Exit status (sysexits.h): 0 after a drain, 69 where an address cannot be listened on or another mailguard runs, 78 for a
broken configuration, policy or certificate, an open relay behind us, sockets of systemd that do not fit, or a log that
goes to a closed standard output; in the last ones nothing ever listened. 70 where a worker died of a bug while it
started, 75 where one was not ready in time.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from mailguard.cli.descriptors import fitted, hold_standard_streams
from mailguard.files import DEFAULT_CONFIG
from mailguard.log import NoOutput
from mailguard.net.local import CannotListen
from mailguard.positions import Problems
from mailguard.supervisor.failures import StartFailed
from mailguard.supervisor.privileges import CannotDrop
from mailguard.supervisor.run_dir import CannotRun
from mailguard.supervisor.service import serve as run
from mailguard.supervisor.systemd import BadHandover


def serve(
    config: Annotated[Path, typer.Option(readable=False, help="The configuration file.")] = DEFAULT_CONFIG,
) -> None:
    """Run mailguard in the foreground; SIGTERM drains and ends it, SIGHUP loads settings and policy again."""
    hold_standard_streams()
    try:
        raise typer.Exit(run(config, fitted))
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
