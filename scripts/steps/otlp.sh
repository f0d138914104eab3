#!/usr/bin/env bash
# What our own programs export, over gRPC and over HTTP: a receiver that shares no code with the exporter finds exact
# values, and misbehaves. The step collector has a real Collector take the same.
. scripts/lib.sh
need_venv
cargo build --example gateway --example executor --locked
"$JUDGES" tests/judges/real_export.py "$(scratch otlp)" "$TARGET/debug/examples"
rm -rf "$TARGET"/test-scratch/otlp # it stays when the judge fails
