#!/bin/sh
# Usage: fresh.sh [run | test | user | postfix]...      (as root, with mmdebstrap; all four where none is named)
#
# The two commands of the README on a Debian 12 that holds nothing but git, make, python3.11 and a clone of this tree's
# HEAD, in a chroot made for it and removed afterwards. What this machine needs to reach its package archives (apt's
# sources and options, certificates, pip's configuration) is lent to the chroot.
#
#   run      `make run ONCE=1` prints the table with all five as expected; the second run starts in seconds
#   test     `make test` is green
#   user     the same run by a user who may run apt-get with sudo, and nothing else
#   postfix  with Postfix installed the installer stops, says why, and changes nothing
#
# FRESH_PORT=2526 lets the demo listen elsewhere than on 2525, where this machine uses that (its network is shared).
# Each prints how long it took, and what the installer must not have done is checked: no service runs, policy-rc.d is as
# it was.

set -eu

source=$(cd "$(dirname "$0")/../.." && pwd)
suite=bookworm
clone=opt/mailguard
run="make run ONCE=1${FRESH_PORT:+ PORT=$FRESH_PORT}"
[ $# -gt 0 ] || set -- run test user postfix

stop() {
    echo "fresh: $1" >&2
    exit 1
}

[ "$(id -u)" -eq 0 ] || stop "wants root, for a chroot"
command -v mmdebstrap >/dev/null || stop "wants mmdebstrap: apt-get install mmdebstrap"

# All mounts live in a mount namespace of our own: they are gone with it, and nothing of this machine can be removed.
if [ -z "${FRESH_NAMESPACE-}" ]; then
    FRESH_NAMESPACE=1 exec unshare --mount --pid --fork --kill-child=KILL --propagation private sh "$0" "$@"
fi

scratch=$(mktemp -d /var/tmp/mailguard-fresh.XXXXXX)
trap 'umount -R "$scratch/root" 2>/dev/null; rm -rf --one-file-system "$scratch"' EXIT
trap 'exit 130' HUP INT TERM

timed() {
    title=$1
    shift
    begun=$(date +%s)
    "$@" || stop "$title: failed with status $?"
    echo "fresh: $title: $(($(date +%s) - begun)) s"
}

debian_sources() {
    for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
        if grep -qs "$suite" "$file"; then echo "$file"; fi
    done
}

build() {
    apt-config dump --format '%f "%v";%n' Acquire | grep -v '^Acquire "' | grep -v '::Languages' >"$scratch/apt.conf"
    mmdebstrap --quiet --variant=minbase --include=git,make,python3.11,ca-certificates \
        --aptopt="$scratch/apt.conf" "$suite" "$scratch/base.tar" $(debian_sources)
}

# What pip is told on this machine: indexes, proxies, certificates. Options that name local paths would fail in the chroot,
# which has none of them. A section that both files have is made one, since pip refuses it twice.
lend_pip() {
    cat /etc/pip.conf "$HOME/.config/pip/pip.conf" 2>/dev/null | grep -v -e file: -e find-links |
        awk '!/^\[/ || !seen[$0]++' >"$scratch/root/etc/pip.conf"
}

# A new root from the same base, with the clone in it.
fresh_root() {
    umount -R "$scratch/root" 2>/dev/null || true
    rm -rf --one-file-system "$scratch/root"
    mkdir "$scratch/root"
    mount --bind "$scratch/root" "$scratch/root"
    tar -C "$scratch/root" -xf "$scratch/base.tar"
    cp -L /etc/resolv.conf "$scratch/root/etc/resolv.conf"
    cp -L /etc/ssl/certs/ca-certificates.crt "$scratch/root/etc/ssl/certs/ca-certificates.crt"
    mount -t proc proc "$scratch/root/proc"
    mount --rbind /dev "$scratch/root/dev"
    mount -t tmpfs -o mode=755 tmpfs "$scratch/root/run"
    lend_pip
    git clone --quiet --no-hardlinks "$source" "$scratch/root/$clone"
}

# inside COMMAND: in the clone, in an environment that holds nothing of this machine's.
inside() {
    chroot "$scratch/root" env -i HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        LANG=C.UTF-8 TERM=dumb COLUMNS=160 sh -c "cd /$clone && $1" </dev/null
}

require_kind() {
    [ ! -e "$scratch/root/usr/sbin/policy-rc.d" ] || stop "policy-rc.d was left behind"
    ! inside 'cat /proc/[0-9]*/comm' | grep -E '^(exim4|clamd|freshclam|spamd|unbound|rbldnsd|dovecot|master)$' ||
        stop "a service was started, or a test server left behind"
}

check_run() {
    timed "make run ONCE=1, everything to be installed" inside "$run"
    require_kind
    timed "make run ONCE=1 again" inside "$run"
    require_kind
}

check_test() {
    timed "make test" inside 'make test'
    require_kind
}

check_user() {
    inside 'apt-get -qq update && apt-get -qq -y install --no-install-recommends sudo >/dev/null
        useradd --create-home newcomer && chown -R newcomer: .
        echo "newcomer ALL=(root) NOPASSWD: /usr/bin/apt-get" >/etc/sudoers.d/newcomer'
    timed "make run ONCE=1 by a user with sudo for apt-get alone" \
        inside "setpriv --reuid=newcomer --regid=newcomer --init-groups env HOME=/home/newcomer $run"
    require_kind
}

check_postfix() {
    inside 'apt-get -qq update && apt-get -qq -y install --no-install-recommends postfix >/dev/null </dev/null'
    before=$(inside 'dpkg -l | sha256sum')
    ! inside 'make run ONCE=1' 2>"$scratch/said" || stop "the installer went on, although Postfix is installed"
    cat "$scratch/said"
    grep -q 'apt would remove: postfix' "$scratch/said" || stop "the installer did not say that Postfix would go"
    [ "$before" = "$(inside 'dpkg -l | sha256sum')" ] || stop "packages were changed"
    echo "fresh: with Postfix installed: refused, nothing changed"
}

timed "a Debian with git, make and python3.11" build
previous=
for check; do
    # `test` may go on in the root of `run`, as a newcomer would; all others begin anew.
    [ "$previous.$check" = run.test ] || fresh_root
    "check_$check"
    previous=$check
done
echo "fresh: all as it must be"
