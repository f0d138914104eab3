#!/usr/bin/env bash
# Runs every test of this repository, or the steps that are named:
#
#     scripts/test.sh                 everything
#     scripts/test.sh clippy tests    these two
#
# It needs rustup. Python 3, Go and Debian's packages serve optional steps; what a machine lacks is skipped with a line
# that says so, and with CI=true that is a failure. Nothing is installed and nothing outside the target folder changes.
# Each step is scripts/steps/NAME.sh, its log target/test-logs/NAME.log.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
. scripts/lib.sh
export CARGO_TERM_COLOR=never

# In the order of their cost, each after those whose results it uses.
readonly ALL=(format venv judges package clippy docs build python_reference otlp prometheus rules dashboards deny collector_build collector servers benches tests instructions soak)
# Long, and in nobody's way: these start first, run beside the others, and are waited for at their place.
readonly BESIDE=" collector_build deny "

if [ $# -gt 0 ]; then steps=("$@"); else steps=("${ALL[@]}"); fi
rm -f "$LOGS"/*.status
for step in "${steps[@]}"; do
    [ -f "scripts/steps/$step.sh" ] || { echo "no step $step; there are: ${ALL[*]}" >&2; exit 2; }
done

run() { # STEP: leaves its log, and its exit status and seconds
    local status=0 start=$SECONDS
    bash "scripts/steps/$1.sh" >"$LOGS/$1.log" 2>&1 </dev/null || status=$?
    echo "$status $((SECONDS - start))" >"$LOGS/$1.status"
}

declare -A beside=()
stop_the_rest() {
    local pid
    for pid in "${beside[@]}"; do
        kill -- "-$pid" 2>/dev/null || true
    done
}
trap stop_the_rest EXIT
trap 'exit 130' INT TERM

for step in "${steps[@]}"; do
    if [[ $BESIDE == *" $step "* ]]; then
        # In a process group of its own, so that it can be stopped with all that it started.
        set -m
        (renice -n 10 -p $BASHPID >/dev/null 2>&1 || true; run "$step") &
        set +m
        beside[$step]=$!
    fi
done

passed=0 failed=() skipped=() number=0
for step in "${steps[@]}"; do
    number=$((number + 1))
    printf '[%2d/%d] %-18s' "$number" "${#steps[@]}" "$step"
    if [ -n "${beside[$step]:-}" ]; then
        wait "${beside[$step]}" || true
        unset "beside[$step]"
    else
        run "$step"
    fi
    read -r status seconds <"$LOGS/$step.status"
    case $status in
        0)
            passed=$((passed + 1))
            printf 'ok       %5d s\n' "$seconds"
            ;;
        "$SKIPPED")
            skipped+=("$step")
            printf 'skipped  %s\n' "$(sed -n 's/^skip: //p' "$LOGS/$step.log" | tail -n 1)"
            ;;
        *)
            failed+=("$step")
            printf 'FAILED   %5d s, see %s:\n' "$seconds" "${LOGS#"$PWD"/}/$step.log"
            # What failed among tests that go on after it, and then how it ended.
            { grep -E -A 4 "^test .* FAILED$|' \([0-9]+\) panicked at " "$LOGS/$step.log" | head -n 100 || true
                tail -n "$(in_ci && echo 100 || echo 40)" "$LOGS/$step.log"; } | sed 's/^/    /'
            ;;
    esac
done

# Every step counts as one, but the Rust tests one by one.
failures=${#failed[@]}
if [ -f "$LOGS/tests.status" ]; then
    echo
    grep -E '^ +(Running|Doc-tests) |^test result:' "$LOGS/tests.log" || true
    read -r tests_passed tests_failed < <(
        awk '/^test result:/ { passed += $4; failed += $6 } END { print passed + 0, failed + 0 }' "$LOGS/tests.log")
    if [[ " ${failed[*]} " != *" tests "* ]]; then
        passed=$((passed + tests_passed - 1))
    else
        passed=$((passed + tests_passed))
        # Without a failed test it is the build that failed, and counts as one.
        [ "$tests_failed" = 0 ] || failures=$((failures + tests_failed - 1))
    fi
fi
if in_ci; then
    failed+=("${skipped[@]}")
    failures=$((failures + ${#skipped[@]}))
fi

echo
[ ${#skipped[@]} = 0 ] || echo "skipped: ${skipped[*]}$(in_ci && echo ' (with CI=true that is a failure)')"
[ ${#failed[@]} = 0 ] || echo "failed: ${failed[*]}"
echo "$SECONDS seconds; advisories are not checked, they need the network's newest list: cargo deny check advisories"
echo "$passed passed, $failures failed"
[ ${#failed[@]} = 0 ]
