#!/bin/sh
# Usage: install.sh FOLDER
#
# Puts Haraka into FOLDER, at the versions of haraka/package-lock.json, for `make bench` alone. Nothing of the machine is
# changed but that Debian's nodejs and npm are installed where there is no node; no script of a package runs. Does nothing
# where FOLDER has these versions already. Where Haraka cannot be had, the measurement does without it, and says so.
# Exit status: 0 always; what went wrong is on standard error.

set -eu

here=$(cd "$(dirname "$0")" && pwd)
setup=$here/../../../deploy/setup
folder=$1
lowest=20 # node, as Haraka 3.3 wants it (its package.json, engines)

without() {
    printf 'bench: %s: Haraka is left out\n' "$1" >&2
    exit 0
}

! cmp -s "$here/haraka/package-lock.json" "$folder/package-lock.json" || [ ! -d "$folder/node_modules/Haraka" ] || exit 0

command -v npm >/dev/null || sh "$setup/packages.sh" nodejs npm || without "there is no node"
major=$(node -p 'process.versions.node.split(".")[0]') || without "node does not run"
[ "$major" -ge "$lowest" ] || without "node is of version $major, and $lowest is the least"

printf 'Fetching Haraka into %s, for the measurement alone\n' "$folder" >&2
rm -rf "$folder"
mkdir -p "$folder"
cp "$here/haraka/package.json" "$here/haraka/package-lock.json" "$folder/"
if ! (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund) >&2; then
    rm -rf "$folder"
    without "npm cannot fetch it"
fi
