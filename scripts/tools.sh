#!/usr/bin/env bash
# Makes real programs available to the tests, without root and without touching the machine:
#
#     scripts/tools.sh prometheus promtool
#
# A program on the PATH is left as it is. Otherwise, on Debian, its package and the packages that it misses are
# downloaded and unpacked (not installed: no service starts, no file outside the target folder changes), and a
# wrapper is put into target/tools/bin. apt's own state stays under target/tools too.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh

# program, Debian package, path in that package
readonly TABLE="
prometheus        prometheus                   usr/bin/prometheus
promtool          prometheus                   usr/bin/promtool
alertmanager      prometheus-alertmanager      usr/bin/prometheus-alertmanager
amtool            prometheus-alertmanager      usr/bin/amtool
redis-server      redis-server                 usr/bin/redis-server
redis-cli         redis-tools                  usr/bin/redis-cli
initdb            postgresql                   usr/lib/postgresql/*/bin/initdb
postgres          postgresql                   usr/lib/postgresql/*/bin/postgres
pg_ctl            postgresql                   usr/lib/postgresql/*/bin/pg_ctl
psql              postgresql                   usr/lib/postgresql/*/bin/psql
redis_exporter    prometheus-redis-exporter    usr/bin/prometheus-redis-exporter
postgres_exporter prometheus-postgres-exporter usr/bin/prometheus-postgres-exporter
"

apt_get() {
    apt-get -q -o Dir::State::lists="$TOOLS/apt/lists" -o Dir::Cache="$TOOLS/apt" -o Dir::Cache::archives="$TOOLS/apt/archives" \
        -o Debug::NoLocking=true -o APT::Sandbox::User= "$@"
}

fetch() { # PACKAGE
    mkdir -p "$TOOLS/apt/lists/partial" "$TOOLS/apt/archives/partial" "$TOOLS/root" "$TOOLS/packages"
    # Debian's mirrors drop superseded versions, so yesterday's list may name files that are gone.
    if [ -z "$(find "$TOOLS/apt/updated" -mmin -1440 2>/dev/null)" ]; then
        apt_get update || return
        touch "$TOOLS/apt/updated"
    fi
    # What an installation would add to this machine, less the pages of web interfaces.
    local missing name
    missing=$(apt_get install --simulate --no-install-recommends "$1" |
        awk '$1 == "Inst" && $2 !~ /^(libjs|fonts)-/ { print $2 }') || return
    for name in $missing; do
        [ ! -e "$TOOLS/packages/$name" ] || continue
        (cd "$TOOLS/packages" && rm -f "$name"_*.deb && apt_get download "$name" &&
            dpkg -x "$name"_*.deb "$TOOLS/root") || return
        rm -f "$TOOLS/packages/$name"_*.deb
        touch "$TOOLS/packages/$name"
    done
}

# Debian's Alertmanager does not start without the templates of its package at their absolute path. A copy looks for
# them in its working folder, so it takes absolute paths alone.
relocate() { # FILE FOLDER COPY
    local here
    here=$(printf '%*s' ${#2} '' | sed 's|  |./|g; s| |/|')
    LC_ALL=C sed "s|$2|$here|g" "$1" >"$3" && chmod +x "$3"
}

wrap() { # PROGRAM FILE [FOLDER]
    mkdir -p "$TOOLS/bin"
    local libraries
    libraries=$(find "$TOOLS/root" -maxdepth 3 -type d -path '*/lib/*-linux-gnu' -printf '%p:')
    # shellcheck disable=SC2016 # expands when the wrapper runs
    {
        printf '#!/bin/sh\n'
        [ -z "${3:-}" ] || printf 'cd %q || exit\n' "$3"
        printf 'LD_LIBRARY_PATH=%q${LD_LIBRARY_PATH:-} exec %q "$@"\n' "$libraries" "$2"
    } >"$TOOLS/bin/$1.new"
    chmod +x "$TOOLS/bin/$1.new"
    mv "$TOOLS/bin/$1.new" "$TOOLS/bin/$1"
}

provide() { # PROGRAM
    have "$1" && return
    local package path file
    read -r package path < <(awk -v program="$1" '$1 == program { print $2, $3 }' <<<"$TABLE") ||
        { echo "$1 is not in the table of scripts/tools.sh"; return 1; }
    # Installed, but not on the PATH under this name.
    file=$(compgen -G "/$path" | sort -V | tail -n 1) || true
    if [ -z "$file" ]; then
        if ! have apt-get || ! have dpkg; then
            echo "$1 is not on the PATH, and only on Debian can it be fetched"
            return 1
        fi
        fetch "$package" || { echo "$1: fetching Debian's package $package failed"; return 1; }
        file=$(compgen -G "$TOOLS/root/$path" | sort -V | tail -n 1) ||
            { echo "$1 is not in Debian's package $package"; return 1; }
        if [ "$1" = alertmanager ]; then
            local templates=/usr/share/prometheus/alertmanager
            relocate "$file" "$templates" "$file.relocated"
            wrap "$1" "$file.relocated" "$TOOLS/root$templates"
            return
        fi
    fi
    wrap "$1" "$file"
}

mkdir -p "$TOOLS"
exec 9>"$TOOLS/.lock"
flock 9
for program in "$@"; do
    provide "$program"
done
