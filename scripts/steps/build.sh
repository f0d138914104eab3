#!/usr/bin/env bash
# Library, programs and examples.
. scripts/lib.sh
cargo build --lib --bins --examples --locked
