#!/usr/bin/env bash
# Dashboards, Prometheus' settings and compose.yaml before the programs that read them: promtool, Grafana's own types,
# Compose's own loader, and a real Prometheus that scrapes the market replay and answers every panel's query. The table of
# panel, query and result is target/test-logs/dashboards-table.md. (That queries read only what the catalogue has is a
# Rust test.) What this machine lacks is left out with a line that says so; with CI=true that is a failure.
. scripts/lib.sh
readonly COMPOSE=v2.16.2
mapfile -t dashboards < <(find config/grafana/provisioning/dashboards -name '*.json' | sort)

left_out() {
    echo "left out: $*"
    ! in_ci || exit 1
}

settings() {
    local folder
    folder=$(scratch prometheus_settings)
    cp -r config/. "$folder"
    touch "$folder/token" # promtool looks whether it is there
    sed -i "s|/run/secrets/metrics_token|$folder/token|" "$folder/prometheus.yml"
    promtool check config "$folder/prometheus.yml"
}

types() {
    local folder=$TARGET/grafana_types version
    version=$(sha256sum <tests/stack/typecheck/package-lock.json)
    mkdir -p "$folder"
    if [ "$(cat "$folder/.ready" 2>/dev/null)" != "$version" ]; then
        cp tests/stack/typecheck/package*.json "$folder"
        (cd "$folder" && npm ci --ignore-scripts --no-audit --no-fund --silent) || { left_out "npm could not fetch Grafana's types"; return; }
        echo "$version" >"$folder/.ready"
    fi
    rm -rf "$folder/dashboards" && mkdir "$folder/dashboards"
    node tests/stack/typecheck/check.mjs "$folder/dashboards" "${dashboards[@]}"
    judge() {
        (cd "$folder" && node_modules/.bin/tsc --noEmit --strict --skipLibCheck --target es2022 --module nodenext dashboards/*.ts)
    }
    judge
    # And it finds a misspelt option.
    sed -i 's/"reduceOptions"/"reduceOption"/' "$folder/dashboards/risk-metrics.ts"
    if judge >"$folder/misspelt.log"; then
        echo "a misspelt option passes the type check"
        exit 1
    fi
    grep -q "reduceOption" "$folder/misspelt.log"
    echo "ok: every panel's options are Grafana's, and a misspelt one is found"
}

compose() {
    local folder=$TARGET/compose
    [ -x "$folder/compose-$COMPOSE" ] ||
        { GOBIN=$folder go install "github.com/compose-spec/compose-go/v2/cmd@$COMPOSE" && mv "$folder/cmd" "$folder/compose-$COMPOSE"; } ||
        { left_out "Compose's loader could not be built"; return; }
    "$folder/compose-$COMPOSE" -no-interpolation compose.yaml >"$folder/compose.log"
    echo "ok: Compose loads compose.yaml"
}

panels() {
    "$JUDGES" tests/stack/real_panels.py "$(scratch dashboards)" "$LOGS/dashboards-table.md" -- "$1" --pace-ms 100
}

namespaces() {
    local folder
    folder=$(scratch namespaces)
    unshare --user --map-root-user --net --mount "$JUDGES" tests/stack/two_namespaces.py "$folder" "$1"
}

need_venv
need_tools prometheus promtool redis-server redis_exporter initdb postgres postgres_exporter
export PYTHONPATH=tests/judges
settings
if have node && have npm; then types; else left_out "no Node: panel options are not checked against Grafana's types"; fi
if have go; then compose; else left_out "no Go: compose.yaml is not checked by Compose's loader"; fi
cargo build --example market_replay --locked
panels "$TARGET/debug/examples/market_replay"
if unshare --user --map-root-user --net --mount ip link add probe type veth 2>/dev/null && have nsenter; then
    namespaces "$TARGET/debug/examples/market_replay"
else
    left_out "network namespaces are not permitted: that a container reaches the host is not shown"
fi
