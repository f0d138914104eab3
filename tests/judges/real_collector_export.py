"""Orders of our own programs through a real Collector: its file has each order's whole story.

    real_collector_export.py SCRATCH CONFIG EXAMPLES

otelcol is found on the PATH; EXAMPLES is the folder of our programs gateway and executor. The Collector is stopped with
SIGTERM before its file is read, since the file exporter buffers.
"""

import json
import signal
import sys
from pathlib import Path

from exported_order import PROTOCOLS, judge, programs, send, settings
from programs import free_port, get, running, until

ORDERS = 2  # over each protocol


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    folder, config = (Path(argument).resolve() for argument in sys.argv[1:3])
    examples = programs(sys.argv[3])
    out, health = folder / "out.jsonl", free_port()
    ports = {"grpc": free_port(), "http": free_port()}
    environment = {"OTLP_GRPC_PORT": str(ports["grpc"]), "OTLP_HTTP_PORT": str(ports["http"]),
                   "HEALTH_PORT": str(health), "OTLP_OUT": str(out)}
    orders = [(protocol, f"{protocol}-{number}") for protocol in PROTOCOLS for number in range(ORDERS)]
    with running("otelcol", ["otelcol", f"--config={config}"], folder, signal.SIGTERM, **environment):
        until("the Collector is ready", lambda: get(f"http://127.0.0.1:{health}"))
        for protocol, order_id in orders:
            otlp = settings(protocol, ports[protocol])
            gateway = send(folder / order_id, examples, order_id, otlp, otlp)
            assert gateway.returncode == 0, gateway
    bodies = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    for _, order_id in orders:
        judge(folder / order_id, order_id, bodies)


if __name__ == "__main__":
    main()
