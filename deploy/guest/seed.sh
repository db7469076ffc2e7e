#!/bin/sh
# Usage: seed.sh FOLDER FILE        (needs xorriso)
#
# Makes FILE, the seed that a guest reads at its first boot (cloud-init, NoCloud): a small volume labelled cidata with
# meta-data, user-data and network-config of FOLDER. It holds settings, and whatever secrets are among them: it is made
# with mode 0600. A new instance-id in meta-data has the guest read all of it again at its next boot.
# Exit status: 0, 66 FOLDER lacks a file, or that of xorriso.

set -eu
folder=$1
made=$2

for name in meta-data user-data network-config; do
    [ -f "$folder/$name" ] || { echo "seed.sh: $folder has no $name" >&2 && exit 66; }
done
grep -q '^#cloud-config$' "$folder/user-data" || { echo "seed.sh: user-data must begin with #cloud-config" >&2 && exit 66; }
umask 077
rm -f "$made"
xorriso -as mkisofs -quiet -output "$made" -volid cidata -joliet -rational-rock \
    "$folder/meta-data" "$folder/user-data" "$folder/network-config"
