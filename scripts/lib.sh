# shellcheck shell=bash
# What the steps share. Sourced from the repository's root by scripts/test.sh and by each step.
#
# A step is a script scripts/steps/NAME.sh. It ends with 0 when it passed, with $SKIPPED after `skip REASON`
# when this machine lacks something, and with anything else when it failed. Its output is its log.

set -euo pipefail

TARGET=$(realpath -m "${CARGO_TARGET_DIR:-target}")
export CARGO_TARGET_DIR=$TARGET
export LOGS=$TARGET/test-logs
export TOOLS=$TARGET/tools
export VENV=$TARGET/venv
readonly SKIPPED=77
mkdir -p "$LOGS"

# Tests find every real program by its name: what the machine has comes first, then what the steps fetched.
# The interpreter with the judges' packages is $JUDGES.
export PATH="$PATH:$TOOLS/bin:$TARGET/collector"
export JUDGES=$VENV/bin/python

in_ci() { [ "${CI:-}" = true ]; }

have() { command -v "$1" >/dev/null 2>&1; }

skip() {
    echo "skip: $*"
    exit "$SKIPPED"
}

# A folder of this run alone, emptied first: scratch NAME
scratch() {
    rm -rf "${TARGET:?}/test-scratch/$1"
    mkdir -p "$TARGET/test-scratch/$1"
    echo "$TARGET/test-scratch/$1"
}

# The step needs the judges' Python environment.
need_venv() {
    [ -e "$VENV/.ready" ] || skip "no Python environment (see the step venv)"
}

# The step needs these programs, from the PATH or fetched from Debian.
need_tools() {
    local reason
    reason=$(bash scripts/tools.sh "$@" 2>&1 | tee /dev/stderr | tail -n 1; exit "${PIPESTATUS[0]}") || skip "$reason"
}
