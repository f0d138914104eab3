#!/usr/bin/env bash
# Postgres and Redis for the tests of the health checks, which start and stop their own.
. scripts/lib.sh
need_tools redis-server initdb postgres
redis-server --version
postgres --version
