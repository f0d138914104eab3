#!/usr/bin/env bash
# Half a minute of the soak: memory and file descriptors stay flat, and no count is lost, whatever the machine is busy with.
. scripts/lib.sh
[ -d /proc/self/fd ] || skip "the soak looks at /proc, which this system has not"
cargo bench --bench soak --locked -- --seconds 20
