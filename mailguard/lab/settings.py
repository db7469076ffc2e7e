"""The configuration of a mailguard before the laboratory's servers: what an administrator would write, ports apart.

And apart from bounds on answers: in the laboratory all servers share one machine, which may have
other work, and what comes late there would be told as another verdict.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mailguard.config import Settings
from mailguard.lab import world
from mailguard.lab.folders import shipped
from mailguard.lab.lab import Lab

DEFAULT_POLICY = "policies/default.yaml"

_ANSWERED_WITHIN = 10.0
_ASKED_WITHIN = 30.0
"""Seconds for a resolver's answer, and for all that is asked about a client; for its PROXY header and a backend."""


def lab_configuration(
    lab: Lab,
    policy: Path | None = None,
    plain: str = "127.0.0.1:0",
    proxied: str = "127.0.0.1:0",
    **changes: Any,
) -> dict[str, Any]:
    """What stands in mailguard.yaml before ``lab``, whose servers are started if they do not run yet.

    Args:
        lab: the servers.
        policy: the policy file; None for the default that mailguard ships.
        plain: where to listen for clients that are what they are.
        proxied: where to listen for clients named by a PROXY header, from loopback alone.
        changes: settings to make otherwise; a group such as ``limits`` takes a mapping.
    """
    dns, exim, clamd, spamd = lab.dns(), lab.exim(), lab.clamd(), lab.spamd()
    base: dict[str, Any] = {
        "hostname": world.MAILGUARD_NAME,
        "relay_domains": list(world.DOMAINS),
        "listen": [{"address": plain}, {"address": proxied, "proxy_protocol_from": ["127.0.0.0/8"]}],
        "backends": [{"address": exim.address}],
        "policy": str(policy or shipped(DEFAULT_POLICY)),
        "dns": {"servers": [dns.address], "ask_about_private_clients": True, "timeout": _ANSWERED_WITHIN},
        "limits": {
            "envelope_deadline": _ASKED_WITHIN,
            "proxy_header_timeout": _ASKED_WITHIN,
            "backend_connect_timeout": _ASKED_WITHIN,
        },
        "clamav": {"address": clamd.address},
        "spamassassin": {
            "address": spamd.address,
            "connections": spamd.children,
            "rule_dirs": [str(folder) for folder in spamd.rule_dirs],
        },
        "admin": {"address": "127.0.0.1:0"},
    }
    for name, value in changes.items():
        known = base.get(name)
        base[name] = {**known, **value} if isinstance(known, dict) and isinstance(value, dict) else value
    return base


def lab_settings(lab: Lab, policy: Path | None = None, **changes: Any) -> Settings:
    """The same as settings, for a worker in this process; see :func:`lab_configuration`."""
    return Settings.model_validate(lab_configuration(lab, policy, **changes))
