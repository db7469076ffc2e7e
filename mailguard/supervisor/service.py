"""``mailguard serve``: from the configuration to a running supervisor, in the one order that is safe.

Settings; sockets, while this process may still be root; privileges dropped; then workers, who import what they need
while the loader, which does so since before (:mod:`.early`), looks at what the settings name and loads the policy, as
the user that serves. What cannot be read by that user is told before a client is served.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable

from mailguard import log, metric_store, privileges
from mailguard.config import Settings
from mailguard.files import absolute, read_settings
from mailguard.net.local import CannotListen, bind
from mailguard.positions import Document, Problems
from mailguard.supervisor.early import EarlyLoader
from mailguard.supervisor.failures import StartFailed
from mailguard.supervisor.reactor import Reactor
from mailguard.supervisor.run_dir import RunDir
from mailguard.supervisor.sockets import Sockets
from mailguard.supervisor.succession import PatientBind
from mailguard.supervisor.systemd import Notifier, handed_over


def serve(loader: EarlyLoader, fitted: Callable[[Settings], Settings]) -> int:
    """Run the service by the configuration of ``loader``; its exit status.

    ``fitted``: makes settings fit what this machine lets a process have.

    Raises:
        Problems: settings or policy are wrong.
        NoOutput: standard output, where the log goes, is closed.
        CannotListen: an address cannot be listened on.
        BadHandover: systemd's sockets do not fit the settings.
        CannotDrop: the user cannot be become.
        CannotRun: ``run_dir`` cannot be used, or another mailguard does.
        StartFailed: the workers do not start.
    """
    configuration = loader.configuration
    document, written = read_settings(configuration)
    settings = absolute(written, configuration.parent.absolute())
    log.configure(settings.log.format, settings.log.level, settings.log.syslog)
    log.never_wait()
    handed = handed_over(os.environ, os.getpid())
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # one that comes before we can hear it is kept for us
    with contextlib.closing(Notifier(os.environ, os.getpid())) as notifier, RunDir(settings.run_dir) as folder:
        try:
            sockets = Sockets.of(settings, handed, _binder(settings, folder))
        except CannotListen:
            _check(document, written)  # it may be the settings' own mistake, which is told with its line
            raise
        group = privileges.group_id(settings.processes.control_group)
        privileges.drop(settings.user, folder.path)
        return _supervise(loader, settings, fitted, sockets, folder, notifier, group)


def _binder(settings: Settings, folder: RunDir) -> Callable[[str], socket.socket]:
    """How addresses are bound: with patience where a service that was killed may have left workers on them."""
    if folder.left_behind:
        return PatientBind(settings.processes.bind_timeout, time.monotonic, time.sleep)
    return bind


def _check(document: Document, written: Settings) -> None:
    from mailguard.settings_checks import problems_here

    if problems := problems_here(document, written):
        raise Problems(problems)


def _supervise(
    loader: EarlyLoader,
    settings: Settings,
    fitted: Callable[[Settings], Settings],
    sockets: Sockets,
    folder: RunDir,
    notifier: Notifier,
    group: int,
) -> int:
    from mailguard.smtp import shared_counts

    slots = 2 * (settings.workers or len(os.sched_getaffinity(0)))
    metrics = folder.path / "metrics"
    metric_store.prepare(metrics)
    metric_store.open_slot(metrics, slots)
    from mailguard.supervisor.control import Control
    from mailguard.supervisor.supervisor import Resources, Supervisor

    resources = Resources(sockets, metrics, shared_counts.create(slots), slots)
    reactor = Reactor(time.monotonic)
    fitting = fitted(settings).limits.max_connections
    limit = {"max_connections": fitting}

    def given(wanted: Settings) -> Settings:
        if wanted.limits.max_connections <= fitting:
            return wanted
        return wanted.model_copy(update={"limits": wanted.limits.model_copy(update=limit)})

    supervisor = Supervisor(loader.configuration, settings, given, resources, reactor, notifier)
    supervisor.load(loader.take)  # first, for all others wait for what it loads
    supervisor.hatch()
    begun = False
    try:
        with Control(folder, group, supervisor, reactor):
            begun = True
            status = supervisor.run()
    except StartFailed as failed:
        log.logger.error("start failed", error=str(failed).partition("\n")[0])
        raise
    finally:
        if not begun:  # from then on children that are left drain by themselves, whatever becomes of this process
            supervisor.abandon()
    log.logger.info("stopped")
    return status
