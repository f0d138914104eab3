#!/usr/bin/env bash
# The judges find what they are there to find.
. scripts/lib.sh
need_venv
"$JUDGES" -m unittest discover -s tests/judges
