#!/bin/sh
# Usage: unpack.sh PACKAGE FOLDER
#
# Fetches a Debian package that cannot be installed beside others, and unpacks its files into FOLDER: nothing of the machine
# is changed, no script of the package runs. apt-get fetches, so what comes is what the machine's package archive signed. Does
# nothing where FOLDER holds the package already; what it depends on is not fetched (see packages.sh).
# Exit status: 0 it is there, 69 it cannot be had, with one message on standard error.

set -eu

package=$1
folder=$2

[ ! -d "$folder" ] || exit 0

stop() {
    printf 'mailguard: %s\n' "$1" >&2
    rm -rf "$folder.new"
    exit 69 # EX_UNAVAILABLE, sysexits.h
}

# Unsandboxed: as root apt would otherwise complain that its own user cannot write here.
fetch() {
    (cd "$folder.new" && apt-get -q -o APT::Sandbox::User=root download "$package") >&2
}

as_root=
[ "$(id -u)" -eq 0 ] || as_root=sudo
command -v apt-get >/dev/null || stop "$package is to be unpacked into $folder, and there is no apt-get"

rm -rf "$folder.new"
mkdir -p "$folder.new"
printf 'Fetching %s, unpacked into %s: it is not installed\n' "$package" "$folder" >&2
if ! fetch; then
    echo "Perhaps the package lists are old: fetching new ones and trying once more" >&2
    $as_root apt-get -q update </dev/null >&2 || stop "apt-get update failed"
    fetch || stop "apt-get cannot fetch $package, see above"
fi
dpkg-deb --extract "$folder.new/$package"_*.deb "$folder.new" || stop "dpkg-deb cannot unpack $package"
rm "$folder.new/$package"_*.deb
mv "$folder.new" "$folder"
