"""Mutants of the cluster's agent and of the guest's firewall: shell and nftables, broken like any other code.

Their tests want root and the cluster's tools; without them they are left out, and such a mutant would survive.
"""

from __future__ import annotations

from tests.mutants.mutant import CLUSTER, Mutant

_AGENT = "deploy/pacemaker/mailguard"
_FIREWALL = "deploy/guest/files/etc/nftables.conf"
_SCANNERS = "deploy/guest/neighbour/etc/nftables.d/scanners.nft"
_ACTIONS = "tests/real/test_pacemaker.py"
_GUEST = "tests/real/test_guest.py"

MUTANTS: tuple[Mutant, ...] = (
    Mutant(
        CLUSTER,
        "a-stranger-of-the-same-number-is-ours",
        _AGENT,
        '[ -n "$began" ] && [ "$(started_at "$pid")" = "$began" ]',
        '[ -n "$began" ] && [ -n "$(started_at "$pid")" ]',
        (f"{_ACTIONS}::test_a_stranger_in_its_place_is_not_taken_for_it",),
    ),
    Mutant(
        CLUSTER,
        "a-strangers-session-is-killed",
        _AGENT,
        '[ -z "$leader" ] || [ "$leader" = "$began" ] || return 0',
        ":",
        (f"{_ACTIONS}::test_a_stop_leaves_a_stranger_of_the_same_number_alone",),
    ),
    Mutant(
        CLUSTER,
        "two-starts-launch-two",
        _AGENT,
        "flock --nonblock 9 && return",
        "return 0",
        (f"{_ACTIONS}::test_of_two_starts_at_once_one_launches",),
    ),
    Mutant(
        CLUSTER,
        "a-dead-backend-moves-the-service",
        _AGENT,
        'echo "http://$address/healthz"',
        'echo "http://$address/readyz"',
        (f"{_ACTIONS}::test_from_start_to_stop",),
    ),
    Mutant(
        CLUSTER,
        "what-is-wrong-on-one-node-stops-all",
        _AGENT,
        '''$(one_line "$said")"
    return "$OCF_ERR_ARGS"''',
        '''$(one_line "$said")"
    return "$OCF_ERR_CONFIGURED"''',
        (f"{_ACTIONS}::test_settings_that_are_wrong_on_this_node_alone",),
    ),
    Mutant(
        CLUSTER,
        "the-parameter-user-is-forgotten",
        _AGENT,
        'set -- setsid $(as_user) "$BINARY" serve',
        'set -- setsid "$BINARY" serve',
        (f"{_ACTIONS}::test_the_parameter_user_is_whom_it_runs_as_with_the_right_to_low_ports_and_no_other",),
    ),
    Mutant(
        CLUSTER,
        "a-user-keeps-what-root-may",
        _AGENT,
        " --bounding-set=-all,+net_bind_service",
        "",
        (f"{_ACTIONS}::test_the_parameter_user_is_whom_it_runs_as_with_the_right_to_low_ports_and_no_other",),
    ),
    Mutant(
        CLUSTER,
        "metrics-are-for-everybody",
        _FIREWALL,
        "tcp dport 25 jump smtp",
        "tcp dport { 25, 9625 } jump smtp",
        (f"{_GUEST}::test_who_may_reach_what",),
    ),
    Mutant(
        CLUSTER,
        "a-forged-address-is-believed",
        _FIREWALL,
        "meta nfproto ipv4 fib saddr . iif oif missing counter drop",
        "meta nfproto ipv4 fib saddr . iif oif missing counter",
        (f"{_GUEST}::test_an_address_of_the_management_network_is_forged_where_it_comes_from_the_other_side",),
    ),
    Mutant(
        CLUSTER,
        "scanners-are-for-everybody",
        _SCANNERS,
        "        tcp dport { 3310, 783 } counter drop\n",
        "        tcp dport { 3310, 783 } counter\n",
        (f"{_GUEST}::test_the_scanners_are_for_the_guests_alone",),
    ),
    Mutant(
        CLUSTER,
        "scanners-believe-a-forged-guest",
        _SCANNERS,
        "fib saddr . iif oif missing counter drop",
        "fib saddr . iif oif missing counter",
        (f"{_GUEST}::test_the_scanners_are_for_the_guests_alone",),
    ),
    Mutant(
        CLUSTER,
        "one-client-floods-the-kernel",
        _FIREWALL,
        "meta nfproto ipv4 update @smtp4 { ip saddr limit rate over 50/second burst 200 packets } counter drop",
        "meta nfproto ipv4 update @smtp4 { ip saddr limit rate over 50000/second burst 20000 packets } counter drop",
        (f"{_GUEST}::test_a_flood_of_one_client_keeps_no_other_out",),
    ),
)
