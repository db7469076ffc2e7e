#!/bin/sh
# Usage: check.sh [lintian | piuparts | system]...      (as root, with mmdebstrap; all three where none is named)
#
# The package of `make deb` (dist/), examined where it would be installed: in Debian 12s made for it, which are kept in
# build/packaging. Of this machine they see how its package archives are reached, and nothing else.
#
#   lintian   no error, no warning
#   piuparts  installed, removed, installed again and purged, it leaves nothing behind
#   system    a systemd of its own as the first process of namespaces: inside.sh tells what it does there
#
# Exit status: 0, or 1 at the first that is not as it must be.

set -eu
cd "$(dirname "$0")/../.."
[ $# -gt 0 ] || set -- lintian piuparts system

suite=bookworm
kept=build/packaging
deb=$(echo dist/mailguard_*.deb)

stop() {
    echo "deb-check: $1" >&2
    exit 1
}

[ "$(id -u)" -eq 0 ] || stop "wants root, for chroots and namespaces"
[ -f "$deb" ] || stop "wants one package in dist/: make deb"
mkdir -p "$kept"

# base NAME PACKAGE...: build/packaging/NAME.tar.gz, a Debian with these packages.
base() {
    [ ! -f "$kept/$1.tar.gz" ] || return 0
    echo "deb-check: making $kept/$1.tar.gz" >&2
    name=$1
    shift
    sources=$(grep -ls "$suite" /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources || true)
    apt-config dump --format '%f "%v";%n' Acquire | grep -v '^Acquire "' | grep -v '::Languages' >"$kept/apt.conf"
    mmdebstrap --quiet --variant=minbase --include="$(echo "$*" | tr ' ' ,)" --aptopt="$kept/apt.conf" \
        "$suite" "$kept/$name.new.tar.gz" $sources
    mv "$kept/$name.new.tar.gz" "$kept/$name.tar.gz"
}

check_lintian() {
    lintian --allow-root --fail-on error,warning "$deb" || stop "lintian has remarks"
}

check_piuparts() {
    base piuparts ca-certificates
    piuparts --distribution="$suite" --basetgz="$PWD/$kept/piuparts.tar.gz" --keep-sources-list --no-eatmydata \
        --install-remove-install --warn-on-leftovers-after-purge --log-level=info "$deb" >"$kept/piuparts.log" ||
        stop "piuparts failed, see $kept/piuparts.log"
    grep -h 'PASS: All tests' "$kept/piuparts.log" || stop "piuparts did not come to its end, see $kept/piuparts.log"
}

# higher: the same package as a later version.
higher() {
    rm -rf "$kept/next"
    dpkg-deb --raw-extract "$deb" "$kept/next"
    sed -i 's/^Version: .*/&+next/' "$kept/next/DEBIAN/control"
    dpkg-deb --root-owner-group -Znone --build "$kept/next" "$1" >/dev/null
    rm -rf "$kept/next"
}

# Everything dies with the first of the namespaces, and the root is no mount outside them.
check_system() {
    base system ca-certificates dbus iproute2 puppet-agent python3 systemd systemd-sysv
    root=$(mktemp -d /var/tmp/mailguard-system.XXXXXX)
    trap 'kill -KILL "$systemd" 2>/dev/null; wait "$systemd" 2>/dev/null || :; rm -rf --one-file-system "$root"' EXIT
    trap 'exit 130' HUP INT TERM
    tar -C "$root" -xf "$kept/system.tar.gz"
    mkdir -p "$root/srv/puppet"
    cp "$deb" "$root/srv/now.deb"
    higher "$root/srv/next.deb"
    cp tests/packaging/backend.py tests/packaging/inside.sh tests/packaging/site.pp "$root/srv/"
    cp -r deploy/puppet/mailguard "$root/srv/puppet/"
    unshare --pid --mount --net --uts --ipc --cgroup --fork --kill-child=KILL --propagation private \
        sh tests/packaging/pid1.sh "$root" &
    systemd=$!
    first=$(first_child "$systemd")
    timeout 900 nsenter --target "$first" --all env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
        sh /srv/inside.sh /srv || stop "the package's life in a system went wrong"
}

# The process that is systemd by now, and has started what it starts.
first_child() {
    tries=0
    until child=$(cat "/proc/$1/task/$1/children" 2>/dev/null) && [ -n "$child" ] &&
        nsenter --target "${child% }" --all systemctl is-system-running 2>/dev/null | grep -qE 'running|degraded'; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || stop "systemd does not start in namespaces"
        sleep 0.2
    done
    echo "${child% }"
}

for check; do
    begun=$(date +%s)
    "check_$check"
    echo "deb-check: $check: $(($(date +%s) - begun)) s"
done
echo "deb-check: all as it must be"
