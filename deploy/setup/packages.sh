#!/bin/sh
# Usage: packages.sh PACKAGE...
#
# Installs those of the Debian packages that are missing, and is kind to the machine:
#   - where nothing is missing it does nothing: no apt, no sudo, no network;
#   - it says what it will install, simulates first, and stops where apt would remove anything;
#   - it starts no service (no-services.sh), and leaves policy-rc.d as it was;
#   - as another user than root it runs apt-get, and nothing else, with sudo;
#   - it fetches new package lists only where those on the machine do not do.
# Exit status: 0 all are installed, 69 they cannot be, with one message on standard error.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
policy=/usr/sbin/policy-rc.d
unavailable=69 # EX_UNAVAILABLE, sysexits.h
LC_ALL=C DEBIAN_FRONTEND=noninteractive
export LC_ALL DEBIAN_FRONTEND

say() { printf '%s\n' "$*" >&2; }

stop() {
    say "mailguard: $1"
    exit "$unavailable"
}

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing_of() {
    for package; do
        installed "$package" || printf '%s ' "$package"
    done
}

# apt_get ARGUMENT...: as root; asks nothing, removes nothing, starts no service.
apt_get() {
    $as_root apt-get -q -y --no-remove --no-install-recommends \
        -o Dpkg::Use-Pty=0 \
        -o Dpkg::Options::=--force-confold \
        -o "DPkg::Pre-Invoke::=sh '$here/no-services.sh' begin" \
        -o "DPkg::Post-Invoke::=sh '$here/no-services.sh' end" \
        "$@" </dev/null >&2
}

# What apt would do, one line a package: "Inst NAME ...", "Remv NAME ...", "Conf NAME ...".
simulate() {
    apt-get -q -s --no-install-recommends install "$@" 2>&1
}

refuse_removals() {
    removed=$(printf '%s\n' "$plan" | sed -n 's/^Remv \([^ ]*\).*/\1/p' | tr '\n' ' ')
    [ -z "$removed" ] || stop "apt would remove: $removed
Nothing was changed. mailguard's test servers need Exim, and Debian has one mail server a machine;
run this on another machine, in a container or in a chroot (\`make test-fresh\` makes one)."
}

# apt puts policy-rc.d back itself, also where dpkg fails; this does where apt, or an earlier run, was killed. A user with
# sudo for apt-get alone has apt do it: `update` runs a command of ours as root too.
restore() {
    if [ -e "$policy.mailguard-aside" ] || grep -qs "put here by mailguard" "$policy"; then
        if [ -z "$as_root" ]; then
            sh "$here/no-services.sh" end
        else
            $as_root apt-get -q -o "APT::Update::Pre-Invoke::=sh '$here/no-services.sh' end" update </dev/null >&2
        fi
    fi
}
trap restore EXIT
trap 'exit 130' HUP INT TERM

as_root=
[ "$(id -u)" -eq 0 ] || as_root=sudo

missing=$(missing_of "$@")
[ -n "$missing" ] || exit 0
set -- $missing

command -v apt-get >/dev/null || stop "these Debian packages are missing, and there is no apt-get: $missing"

if [ -n "$as_root" ] && ! command -v sudo >/dev/null; then
    stop "these Debian packages are missing: $missing
Become root and run: apt-get install --no-install-recommends $missing"
fi

say "mailguard needs Debian packages that are not installed: $missing"
if ! plan=$(simulate "$@"); then
    say "apt does not know how to install them: fetching new package lists"
    apt_get update || stop "apt-get update failed"
    plan=$(simulate "$@") || stop "apt cannot install them:
$plan"
fi
refuse_removals
count=$(printf '%s\n' "$plan" | grep -c '^Inst ')
say "Installing $count packages, their dependencies included; nothing is removed, no service is started."

if ! apt_get install "$@"; then
    say "Perhaps the package lists are old: fetching new ones and trying once more"
    apt_get update || stop "apt-get update failed"
    plan=$(simulate "$@") || stop "apt cannot install them:
$plan"
    refuse_removals
    apt_get install "$@" || stop "apt-get install failed, see above"
fi

missing=$(missing_of "$@")
[ -z "$missing" ] || stop "apt-get succeeded, but these are still not installed: $missing"
