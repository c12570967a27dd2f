#!/usr/bin/env bash
# Prepares this checkout: `tools/setup.sh run` for the program, `... test` for its tests as well.
#
# Needs Debian with Python 3.11+ and apt; root or sudo only where a package is missing. Does nothing
# when the stamp of an earlier run is newer than what it was made from. Installs exactly what the
# lock file names, by hash.
set -euo pipefail
cd "$(dirname "$0")/.."
readonly purpose="${1:?run or test}" python="${PYTHON:-python3}" venv=.venv
case "$purpose" in
    run)  readonly lock=requirements.lock ;;
    test) readonly lock=requirements-dev.lock ;;
    *)    echo "setup: unknown purpose '$purpose' (run or test)" >&2; exit 2 ;;
esac

say() { echo "setup: $*" >&2; }

as_root() {
    if [ "$(id -u)" = 0 ]; then env DEBIAN_FRONTEND=noninteractive "$@"
    elif command -v sudo >/dev/null; then sudo env DEBIAN_FRONTEND=noninteractive "$@"
    else say "this needs root or sudo: $*"; exit 1
    fi
}

apt_install() {
    say "installing from apt: $*"
    local -r options=(-qq -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=300 --no-install-recommends)
    as_root apt-get install "${options[@]}" "$@" >/dev/null 2>&1 && return
    as_root apt-get update -qq
    as_root apt-get install "${options[@]}" "$@" >/dev/null
}

# A server package creates and starts a cluster called "main"; the tests want the programs only.
install_postgresql() {
    local -r drop_in=/etc/postgresql-common/createcluster.d/strongroom-tests.conf
    command -v pg_createcluster >/dev/null || apt_install postgresql-common
    as_root mkdir -p "$(dirname "$drop_in")"
    echo "create_main_cluster = false" | as_root tee "$drop_in" >/dev/null
    apt_install postgresql-15
    as_root rm -f "$drop_in"
}

# The tests start their own servers on loopback; none is to listen because of them.
install_unstarted() {
    local -r policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ]; then apt_install "$@"; return; fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    apt_install "$@"
    as_root rm -f "$policy"
}

# Nor is it to listen after the next start of this machine.
install_prometheus() {
    install_unstarted prometheus
    as_root systemctl disable --quiet prometheus.service 2>/dev/null || true
}

# The demonstration's application runs in a drill.
has_php() {
    command -v php >/dev/null && php -m | grep -x pdo_pgsql >/dev/null
}

install_programs() {
    local missing=()
    command -v git >/dev/null || missing+=(git)
    if [ "$purpose" = test ]; then
        command -v restic >/dev/null || missing+=(restic)
        command -v age >/dev/null || missing+=(age) # opens recovery kits
        command -v pdftoppm >/dev/null || missing+=(poppler-utils) # shows their pages
        command -v ssh-keygen >/dev/null || missing+=(openssh-client)
        command -v ip >/dev/null || missing+=(iproute2)
    fi
    [ "${#missing[@]}" = 0 ] || apt_install "${missing[@]}"
    [ "$purpose" = test ] || return 0
    [ -x /usr/lib/postgresql/15/bin/postgres ] || install_postgresql
    [ -x /usr/sbin/sshd ] || install_unstarted openssh-server
    command -v promtool >/dev/null || install_prometheus
    command -v systemd-analyze >/dev/null || apt_install systemd # to look at units
    has_php || apt_install php-cli php-pgsql
}

require_python() {
    "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || {
        say "$python is not Python 3.11 to 3.14; name one with PYTHON=..."; exit 1
    }
}

make_venv() {
    # The copy of an interpreter that has since moved or been upgraded does not start.
    if [ -x "$venv/bin/python" ] && "$venv/bin/python" -c 'import pip' 2>/dev/null; then return; fi
    say "making $venv"
    rm -rf "$venv"
    "$python" -c 'import ensurepip' 2>/dev/null || apt_install python3-venv
    "$python" -m venv "$venv"
}

install_packages() {
    local -r pip=("$venv/bin/python" -m pip --disable-pip-version-check --no-input install --quiet)
    say "installing what $lock names into $venv (a minute or two)"
    "${pip[@]}" --require-hashes --only-binary :all: -r "$lock"
    "${pip[@]}" --no-deps --no-build-isolation --editable .
}

# Servers of versions that no Debian has. Without them the tests of these versions fail; that is
# told, and keeps nobody from running the others.
fetch_older_servers() {
    [ "$purpose" = test ] || return 0
    "$venv/bin/python" -m tools.older_postgresql "$venv/postgresql" || true
}

current() {
    local -r stamp="$venv/.ready-$1"
    [ -e "$stamp" ] && [ "$(cat "$stamp")" = "$(fingerprint "$1")" ] && [ -x "$venv/bin/python" ]
}

fingerprint() {
    local file=requirements.lock
    [ "$1" = run ] || file=requirements-dev.lock
    cat "$file" pyproject.toml tools/setup.sh | sha256sum
    pwd
}

main() {
    require_python
    exec 9<tools/setup.sh # two set-ups at once would spoil each other
    flock 9
    # The tests' set-up holds everything that the program's does.
    if current test || { [ "$purpose" = run ] && current run; }; then
        install_programs
        fetch_older_servers
        return
    fi
    install_programs
    make_venv
    install_packages
    fetch_older_servers
    fingerprint "$purpose" >"$venv/.ready-$purpose"
    say "ready"
}
main
