"""An OTLP receiver that shares no code with our exporter, and misbehaves on demand.

    otlp_receiver.py --out FILE [--fault FAULT] [--times N]

It binds two free ports on loopback and prints them as its first line: {"grpc": 40001, "http": 40002}. Each accepted
request becomes one JSON line in FILE: {"signal": "traces", "transport": "grpc", "headers": {…}, "body": {…}}, where body
is OTLP's JSON, as the Collector's file exporter writes it. A request it cannot read, or with a field that OTLP's
protocol files do not know, is refused, becomes a line {"error": …}, and makes the exit status 1. SIGTERM or SIGINT ends it.

FAULT, for the first N requests (default: all):
    429[:SECONDS] 503[:SECONDS] 500 …   that HTTP status with Retry-After, or its gRPC twin with RetryInfo
    slow[:SECONDS]                      answers after 2 or SECONDS seconds, and keeps what came
    hang                                never answers
    garbage                             says success with a body that is no protobuf
    refuse                              nobody listens on the ports (--times has no meaning)
"""

import argparse
import base64
import gzip
import json
import os
import signal
import socket
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet
from google.rpc.code_pb2 import INTERNAL, RESOURCE_EXHAUSTED, UNAVAILABLE
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces

SIGNALS = {  # name: (gRPC service, request, response)
    "traces": ("TraceService", traces.ExportTraceServiceRequest, traces.ExportTraceServiceResponse),
    "logs": ("LogsService", logs.ExportLogsServiceRequest, logs.ExportLogsServiceResponse),
    "metrics": ("MetricsService", metrics.ExportMetricsServiceRequest, metrics.ExportMetricsServiceResponse),
}
GRPC_CODES = {429: (RESOURCE_EXHAUSTED, grpc.StatusCode.RESOURCE_EXHAUSTED),
              503: (UNAVAILABLE, grpc.StatusCode.UNAVAILABLE)}
GARBAGE = b"\xff\xff\xff\xff this is no protobuf"


class Refused(Exception):
    """The receiver answers with an HTTP status, and with seconds after which to try again, if any."""

    def __init__(self, status, retry_after=None):
        super().__init__(f"refused with {status}")
        self.status, self.retry_after = status, retry_after


class Receiver:
    def __init__(self, out, fault, times):
        self.out, self.times, self.lock = out, times, threading.Lock()
        self.fault, _, argument = (fault or "").partition(":")
        self.seconds = float(argument) if argument else None
        self.errors = 0

    def write(self, line):
        with self.lock:
            self.errors += "error" in line
            self.out.write(json.dumps(line) + "\n")
            self.out.flush()

    def take(self, name, transport, headers, body):
        """Reads and keeps one request; returns the body of the answer, or raises Refused."""
        with self.lock:
            faulty = bool(self.fault) and self.times != 0
            self.times -= faulty
        if faulty and self.fault.isdigit():
            raise Refused(int(self.fault), self.seconds)
        if faulty and self.fault == "hang":
            threading.Event().wait()
        if faulty and self.fault == "garbage":
            return GARBAGE
        _, request_type, response_type = SIGNALS[name]
        try:
            request = request_type.FromString(body)
        except DecodeError as error:
            self.write({"error": f"{name} over {transport}: {error}"})
            raise Refused(400) from error
        if unknown := list(unknown_fields(request, name)):
            self.write({"error": f"{name} over {transport}: unknown fields {unknown}"})
            raise Refused(400)
        if faulty and self.fault == "slow":
            time.sleep(self.seconds or 2)
        # Before the answer: whoever has seen the answer finds the line.
        self.write({"signal": name, "transport": transport, "headers": headers, "body": otlp_json(request)})
        return response_type().SerializeToString()


def unknown_fields(message, path):
    for field in UnknownFieldSet(message):
        yield f"{path}.{field.field_number}"
    for descriptor, value in message.ListFields():
        if descriptor.message_type:
            for item in value if descriptor.is_repeated else [value]:
                yield from unknown_fields(item, f"{path}.{descriptor.name}")


def otlp_json(request):
    """OTLP's JSON differs from protobuf's in ids, which are hexadecimal."""
    def ids_in_hex(value):
        if isinstance(value, list):
            return [ids_in_hex(item) for item in value]
        if isinstance(value, dict):
            return {key: base64.b64decode(item).hex() if key in ("traceId", "spanId", "parentSpanId") else ids_in_hex(item)
                    for key, item in value.items()}
        return value
    return ids_in_hex(MessageToDict(request, use_integers_for_enums=True))


def grpc_server(receiver):
    def handler(name):
        def export(body, context):
            try:
                return receiver.take(name, "grpc", {key: str(value) for key, value in context.invocation_metadata()}, body)
            except Refused as refused:
                number, code = GRPC_CODES.get(refused.status, (INTERNAL, grpc.StatusCode.INTERNAL))
                if refused.retry_after is not None:
                    status = Status(code=number, message=str(refused))
                    status.details.add().Pack(RetryInfo(retry_delay=Duration(seconds=int(refused.retry_after))))
                    context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
                context.abort(code, str(refused))
        return grpc.unary_unary_rpc_method_handler(export)  # bytes in, bytes out

    server = grpc.server(ThreadPoolExecutor(64))
    for name, (service, request_type, _) in SIGNALS.items():
        full_name = f"{request_type.DESCRIPTOR.file.package}.{service}"
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(full_name, {"Export": handler(name)})])
    return server


def http_server(receiver):
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            try:
                name = self.path.removeprefix("/v1/")
                if name not in SIGNALS or self.headers.get("Content-Type") != "application/x-protobuf":
                    receiver.write({"error": f"{self.path} with {self.headers.get('Content-Type')} is not OTLP over HTTP"})
                    raise Refused(404 if name not in SIGNALS else 415)
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                headers = {key.lower(): value for key, value in self.headers.items()}
                self.answer(200, receiver.take(name, "http", headers, body))
            except (OSError, EOFError, zlib.error) as error:
                receiver.write({"error": f"{self.path}: {error}"})
                self.answer(400, b"")
            except Refused as refused:
                after = {} if refused.retry_after is None else {"Retry-After": f"{refused.retry_after:g}"}
                self.answer(refused.status, b"", after)

        def answer(self, status, body, headers=()):
            self.send_response(status)
            for key, value in {"Content-Type": "application/x-protobuf", "Content-Length": len(body), **dict(headers)}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    ThreadingHTTPServer.daemon_threads = True
    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", required=True)
    parser.add_argument("--fault", default="")
    parser.add_argument("--times", type=int, default=-1)
    options = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    with open(options.out, "a", encoding="utf-8") as out:
        receiver = Receiver(out, options.fault, options.times)
        if receiver.fault == "refuse":
            # Bound but not listening: connections are refused, and nobody else can take the ports meanwhile.
            held = [socket.socket(), socket.socket()]
            for one in held:
                one.bind(("127.0.0.1", 0))
            ports = [one.getsockname()[1] for one in held]
        else:
            rpc, web = grpc_server(receiver), http_server(receiver)
            ports = [rpc.add_insecure_port("127.0.0.1:0"), web.server_address[1]]
            rpc.start()
            threading.Thread(target=web.serve_forever, daemon=True).start()
        print(json.dumps({"grpc": ports[0], "http": ports[1]}), flush=True)
        stop.wait()
        # Not sys.exit: threads that hang on purpose would keep the process alive.
        os._exit(1 if receiver.errors else 0)


if __name__ == "__main__":
    main()
