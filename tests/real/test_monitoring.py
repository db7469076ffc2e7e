"""Prometheus and Alertmanager before a real mailguard: every expression answers, and a dead clamd is told and untold.

The rules are the shipped ones; those that Prometheus evaluates here have a second in the place of each minute
(:func:`tests.support.promrules.hasty`), and it scrapes once a second. Panels ask what they ask at Grafana.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailguard.lab import Lab, LabError, world
from mailguard.lab.alertmanager import Alertmanager
from mailguard.lab.mailguard import Mailguard
from mailguard.lab.process import find_program
from mailguard.lab.prometheus import Prometheus
from mailguard.lab.rbldnsd import Rbldnsd
from tests.support import certificates, promrules
from tests.support.client import Client, proxy_v2
from tests.support.control import asked
from tests.support.mail import EICAR, GTUBE, mail, submit, transaction
from tests.support.webhook import Webhook

DEFAULT = Path(__file__).parents[2] / "policies" / "default.yaml"
WAIT = 120.0
"""Seconds: mail goes on while something is waited for, and takes the longer the more else the machine has to do."""
SAMPLE = "sample: {share: 0.5, folder: Junk}\n"
"""Half of the clients that are to be refused are let in, so that there are refusals and measured ones."""
LISTED_TWICE = [f"198.18.67.{last}" for last in range(1, 25)]
"""So many that some are in the sample and some are not, whatever the policy's digest."""
UNMATCHED = "198.18.7.99"
"""Its code stands in no table."""

NOTHING_HAPPENED = {
    "mailguard_backend_replays_total": "no backend is lost in the middle of a transaction",
    "mailguard_policy_observed_total": "no rule is only observed",
    'class=~"lost|timeout"': "the backend answers",
    'rule=~"unavailable: .+"': "the scanners answer",
    'outcome!~"listed|not_listed"': "the lists answer",
}
"""What a panel may ask for and get nothing as long as all is well, with the reason."""


@dataclass
class Monitored:
    """A mailguard that is watched."""

    lab: Lab
    service: Mailguard
    prometheus: Prometheus
    webhook: Webhook

    async def connect(self, address: str) -> Client:
        return await Client.connect("127.0.0.1", self.service.proxy_port, proxy=proxy_v2(address))


@pytest.fixture(scope="module")
def monitored() -> Iterator[Monitored]:
    with Lab() as lab, Webhook() as webhook:
        lists = {
            **world.LISTS,
            world.ZEN: {**world.LISTS[world.ZEN], "ip4set": f"{world.ZEN_IP4}198.18.67.0/24 :127.0.0.4:XBL $\n"},
        }
        lab.server("rbldnsd", Rbldnsd, lambda folder: Rbldnsd(folder, lists))
        service = lab.server("mailguard", Mailguard, lambda folder: _mailguard(folder, lab))
        manager = lab.server("alertmanager", Alertmanager, lambda folder: Alertmanager(folder, webhook.url))
        targets = [f"127.0.0.1:{service.admin_port}"]
        prometheus = lab.server("prometheus", Prometheus, lambda folder: _prometheus(folder, targets, manager.address))
        watched = Monitored(lab, service, prometheus, webhook)
        _until(lambda: _settled(prometheus), "Prometheus has seen the traffic", watched)
        yield watched


def _mailguard(folder: Path, lab: Lab) -> Mailguard:
    folder.mkdir(exist_ok=True)
    policy = folder / "policy.yaml"
    policy.write_text(DEFAULT.read_text().replace("\nrules:\n", f"\n{SAMPLE}\nrules:\n", 1))
    return Mailguard(
        folder,
        lab,
        policy=policy,
        workers=2,
        journal={"directory": str(folder / "journal")},
        tls=certificates.shared().settings,
    )


def _prometheus(folder: Path, targets: list[str], manager: str) -> Prometheus:
    folder.mkdir(exist_ok=True)
    return Prometheus(folder, targets, promrules.hasty(folder), manager)


