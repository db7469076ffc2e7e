"""``mailguard serve``: run the service until SIGTERM or SIGINT; SIGHUP loads settings, policy and certificate again.

Exit status (sysexits.h): 0 after a drain, 69 where an address cannot be listened on or another mailguard runs, 78 for a
broken configuration, policy or certificate, an open relay behind us, sockets of systemd that do not fit, or a log that
goes to a closed standard output; in the last ones nothing ever listened. 70 where a worker died of a bug while it
started, 75 where one was not ready in time.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mailguard.cli.paths import DEFAULT_CONFIG
from mailguard.cli.streams import hold_standard_streams
from mailguard.lasting import lasting
from mailguard.supervisor.early import EarlyLoader


def serve(
    config: Annotated[Path, typer.Option(readable=False, help="The configuration file.")] = DEFAULT_CONFIG,
) -> None:
    """Run mailguard in the foreground; SIGTERM drains and ends it, SIGHUP loads settings and policy again."""
    hold_standard_streams()
    with EarlyLoader(config) as loader:
        with lasting():  # here: the loader does so at the same time
            from mailguard.cli.serving import run
        run(loader)
