#!/bin/sh
# Usage: libvirtd.sh DOMAIN        (as root)
#
# A libvirtd of its own, in namespaces, with none of this machine's guests or networks: defines the domain, and prints the
# QEMU command that it would start for it. Nothing is started. Exit status: 0, or that of what failed.

set -eu

if [ -z "${LIBVIRTD_NAMESPACE-}" ]; then
    LIBVIRTD_NAMESPACE=1 exec unshare --mount --pid --net --fork --kill-child=KILL --propagation private --mount-proc \
        sh "$0" "$@"
fi

mount -t tmpfs run /run
mount -t tmpfs lib /var/lib/libvirt
mkdir -p /run/libvirt /run/lock /run/settings /var/lib/libvirt/qemu /var/lib/libvirt/images
cp -r /etc/libvirt/. /run/settings/
mount --bind /run/settings /etc/libvirt
rm -rf /etc/libvirt/qemu/autostart /etc/libvirt/qemu/networks /etc/libvirt/qemu/*.xml
cat >/etc/libvirt/qemu.conf <<'END'
user = "root"
group = "root"
security_driver = "none"
namespaces = [ ]
cgroup_controllers = [ ]
END
ip link set lo up
virtlogd -d
libvirtd -d
tries=0
until virsh -q -c qemu:///system version >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 150 ] || { echo "libvirtd.sh: libvirtd does not answer" >&2 && exit 1; }
    sleep 0.2
done
virsh -q -c qemu:///system version --daemon | grep -E 'daemon|hypervisor'
virsh -q -c qemu:///system define --validate "$1"
virsh -q -c qemu:///system domxml-to-native qemu-argv --domain mailguard
