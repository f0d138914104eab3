"""Lets an order cross two processes of ours that export over OTLP, and judges what arrived; shared by real_export*.py.

The story of an order, wherever it is told:

    gateway   submit_order          order_submitted, order_answered
    executor    POST (server)       order_received
    executor      fill              order_executed
"""

import json
import os
import re
import signal
import subprocess
from pathlib import Path

from programs import free_port, running, until

PROTOCOLS = {"grpc": "grpc", "http": "http/protobuf"}
IDENTITY = {"symbol": "AAPL", "strategy": "SwingMomentum"}
SPANS = {  # name: (service, name of its parent, kind, its own attributes)
    "submit_order": ("gateway", None, 1, {}),
    "POST": ("executor", "submit_order", 2, {"http.request.method": "POST", "url.path": "/orders"}),
    "fill": ("executor", "POST", 1, {}),
}
LINES = {  # event: (service, span, fields)
    "order_submitted": ("gateway", "submit_order", {"quantity": 100, "price": 150.0}),
    "order_answered": ("gateway", "submit_order", {"answer": "filled"}),
    "order_received": ("executor", "POST", {"quantity": 100}),
    "order_executed": ("executor", "fill", {"quantity": 100}),
}


def settings(protocol, port, **more):
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_EXPORTER_OTLP_PROTOCOL": PROTOCOLS[protocol],
            "OTEL_EXPORTER_OTLP_HEADERS": "x-desk=equities%20EU", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
            "OTEL_RESOURCE_ATTRIBUTES": "team=execution,service.version=1.2.3", "SA_SYSTEM__ENVIRONMENT": "production", **more}


def send(folder, examples, order_id, gateway, executor=None):
    """One order through both programs, whose OTLP settings these are; the gateway as it ended."""
    for name in [name for name in os.environ if name.startswith(("OTEL_", "SA_", "RUST_LOG"))]:
        del os.environ[name]
    folder.mkdir(parents=True, exist_ok=True)
    address = f"127.0.0.1:{free_port()}"

    def environment(otlp):
        return {"EXECUTOR_ADDRESS": address, "SA_MONITORING__PROMETHEUS_PORT": str(free_port()), **(otlp or {})}

    ends_with = (128 + signal.SIGTERM,)
    with running("executor", [examples / "executor"], folder, signal.SIGTERM, ends_with, **environment(executor)):
        until("the executor is ready", lambda: lines(folder, "executor", "executor_ready"))
        return subprocess.run([examples / "gateway", order_id], cwd=folder, env={**os.environ, **environment(gateway)},
                              capture_output=True, text=True, timeout=60)


def lines(folder, service, event):
    path = folder / "logs" / f"{service}.log"
    every = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [line for line in map(json.loads, every) if line["event"] == event]


def value(any_value):
    (kind, inner), = any_value.items()
    return int(inner) if kind == "intValue" else inner


def attributes(thing):
    found = {attribute["key"]: value(attribute["value"]) for attribute in thing.get("attributes", [])}
    assert len(found) == len(thing.get("attributes", [])), f"an attribute occurs twice in {thing}"
    return found


def arrived(bodies):
    """(resource, span) and (resource, log record) of these requests."""
    spans, records = [], []
    for body in bodies:
        for group in body.get("resourceSpans", []):
            spans += [(attributes(group["resource"]), span) for scope in group["scopeSpans"] for span in scope["spans"]]
        for group in body.get("resourceLogs", []):
            records += [(attributes(group["resource"]), record) for scope in group["scopeLogs"] for record in scope["logRecords"]]
    return spans, records


def judge(folder, order_id, bodies):
    """The whole story of the order is there, once, and nothing but it; files and export tell the same."""
    spans, records = arrived(bodies)
    identity = {"order_id": order_id, **IDENTITY}
    spans = {span["name"]: (resource, span) for resource, span in spans if attributes(span).get("order_id") == order_id}
    assert set(spans) == set(SPANS), f"{order_id}: spans {sorted(spans)}"
    trace = spans["submit_order"][1]["traceId"]
    for name, (service, parent, kind, own) in SPANS.items():
        resource, span = spans[name]
        judge_resource(resource, service)
        assert span["traceId"] == trace and re.fullmatch("[0-9a-f]{32}", trace), span
        assert span.get("parentSpanId") == (spans[parent][1]["spanId"] if parent else None), f"{name}: {span}"
        assert span["kind"] == kind and not span.get("status") and attributes(span) == {**own, **identity}, span
        assert 0 < int(span["startTimeUnixNano"]) < int(span["endTimeUnixNano"]), span

    # A server's span is no field of its lines for OTLP, which joins them by their ids.
    of_order = [(resource, record) for resource, record in records if attributes(record).get("order_id") == order_id]
    assert len(of_order) == len(LINES), f"{order_id}: {of_order}"
    for resource, record in of_order:
        event = value(record["body"])
        service, span, fields = LINES[event]
        judge_resource(resource, service)
        assert (record["traceId"], record["spanId"]) == (trace, spans[span][1]["spanId"]), f"{event}: {record}"
        assert (record["severityNumber"], record["severityText"]) == (9, "INFO"), record
        assert attributes(record) == {**fields, **identity}, record
        line, = [line for line in lines(folder, service, event) if line["order_id"] == order_id]
        assert (line["trace_id"], line["span_id"]) == (trace, record["spanId"]), line
        assert {key: line[key] for key in attributes(record)} == attributes(record), line
    print(f"ok: the whole story of {order_id}: {len(spans)} spans, {len(of_order)} lines", flush=True)


def judge_resource(resource, service):
    expected = {"service.name": service, "service.version": "1.2.3", "deployment.environment.name": "production",
                "team": "execution", "telemetry.sdk.language": "rust", "telemetry.sdk.name": "opentelemetry"}
    assert expected.items() <= resource.items(), resource
    assert re.fullmatch("[0-9a-f-]{36}", resource["service.instance.id"]) and resource["process.pid"] > 0, resource


def programs(argument):
    folder = Path(argument).resolve()
    assert (folder / "gateway").exists() and (folder / "executor").exists(), f"{folder} has no gateway and executor"
    return folder
