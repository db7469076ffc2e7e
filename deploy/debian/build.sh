#!/bin/sh
# Usage: build.sh        (`make deb`; PYTHON is always Debian's own)
#
# Builds dist/mailguard_VERSION_ARCH.deb of what is committed: of HEAD's tree, in build/deb, as any user. The version is that
# of mailguard/__init__.py, which the newest entry of deploy/debian/changelog must be of. SOURCE_DATE_EPOCH is the changelog's.
# Exit status: 0, 65 the versions differ, or that of what failed.

set -eu
cd "$(dirname "$0")/../.."

stop() {
    echo "make deb: $1" >&2
    exit 65 # EX_DATAERR, sysexits.h
}

version=$(sed -n 's/^__version__ = "\(.*\)"$/\1/p' mailguard/__init__.py)
packaged=$(sed -n '1s/^mailguard (\(.*\)-[^-]*) .*/\1/p' deploy/debian/changelog)
[ "$version" = "$packaged" ] ||
    stop "mailguard is $version, deploy/debian/changelog says $packaged: write an entry for $version at its top"
[ -z "$(git status --porcelain --untracked-files=no)" ] ||
    echo "note: changes that are not committed are not in the package" >&2

tree=build/deb/mailguard-$version
rm -rf build/deb
mkdir -p "$tree" dist
git archive HEAD | tar -C "$tree" -xf -
mv "$tree/deploy/debian" "$tree/debian"
BUNDLE=$PWD/build/bundle
export BUNDLE
(cd "$tree" && dpkg-buildpackage --build=binary --no-sign) >build/deb/log 2>&1 || {
    tail -n 30 build/deb/log >&2
    stop "dpkg-buildpackage failed; all of it is in build/deb/log"
}
rm -f dist/mailguard_*.deb
mv build/deb/mailguard_*.deb dist/
ls -l dist/mailguard_*.deb
