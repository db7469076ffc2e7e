#!/bin/sh
# Usage: seed.sh FOLDER FILE        (needs xorriso)
#
# Makes FILE, the seed that a guest reads at its first boot (cloud-init, NoCloud): a small volume labelled cidata with
# meta-data, user-data and network-config of FOLDER. It holds settings, and whatever secrets are among them: it is made
# with mode 0600. A new instance-id in meta-data has the guest read all of it again at its next boot.
# A FILE that is there is replaced once the new one is whole.
# Exit status: 0, 64 a wrong command line, 66 FOLDER lacks a file, 69 xorriso is missing, or that of xorriso.

set -eu

stop() {
    echo "seed.sh: $2" >&2
    exit "$1"
}

[ $# -eq 2 ] || stop 64 "usage: seed.sh FOLDER FILE"
case $1 in /*) folder=$1 ;; *) folder=./$1 ;; esac
case $2 in /*) made=$2 ;; *) made=./$2 ;; esac

for name in meta-data user-data network-config; do
    [ -f "$folder/$name" ] || stop 66 "$folder has no $name"
done
head -n 1 "$folder/user-data" | grep -qx '#cloud-config' || stop 66 "the first line of user-data must be #cloud-config"
[ ! -d "$made" ] || stop 64 "$made is a folder"
command -v xorriso >/dev/null || stop 69 "wants xorriso: apt-get install xorriso"
umask 077
trap 'rm -f "$made.new"' EXIT
rm -f "$made.new"
xorriso -as mkisofs -quiet -output "$made.new" -volid cidata -joliet -rational-rock \
    "$folder/meta-data" "$folder/user-data" "$folder/network-config"
mv "$made.new" "$made"