async def _traffic(watched: Monitored) -> None:
    """Mail of each kind."""
    await asyncio.gather(
        *(_send(watched, address) for address in LISTED_TWICE),
        _send(watched, "198.18.1.201", EICAR),
        _send(watched, "198.18.1.202", GTUBE),
        _send(watched, world.LISTED_CSS),
        _send(watched, UNMATCHED),
        _send(watched, "198.18.1.203", recipients=("nobody@example.com",)),
        _send(watched, "198.18.1.204", recipients=("alice@example.com", "postmaster@example.com")),
        _encrypted(watched, "198.18.1.205"),
    )


async def _send(
    watched: Monitored, address: str, body: str = "Hello.", recipients: tuple[str, ...] = ("alice@example.com",)
) -> None:
    async with await watched.connect(address) as client:
        await submit(client, mail(body).octets, *recipients)
        await client.command(b"QUIT")


async def _encrypted(watched: Monitored, address: str) -> None:
    async with await watched.connect(address) as client:
        await client.reply()
        await client.command(b"EHLO mail.example.org")
        await client.starttls(certificates.trusting(certificates.shared()))
        await client.command(b"EHLO mail.example.org")
        assert (await transaction(client, mail("Hello.").octets)).content.startswith(b"250 ")
        await client.command(b"QUIT")


def _until(true: Callable[[], bool], what: str, watched: Monitored | None = None) -> None:
    """Wait for it; with mail for ``watched`` meanwhile, again and again, for a rate needs two scrapes to go by."""
    deadline = time.monotonic() + WAIT
    while not true():
        assert time.monotonic() < deadline, what
        if watched is not None:
            asyncio.run(_traffic(watched))
        time.sleep(0.2)


def _settled(prometheus: Prometheus) -> bool:
    """Whether rates and records over this traffic are there."""
    asked = (
        "rate(mailguard_scans_total[1m])",
        "sum(rate(mailguard_backend_replies_total[5m])) > 0",
        "job:mailguard_recipients_rejected:ratio15m",
        "job_rule:mailguard_false_positives:ratio7d",
        "job_zone:mailguard_false_positives:ratio7d",
    )
    return all(prometheus.query(expression) for expression in asked)


def _promtool(*arguments: str | Path, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [find_program("promtool", "prometheus"), *map(str, arguments)]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=180, check=False)


