#!/usr/bin/env bash
# Postgres and Redis for the tests of the health checks, which start and stop their own, and Prometheus to watch both ports.
. scripts/lib.sh
need_tools redis-server initdb postgres prometheus
redis-server --version
postgres --version
prometheus --version
