#!/usr/bin/env bash
# The Collector of collector/builder.yaml as target/collector/otelcol, built anew only when the manifest changes.
. scripts/lib.sh
readonly BUILDER=v0.159.0 # of the release that the manifest names
folder=$TARGET/collector
binary=$folder/otelcol-$(sha256sum <collector/builder.yaml | cut -c1-16)
mkdir -p "$folder"
if [ ! -x "$binary" ]; then
    have go || skip "Go is not installed: no OpenTelemetry Collector"
    manifest=$PWD/collector/builder.yaml
    [ -x "$folder/builder-$BUILDER" ] ||
        { GOBIN=$folder go install "go.opentelemetry.io/collector/cmd/builder@$BUILDER" &&
            mv "$folder/builder" "$folder/builder-$BUILDER"; }
    (cd "$folder" && rm -rf build && "./builder-$BUILDER" --config "$manifest")
    mv "$folder/build/otelcol" "$binary"
    rm -rf "$folder/build"
fi
ln -sfn "$(basename "$binary")" "$folder/otelcol"
"$folder/otelcol" --version
