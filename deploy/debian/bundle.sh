#!/bin/sh
# Usage: bundle.sh fetch PYTHON FOLDER            (in the source tree)
#        bundle.sh install PYTHON FOLDER HOME
#
# fetch    FOLDER/wheels gets every package of requirements.lock, each checked by its hash, and mailguard itself. What is
#          built is built with what deploy/setup/build.lock holds. Needs a package index and Debian's python3-venv; where
#          FOLDER is already that of the present lock files, neither.
# install  HOME becomes an environment for PYTHON with mailguard and what it needs at run time, taken from these wheels and
#          from nowhere else. It runs as /usr/lib/mailguard, which the last part of HOME's path must be, and holds no other
#          path: pip is asked for by nobody, activate is for people who develop.
# Exit status: 0, or that of what failed.

set -eu

umask 022
where=/usr/lib/mailguard
python=$2
folder=$3
tools=$folder/tools/bin/python

pip() { "$tools" -m pip --disable-pip-version-check --quiet "$@"; }

fetch() {
    wanted=$(cat requirements.lock deploy/setup/build.lock | sha256sum)
    if [ "$(cat "$folder/stamp" 2>/dev/null)" != "$wanted" ]; then
        rm -rf "$folder"
        "$python" -m venv "$folder/tools"
        pip install --require-hashes --only-binary :all: -r deploy/setup/build.lock
        pip wheel --require-hashes --no-build-isolation --wheel-dir "$folder/wheels" -r requirements.lock
        printf '%s\n' "$wanted" >"$folder/stamp"
    fi
    rm -f "$folder"/wheels/mailguard-*
    pip wheel --no-deps --no-build-isolation --wheel-dir "$folder/wheels" .
}

# Isolated: neither an index nor a folder that this machine's pip knows is looked into.
install() {
    home=$1
    case $home in *"$where") ;; *) echo "bundle.sh: $home does not end in $where" >&2 && exit 64 ;; esac
    "$python" -m venv --without-pip "$home"
    pip --isolated --python "$home/bin/python3" install --no-compile --no-index --find-links "$folder/wheels" mailguard
    relocate "$home"
}

# Nothing tells where it was built, and of what is installed only mailguard is a command.
relocate() {
    printf '%s\n' 'home = /usr/bin' 'include-system-site-packages = false' "version = $("$python" -c \
        'import platform; print(platform.python_version())')" >"$1/pyvenv.cfg"
    find "$1/bin" -type f ! -name mailguard -delete
    printf '%s\n' "#!$where/bin/python3 -I" 'import sys' 'from mailguard.__main__ import main' 'sys.exit(main())' \
        >"$1/bin/mailguard"
    rm -rf "$1/lib64" "$1/include" "$1/share"
    find "$1" -name .gitignore -delete
    find "$1" -name __pycache__ -prune -exec rm -rf {} +
    find "$1" -name RECORD -path '*.dist-info/*' -exec sed -i '/^\.\.\/\.\.\/\.\.\//d' {} +
}

command=$1
shift 3
"$command" "$@"
