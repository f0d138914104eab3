#!/usr/bin/env bash
# No hot call takes 10 % more instructions than the baseline in benches/ says; the table is in this step's log.
. scripts/lib.sh
have valgrind || skip "valgrind is not installed (apt-get install valgrind): nobody counts the hot calls' instructions"
cargo bench --bench instructions --locked
