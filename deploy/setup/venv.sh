#!/bin/sh
# Usage: venv.sh PYTHON
#
# Makes .venv with exactly the packages of requirements.lock, each checked by its hash, and mailguard itself from this
# source tree. Does nothing where .venv is already that of the present lock files. Needs Debian's python3-venv.
# Exit status: 0, or that of what failed.

set -eu
cd "$(dirname "$0")/../.."

python=$1
stamp=.venv/mailguard-lock.sha256
wanted=$(cat requirements.lock deploy/setup/build.lock | sha256sum)

[ "$(cat $stamp 2>/dev/null || true)" = "$wanted" ] && exit 0

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
    echo "mailguard: $python is older than Python 3.11; name another: make PYTHON=/path/to/python3.11" >&2
    exit 69
}

echo "Making .venv from requirements.lock" >&2
rm -rf .venv
"$python" -m venv .venv
pip() { .venv/bin/python -m pip --disable-pip-version-check --quiet --quiet "$@" >&2; }

# First what builds, then what is built with it: nothing is fetched that has no hash in a lock file.
pip install --require-hashes --only-binary :all: -r deploy/setup/build.lock
pip install --require-hashes --no-build-isolation -r requirements.lock
pip install --no-deps --no-build-isolation --editable .
.venv/bin/python -m pip check >&2 || {
    echo "mailguard: requirements.lock does not satisfy pyproject.toml: run \`make lock\`" >&2
    exit 78
}
printf '%s\n' "$wanted" >$stamp
