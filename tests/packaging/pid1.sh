#!/bin/sh
# Usage: pid1.sh ROOT        (as the first process of new pid, mount, net, uts, ipc and cgroup namespaces)
#
# Becomes systemd, with ROOT as its whole file system and a loopback interface as its network. Of this machine it sees six
# devices and no more. Controllers of cgroups stay with the machine: MemoryMax= and TasksMax= are read and not enforced.

set -eu
root=$1

mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
ip link set lo up
mkdir -p "$root/old"
cd "$root"
pivot_root . old
umount -l /old
# As systemd itself does on a machine and not in a container: what it mounts for a service (credentials) is to be seen by all.
mount --make-rshared /
exec env -i container=other PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /lib/systemd/systemd --system --show-status=no --log-target=journal
