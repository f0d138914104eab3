#!/usr/bin/env bash
# The Collector accepts its configurations, takes every signal over both transports and writes it down as it came; the
# orders that our own programs export are in its file with their whole story;
# agent and gateways keep all that they acknowledged while a gateway is away and the agent is killed.
. scripts/lib.sh
need_venv
have otelcol || skip "no Collector (see the step collector_build)"
export GOMAXPROCS=2
judge() { nice -n 10 "$JUDGES" "$@"; }
judge tests/judges/collector_configs.py collector
judge tests/judges/real_collector.py "$(scratch collector)" collector/test.yaml
cargo build --example gateway --example executor --locked
judge tests/judges/real_collector_export.py "$(scratch collector-export)" collector/test.yaml "$TARGET/debug/examples"
judge tests/judges/real_collector_gateway.py "$(scratch collector-gateway)" collector
judge tests/judges/real_collector_pipeline.py "$(scratch collector-pipeline)" collector
rm -rf "$TARGET"/test-scratch/collector{,-export,-gateway,-pipeline} # they stay when a judge fails
