#!/usr/bin/env bash
# A Python environment under target/venv with the judges' pinned packages.
. scripts/lib.sh
requirements=tests/judges/requirements.txt
wanted=$(sha256sum <"$requirements")
if [ -x "$JUDGES" ] && [ "$(cat "$VENV/.ready" 2>/dev/null)" = "$wanted" ]; then
    echo "up to date"
    exit 0
fi
have python3 || skip "Python 3 is not installed: no judge of the scrape, of OTLP, no real Prometheus"
rm -rf "$VENV"
python3 -m venv "$VENV" || skip "python3 -m venv does not work (on Debian: the package python3-venv)"
"$VENV/bin/pip" install --disable-pip-version-check -r "$requirements" ||
    skip "pip could not install $requirements"
echo "$wanted" >"$VENV/.ready"
