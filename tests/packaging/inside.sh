#!/bin/sh
# Usage: inside.sh FOLDER        (as root, where systemd is the first process: check.sh sees to that)
#
# The package's life on a machine: FOLDER holds now.deb, next.deb (the same with a higher version), backend.py, and the
# Puppet module. Prints one line a fact; ends with 1 at the first that is none.

set -eu
folder=$1
settings=/etc/mailguard/mailguard.yaml
mails=/var/tmp/mails
export DEBIAN_FRONTEND=noninteractive

ok() { printf 'ok: %s\n' "$*"; }

stop() {
    printf 'NOT: %s\n' "$*"
    journalctl --no-pager -u mailguard -n 40
    exit 1
}

# eventually COMMAND...: within twenty seconds.
eventually() {
    tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 100 ] || return 1
        sleep 0.2
    done
}

said() { journalctl --no-pager -u mailguard | grep -q -- "$1"; }
property() { systemctl show --value --property "$1" mailguard.service; }
status_of() { sed -n "s/^$1:[[:space:]]*//p" "/proc/$(property MainPID)/status"; }
dpkg_i() { dpkg --force-confold -i "$1" >/var/tmp/dpkg.log 2>&1 || { cat /var/tmp/dpkg.log && stop "dpkg -i $1"; }; }

# deliver ADDRESS: one message over port 25; prints nothing where it was taken.
deliver() {
    python3 - "$1" <<'END'
import smtplib, sys
with smtplib.SMTP(sys.argv[1], 25, local_hostname="client.example", timeout=60) as client:
    client.sendmail("a@client.example", ["b@example.com"], "Subject: packaged\r\n\r\nhello\r\n")
END
}

configure() {
    sed -i -e 's/^#hostname:/hostname:/' -e 's/^#relay_domains:/relay_domains:/' -e 's/^#backends:/backends:/' \
        -e 's/^#  - {address: "127.0.0.1:10025"}/  - {address: "127.0.0.1:10025", client_identity: none, relay_probe: false}/' \
        "$settings"
    cp /usr/share/doc/mailguard/examples/policies/observe.yaml /etc/mailguard/policy.yaml
}

unconfigured() {
    dpkg_i "$folder/now.deb"
    grep -q 'not configured yet' /var/tmp/dpkg.log || stop "dpkg does not say that it must be configured"
    [ "$(systemctl is-enabled mailguard.service mailguard.socket | sort -u)" = disabled ] || stop "a unit is enabled"
    [ "$(systemctl is-active mailguard.service)" = inactive ] || stop "it was started"
    ! grep -q 'Failed' /var/tmp/dpkg.log || stop "$(cat /var/tmp/dpkg.log)"
    [ "$(stat -c %U /run/mailguard /var/lib/mailguard/spool | sort -u)" = mailguard ] || stop "folders are not mailguard's"
    ok "installed, neither enabled nor started, and says what is to be done"
    ! systemctl start mailguard.service 2>/dev/null || stop "it starts without a configuration"
    eventually said '`relay_domains` is missing' || stop "the log does not say what is missing"
    [ "$(property ExecMainStatus)/$(property NRestarts)" = 78/0 ] || stop "status $(property ExecMainStatus), not 78 once"
    ok "started unconfigured: 78, names the settings that are missing, is not tried again"
    systemctl reset-failed mailguard.service
}

units() {
    systemd-analyze verify mailguard.service mailguard.socket 2>/var/tmp/verify || stop "$(cat /var/tmp/verify)"
    ! grep mailguard /var/tmp/verify || stop "systemd-analyze verify has remarks"
    ok "systemd-analyze verify has no remark"
    ok "$(systemd-analyze security --no-pager mailguard.service | tail -n 1)"
}

