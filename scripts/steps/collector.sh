#!/usr/bin/env bash
# The Collector accepts its configuration, takes every signal over both transports and writes it down as it came.
. scripts/lib.sh
need_venv
have otelcol || skip "no Collector (see the step collector_build)"
"$JUDGES" tests/judges/real_collector.py "$(scratch collector)" collector/test.yaml
