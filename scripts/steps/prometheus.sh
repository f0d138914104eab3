#!/usr/bin/env bash
# A real Prometheus scrapes the running market replay; series and exemplars are queried back, promtool lints the scrape.
. scripts/lib.sh
need_venv
need_tools prometheus promtool
cargo build --example market_replay --locked
"$JUDGES" tests/judges/real_prometheus.py "$(scratch prometheus)" -- "$TARGET/debug/examples/market_replay" --pace-ms 20
