"""One gateway as it is shipped, without agents: what it accepted reaches the stores, which were away, and its own end.

    real_collector_gateway.py SCRATCH FOLDER

FOLDER has gateway.yaml; otelcol is found on the PATH. Both stores are one HTTP server, which refuses until the gateway was
killed and started again. Logs must go where Loki takes OTLP, traces where Tempo does.
"""

import gzip
import os
import subprocess
import sys
import threading
from collections import Counter
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from otlp_client import request, send_grpc, send_http
from otlp_receiver import SIGNALS, otlp_json
from programs import free_port, get, until
from real_collector import without_empty

PATHS = {"/v1/traces": "traces", "/otlp/v1/logs": "logs"}


class Stores(ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.open, self.refused, self.taken, self.strays = False, Counter(), [], []


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body, stores = self.rfile.read(int(self.headers["Content-Length"])), self.server
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if name := PATHS.get(self.path):
            if stores.open:
                stores.taken.append((name, SIGNALS[name][1].FromString(body)))
            else:
                stores.refused[name] += 1
        else:
            stores.strays.append(self.path)
        self.send_response(200 if stores.open else 503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, configs = (Path(argument).resolve() for argument in sys.argv[1:])
    grpc_port, http_port, health = free_port(), free_port(), free_port()
    with Stores() as stores:
        threading.Thread(target=stores.serve_forever, daemon=True).start()
        store = f"http://127.0.0.1:{stores.server_address[1]}"
        environment = {
            **os.environ, "GATEWAY_OTLP_GRPC": f"127.0.0.1:{grpc_port}", "GATEWAY_OTLP_HTTP": f"127.0.0.1:{http_port}",
            "GATEWAY_HEALTH": f"127.0.0.1:{health}", "GATEWAY_METRICS_PORT": str(free_port()),
            "GATEWAY_STATE": str(folder / "state"), "GATEWAY_DECISION_WAIT": "1s",
            "GATEWAY_TRACES": store, "GATEWAY_LOGS": f"{store}/otlp"}

        def life(stack, number):
            with open(folder / f"gateway-{number}.log", "wb") as log:
                gateway = subprocess.Popen(["otelcol", f"--config={configs / 'gateway.yaml'}"], stdout=log, stderr=log, env=environment)
            stack.callback(lambda: (gateway.kill(), gateway.wait()))

        with ExitStack() as killed:
            life(killed, 1)
            until("the gateway is ready", lambda: get(f"http://127.0.0.1:{health}"))
            send_http(http_port, "traces", request("traces").SerializeToString())
            send_grpc(grpc_port, "logs", request("logs").SerializeToString())
            until("the stores refuse", lambda: set(stores.refused) == set(PATHS.values()))
        stores.open = True
        with ExitStack() as killed:
            life(killed, 2)
            until("a new life delivers what the killed one had queued", lambda: len(stores.taken) >= len(PATHS))
        stores.shutdown()

    assert not stores.strays, f"sent to {stores.strays}"
    got = {name: without_empty(otlp_json(message)) for name, message in stores.taken}
    assert len(stores.taken) == len(got), f"more than once: {[name for name, _ in stores.taken]}"
    for name in PATHS.values():
        assert got[name] == otlp_json(request(name)), f"{name}: sent {otlp_json(request(name))}, the store has {got[name]}"
    print("ok: logs at Loki's path and traces at Tempo's, each once and as it was sent")


if __name__ == "__main__":
    main()
