"""Lets the Collector check its configuration, sends it every signal over both transports, and reads its file.

    real_collector.py SCRATCH CONFIG

otelcol is found on the PATH. It is stopped with SIGTERM before its file is read, since the file exporter buffers.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from otlp_client import SEND, request
from otlp_receiver import SIGNALS, otlp_json
from programs import free_port, get, running, until


def without_empty(value):
    """The Collector writes an absent scope or status as {}."""
    if isinstance(value, dict):
        return {key: without_empty(item) for key, item in value.items() if item != {}}
    return [without_empty(item) for item in value] if isinstance(value, list) else value


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, config = (Path(argument).resolve() for argument in sys.argv[1:])
    out = folder / "out.jsonl"
    ports = {"grpc": free_port(), "http": free_port()}
    health = free_port()
    environment = {"OTLP_GRPC_PORT": str(ports["grpc"]), "OTLP_HTTP_PORT": str(ports["http"]),
                   "HEALTH_PORT": str(health), "OTLP_OUT": str(out)}
    subprocess.run(["otelcol", "validate", f"--config={config}"], env={**os.environ, **environment}, check=True)
    print("ok: the Collector accepts its configuration")

    with running("otelcol", ["otelcol", f"--config={config}"], folder, signal.SIGTERM, **environment):
        until("the Collector is ready", lambda: get(f"http://127.0.0.1:{health}"))
        for transport, send in SEND.items():
            for name in SIGNALS:
                send(ports[transport], name, request(name).SerializeToString())

    got = [without_empty(json.loads(line)) for line in out.read_text(encoding="utf-8").splitlines()]
    for name in SIGNALS:
        sent = otlp_json(request(name))
        assert got.count(sent) == len(SEND), f"{name}: sent {len(SEND)} times {sent}, the file has {got}"
    print(f"ok: {len(got)} lines, each as it was sent")


if __name__ == "__main__":
    main()
