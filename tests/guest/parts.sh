#!/bin/sh
# Usage: parts.sh        (`make test-guest`, before the run goes where there is no network)
#
# Fetches what the hosts of the test are made of into build/guest-parts, unpacked and not installed: the newest kernel for
# virtual machines, the guest agent, LVM. Exit status: 0, or that of what failed.

set -eu
cd "$(dirname "$0")/../.."
parts=build/guest-parts
mkdir -p "$parts"
kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-.*\)$/\1/p')
sh deploy/setup/unpack.sh "$kernel" "$parts/kernel"
for package in qemu-guest-agent lvm2 libdevmapper-event1.02.1; do
    sh deploy/setup/unpack.sh "$package" "$parts/$package"
done