serves() {
    configure
    python3 "$folder/backend.py" "$mails" &
    mailguard check >/dev/null || stop "$(mailguard check 2>&1)"
    systemctl enable --now mailguard.service 2>/dev/null || stop "it does not start"
    eventually deliver 127.0.0.1 || stop "no mail passes: $(deliver 127.0.0.1 2>&1 | tail -n 1)"
    grep -q '^Subject: packaged' "$mails" || stop "the backend has no mail"
    eventually deliver ::1 || stop "no mail passes over IPv6"
    ls /var/lib/mailguard/journal/* >/dev/null || stop "no journal"
    mailguard search --since 1h --json | grep -q a@client.example || stop "the journal does not have the message"
    ok "READY, mail passes over IPv4 and IPv6, and is journalled"
}

confined() {
    [ "$(status_of NoNewPrivs)" = 1 ] || stop "new privileges are possible"
    [ "$(status_of Seccomp)" = 2 ] || stop "no filter of system calls"
    [ "$(status_of CapEff)" = 0000000000000400 ] || stop "capabilities: $(status_of CapEff)"
    [ "$(status_of CapBnd)" = 0000000000000400 ] || stop "bounding set: $(status_of CapBnd)"
    main=$(property MainPID)
    [ "$(stat -c %U "/proc/$main")" = mailguard ] || stop "it runs as $(stat -c %U "/proc/$main")"
    [ "$(sed -n 's/^Max open files *\([0-9]*\).*/\1/p' "/proc/$main/limits")" = 16384 ] || stop "descriptors"
    for path in /etc/mailguard/x /usr/lib/mailguard/x /var/x; do
        ! nsenter -t "$main" -m touch "$path" 2>/dev/null || stop "$path can be written in its view"
    done
    nsenter -t "$main" -m touch /var/lib/mailguard/x /run/mailguard/x || stop "its own folders cannot be written"
    ! said 'Operation not permitted' || stop "something is refused to it"
    ok "runs as mailguard with CAP_NET_BIND_SERVICE, a filter of system calls, and a file system to be read"
}

reloads() {
    systemctl reload mailguard.service || stop "reload fails"
    printf 'nonsense: 1\n' >>/etc/mailguard/policy.yaml
    ! systemctl reload mailguard.service 2>/dev/null || stop "a broken policy is taken"
    deliver 127.0.0.1 || stop "mail stands still after a reload that was refused"
    sed -i '$d' /etc/mailguard/policy.yaml
    before=$(property MainPID)
    sed -i 's/^hostname: .*/hostname: mx2.example.com/' "$settings"
    systemctl reload mailguard.service || stop "new settings are not taken"
    [ "$before" = "$(property MainPID)" ] || stop "a reload restarts it"
    python3 -c 'import smtplib; assert b"mx2" in smtplib.SMTP("127.0.0.1", 25).ehlo()[1]' || stop "old settings"
    ok "reload: policy, a broken policy (refused, mail goes on), settings (second generation)"
}

watched() {
    mkdir -p /run/systemd/system/mailguard.service.d
    printf '[Service]\nWatchdogSec=3\nRestartSec=0.2\n' >/run/systemd/system/mailguard.service.d/soon.conf
    systemctl daemon-reload
    systemctl restart mailguard.service
    sleep 7
    [ "$(property NRestarts)" = 0 ] || stop "the watchdog bites a service that is well"
    before=$(property MainPID)
    kill -STOP "$before"
    changed() { [ "$(property MainPID)" != "$before" ] && systemctl is-active --quiet mailguard.service; }
    eventually changed || stop "a supervisor that hangs is not replaced"
    eventually deliver 127.0.0.1 || stop "no mail after that"
    rm -r /run/systemd/system/mailguard.service.d
    systemctl daemon-reload
    systemctl restart mailguard.service
    ok "watchdog: quiet for 7 s of 3, and a supervisor that hangs is replaced"
}

upgrades() {
    before=$(property MainPID)
    cp "$settings" /var/tmp/settings
    sed -i 's/^relay_domains:.*/relay_domains: nonsense!/' "$settings"
    dpkg_i "$folder/next.deb"
    grep -q 'WARNING: this version does not take' /var/tmp/dpkg.log || stop "an upgrade does not tell of a wrong configuration"
    [ "$before" = "$(property MainPID)" ] || stop "it was restarted with a configuration that it does not take"
    deliver 127.0.0.1 || stop "no mail after that upgrade"
    ok "an upgrade with a wrong configuration ends well, warns, and the old service goes on"
    cp /var/tmp/settings "$settings"
    dpkg_i "$folder/now.deb"
    ! grep -q WARNING /var/tmp/dpkg.log || stop "$(cat /var/tmp/dpkg.log)"
    [ "$before" != "$(property MainPID)" ] || stop "an upgrade does not restart it"
    eventually deliver 127.0.0.1 || stop "no mail after the upgrade"
    cmp -s /var/tmp/settings "$settings" || stop "the upgrade changed the settings"
    ok "an upgrade restarts it; what was changed in /etc/mailguard stays"
}

