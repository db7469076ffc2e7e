#!/bin/sh
# Usage: in_namespace.sh COMMAND...
#
# Runs COMMAND in fresh network, mount and process namespaces: nothing reaches the outside, every address of
# 198.18.0.0/15 is a local one, every port is free, and no process outlives COMMAND. Where that is not permitted (not
# root, or a container without the right), COMMAND runs as it is, and a note says so; no test depends on it.

isolate="unshare --net --mount --pid --fork --kill-child=KILL --mount-proc"

inside='
ip link set lo up && ip route add local 198.18.0.0/15 dev lo || exit 125
"$@"
exit $?'

if command -v ip >/dev/null 2>&1 && $isolate ip link set lo up 2>/dev/null; then
    exec $isolate sh -c "$inside" sh "$@"
fi
echo "note: no namespace of its own for this run (it wants root, unshare and iproute2)" >&2
exec "$@"
