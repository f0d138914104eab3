#!/usr/bin/env bash
# Every bench runs, each measurement once and unoptimized: what they measure, benches/report.sh says.
. scripts/lib.sh
benches/report.sh --test