# A key that only the unit can tell of: `mailguard check` without its environment would not take these settings.
upgrades_with_a_credential() {
    overlay=/etc/systemd/system/mailguard.service.d
    mkdir -p "$overlay"
    (umask 077 && printf '%064d\n' 25 >/root/pseudonym.key)
    printf '%s\n' '[Service]' 'LoadCredential=pseudonym.key:/root/pseudonym.key' \
        'Environment=MAILGUARD_JOURNAL_PSEUDONYM_KEY_FILE=%d/pseudonym.key' >"$overlay/credential.conf"
    sed -i 's/^journal:/&\n  pseudonymise: [client]/' "$settings"
    ! runuser -u mailguard -- mailguard check >/dev/null 2>&1 || stop "these settings need no key"
    systemctl daemon-reload
    systemctl restart mailguard.service || stop "it does not start with a key from a credential"
    before=$(property MainPID)
    dpkg_i "$folder/next.deb"
    ! grep -q WARNING /var/tmp/dpkg.log || stop "$(cat /var/tmp/dpkg.log)"
    [ "$before" != "$(property MainPID)" ] || stop "an upgrade with a credential does not restart it"
    rm -r "$overlay"
    cp /var/tmp/settings "$settings"
    systemctl daemon-reload
    dpkg_i "$folder/now.deb"
    eventually deliver 127.0.0.1 || stop "no mail after the upgrade with a credential"
    ok "an upgrade of a service whose key comes by LoadCredential= restarts it"
}

socket_held() {
    systemctl disable --now mailguard.service 2>/dev/null
    systemctl enable --now mailguard.socket 2>/dev/null || stop "the socket unit does not start"
    deliver 127.0.0.1 || stop "a client does not start the service"
    (systemctl restart mailguard.service) &
    deliver ::1 || stop "a client is refused while it restarts"
    wait $!
    systemctl disable --now mailguard.socket mailguard.service 2>/dev/null
    ok "socket activation: a client starts it, and waits while it restarts"
}

# puppet_run ARGUMENT...: its status is Puppet's with --detailed-exitcodes: 0 as it was, 2 changed, 4 or 6 failed.
puppet_run() {
    status=0
    puppet apply --modulepath "$folder/puppet" --detailed-exitcodes --color=false "$@" "$folder/site.pp" \
        >/var/tmp/puppet.log 2>&1 || status=$?
    echo "$status"
}

puppet_owns() {
    command -v puppet >/dev/null || { ok "no puppet here: not tried" && return 0; }
    printf 'left over\n' >/etc/mailguard/lists/left-over
    before=$(sha256sum "$settings")
    [ "$(puppet_run --noop)" = 0 ] || stop "puppet --noop: $(cat /var/tmp/puppet.log)"
    [ "$before" = "$(sha256sum "$settings")" ] || stop "--noop writes"
    [ "$(puppet_run)" = 2 ] || stop "puppet: $(cat /var/tmp/puppet.log)"
    [ ! -e /etc/mailguard/lists/left-over ] || stop "a list that nobody named stays"
    eventually deliver 127.0.0.1 || stop "no mail by Puppet's configuration"
    [ "$(puppet_run)" = 0 ] || stop "a second run changes something: $(cat /var/tmp/puppet.log)"
    main=$(property MainPID)
    sed -i 's/mx.example.com/mx3.example.com/' "$folder/site.pp"
    [ "$(puppet_run)" = 2 ] || stop "puppet: $(cat /var/tmp/puppet.log)"
    [ "$main" = "$(property MainPID)" ] || stop "Puppet restarts it"
    python3 -c 'import smtplib; assert b"mx3" in smtplib.SMTP("127.0.0.1", 25).ehlo()[1]' || stop "Puppet does not reload it"
    sed -i "s/'example.com'/'exa mple'/" "$folder/site.pp"
    case $(puppet_run) in 4 | 6) ;; *) stop "Puppet does not tell of a wrong setting" ;; esac
    deliver 127.0.0.1 || stop "no mail after a wrong setting"
    ok "puppet: --noop, applied, idempotent, reloads, tells of a wrong setting while mail goes on"
}

removed() {
    dpkg --remove mailguard >/var/tmp/dpkg.log 2>&1 || stop "$(cat /var/tmp/dpkg.log)"
    [ "$(systemctl is-active mailguard.service)" != active ] || stop "it runs without a package"
    [ ! -e /usr/lib/mailguard ] || stop "left: $(find /usr/lib/mailguard | head)"
    [ -e "$settings" ] && [ -d /var/lib/mailguard/journal ] || stop "settings or journal are gone without a purge"
    dpkg --purge mailguard >/var/tmp/dpkg.log 2>&1 || stop "$(cat /var/tmp/dpkg.log)"
    grep -q 'removing the journal' /var/tmp/dpkg.log || stop "a purge does not tell of the journal"
    [ ! -e /var/lib/mailguard ] || stop "a purge leaves /var/lib/mailguard"
    ok "removed: settings and journal stay; purged: they are gone, and it was said"
}

unconfigured
serves
units
confined
reloads
watched
upgrades
upgrades_with_a_credential
socket_held
puppet_owns
removed
ok "all as it must be"
