#!/bin/sh
# Usage: no-services.sh begin | end        (as root; apt runs it before and after dpkg, see packages.sh)
#
# Between the two no package starts a service: invoke-rc.d and deb-systemd-invoke ask /usr/sbin/policy-rc.d, where 101
# means "not allowed". A policy-rc.d of the machine's own that forbids already stays in place; any other is moved aside,
# itself and not a copy, and moved back. What a killed run left behind is put right by the next one. Failing to begin
# fails apt, before anything is installed.

set -eu

policy=${POLICY_RC_D:-/usr/sbin/policy-rc.d}
aside=$policy.mailguard-aside
mark='# put here by mailguard while it installs packages'

exists() { [ -e "$1" ] || [ -L "$1" ]; }

ours() { [ -f "$policy" ] && grep -qF "$mark" "$policy"; }

forbids() {
    [ -x "$policy" ] || return 1
    status=0
    "$policy" unbound start >/dev/null 2>&1 || status=$?
    [ "$status" -eq 101 ]
}

end() {
    if ours; then rm -f "$policy"; fi
    if exists "$aside"; then mv "$aside" "$policy"; fi
}

begin() {
    end
    if forbids; then return 0; fi
    if exists "$policy"; then mv "$policy" "$aside"; fi
    printf '#!/bin/sh\n%s\nexit 101\n' "$mark" >"$policy"
    chmod 755 "$policy"
}

case ${1-} in
begin | end) "$1" ;;
*)
    echo "usage: $0 begin | end" >&2
    exit 64
    ;;
esac