def test_the_sample_and_the_rules_pass_promtool() -> None:
    done = _promtool("check", "config", promrules.PROMETHEUS / "prometheus.yml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_and_does_not() -> None:
    done = _promtool("test", "rules", promrules.TESTS)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nights_new_counters_and_limits_are_heeded() -> None:
    done = _promtool("test", "rules", promrules.EDGES)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_metrics_pass_promtool(monitored: Monitored) -> None:
    """Names, units and help as Prometheus has them: not one remark."""
    status, text = monitored.service.page("/metrics")
    assert status == 200
    done = _promtool("check", "metrics", given=text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_expression_is_understood_and_none_is_empty_for_nothing(monitored: Monitored) -> None:
    rules = promrules.rules()
    for rule in rules:
        monitored.prometheus.query(rule["expr"])
    panels = list(promrules.panels())
    for _file, _title, expression in panels:
        monitored.prometheus.query(expression)  # an error is one at once
    empty = [panel for panel in panels if not any(selector in panel[2] for selector in NOTHING_HAPPENED)]

    def none_is_left() -> bool:
        empty[:] = [panel for panel in empty if not monitored.prometheus.query(panel[2])]
        return not empty

    with contextlib.suppress(AssertionError):
        _until(none_is_left, "each has shown something", monitored)
    assert "\n".join(map(str, empty)) == ""
    print(f"{len(rules)} expressions of rules and {len(panels)} of dashboards")


def test_every_rule_is_evaluated_in_good_health(monitored: Monitored) -> None:
    found = monitored.prometheus.rules()
    assert len(found) == len(promrules.rules())
    _until(lambda: all(rule["health"] == "ok" for rule in monitored.prometheus.rules()), "every rule was evaluated")
    assert [rule["name"] for rule in found if rule.get("lastError")] == []


@pytest.mark.parametrize("name", sorted(promrules.records()))
def test_every_record_that_has_something_to_tell_tells_it(monitored: Monitored, name: str) -> None:
    may_be_empty = name.endswith("_avg1d") or "unscannable" in name or "scans_down" in name or "unanswered" in name
    if not may_be_empty:
        _until(lambda: bool(monitored.prometheus.query(name)), name, monitored)


def test_a_wrong_expression_is_found(monitored: Monitored) -> None:
    with pytest.raises(LabError, match="parse error"):
        monitored.prometheus.query("rate(mailguard_messages_total)[5m]")


def test_nothing_is_wrong_while_nothing_is(monitored: Monitored) -> None:
    """Of the alerts that speak of parts, none fires; what speaks of the usual has none to compare with.

    One may for a moment: a machine with other work is late by seconds, each of which is a minute here.
    """
    usual = {"MailguardUnknownCodes", "MailguardRuleFalsePositives", "MailguardListFalsePositives"}
    firing: set[str] = set()

    def well() -> bool:
        firing.clear()
        firing.update(_firing(monitored, 'ALERTS{alertstate="firing"}') - usual)
        return not firing

    with contextlib.suppress(AssertionError):
        _until(well, "nothing is wrong")
    assert firing == set()


async def test_the_alert_of_a_dead_clamd_arrives_and_is_taken_back(monitored: Monitored) -> None:
    clamd, about = monitored.lab.clamd(), {"alertname": "MailguardScannerDown", "scanner": "clamav"}
    told, before = monitored.webhook.told, len(monitored.webhook.alerts)
    await asyncio.to_thread(clamd.stop)
    await _sending_until(monitored, lambda: bool(told("firing", before, **about)))
    await asyncio.to_thread(clamd.start)
    await _sending_until(monitored, lambda: bool(told("resolved", before, **about)))
    (first, *_) = told("firing", before, **about)
    assert first["labels"]["severity"] == "critical"
    assert first["annotations"]["runbook_url"] == "docs/runbooks/MailguardScannerDown.md"
    assert "clamav does not answer" in first["annotations"]["summary"]


async def test_causes_are_told_by_their_alerts(monitored: Monitored) -> None:
    """Each is brought about for real; what is told of it is what the expression makes of the service's own metrics."""
    service = monitored.service
    (service.folder / "policy.yaml").write_text("mailguard_policy: 1\nrules: nonsense\n")
    assert await asyncio.to_thread(_command, service, "reload") != 0
    for _ in range(2):
        await asyncio.to_thread(_kill_workers, service)
    await _until_firing(monitored, "MailguardPolicyLoadFailed", "MailguardWorkersDie", "MailguardUnknownCodes")
    await asyncio.to_thread(monitored.lab.exim().stop)
    await _until_firing(monitored, "MailguardBackendDown", "MailguardNoBackend")


def _command(service: Mailguard, *words: str) -> int:
    command = [sys.executable, "-m", "mailguard", *words, "--config", str(service.configuration)]
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode


def _workers(service: Mailguard) -> list[int]:
    told = asked(service.folder / "run", WAIT, command="status")["report"]
    return [each["pid"] for each in told["processes"] if (each["role"], each["state"]) == ("worker", "accepting")]


def _kill_workers(service: Mailguard) -> None:
    """Kill both, and wait until others serve in their place."""
    before = set(_workers(service))
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    _until(lambda: len(now := _workers(service)) == len(before) and not before.intersection(now), "they are replaced")


def _firing(watched: Monitored, series: str) -> set[str]:
    """The names of the alerts in ``series``."""
    return {each["metric"]["alertname"] for each in watched.prometheus.query(series)}


async def _until_firing(watched: Monitored, *names: str) -> None:
    """Until each has fired: not all at the same time, for one may look back so far that it has ended already.

    Mail goes on meanwhile: some alerts look at rates.
    """
    fired = f'last_over_time(ALERTS{{alertstate="firing"}}[{2 * WAIT:.0f}s])'
    async with asyncio.timeout(WAIT):
        while not set(names) <= await asyncio.to_thread(_firing, watched, fired):
            await asyncio.gather(
                *(_send(watched, f"198.18.2.{last}") for last in range(1, 8)), _send(watched, UNMATCHED)
            )


async def _sending_until(watched: Monitored, happened: object) -> None:
    assert callable(happened)
    async with asyncio.timeout(WAIT):
        while not happened():
            await _send(watched, "198.18.1.210")
            await asyncio.sleep(0.2)
