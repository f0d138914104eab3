"""A few telling OTLP requests, made with OTLP's own protocol files: to test the receiver, and the Collector."""

import gzip
import urllib.request

import grpc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from otlp_receiver import SIGNALS

TRACE, SPAN, PARENT = bytes(range(1, 17)), bytes(range(1, 9)), bytes(range(9, 17))


def attribute(key, value):
    return KeyValue(key=key, value=AnyValue(string_value=value))


def request(name):
    """One span, one log line or one metric point of order abc123."""
    message = SIGNALS[name][1]()
    order = [attribute("order_id", "abc123")]
    if name == "traces":
        group = message.resource_spans.add()
        group.scope_spans.add().spans.add(trace_id=TRACE, span_id=SPAN, parent_span_id=PARENT, name="submit_order", kind=1,
                                          start_time_unix_nano=1, end_time_unix_nano=2, attributes=order)
    elif name == "logs":
        group = message.resource_logs.add()
        record = group.scope_logs.add().log_records.add(time_unix_nano=1, severity_number=9, trace_id=TRACE, span_id=SPAN,
                                                        attributes=order)
        record.body.string_value = "order_submitted"
    else:
        group = message.resource_metrics.add()
        metric = group.scope_metrics.add().metrics.add(name="trading_orders")
        metric.sum.aggregation_temporality, metric.sum.is_monotonic = 2, True
        metric.sum.data_points.add(start_time_unix_nano=1, time_unix_nano=2, as_double=1)
    group.resource.attributes.append(attribute("service.name", "judge"))
    return message


def send_grpc(port, name, body, timeout=5):
    service, request_type, _ = SIGNALS[name]
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        export = channel.unary_unary(f"/{request_type.DESCRIPTOR.file.package}.{service}/Export")
        return export(body, timeout=timeout, metadata=[("x-desk", "equities")], compression=grpc.Compression.Gzip)


def send_http(port, name, body, timeout=5):
    headers = {"Content-Type": "application/x-protobuf", "Content-Encoding": "gzip", "X-Desk": "equities"}
    post = urllib.request.Request(f"http://127.0.0.1:{port}/v1/{name}", gzip.compress(body), headers)
    with urllib.request.urlopen(post, timeout=timeout) as answer:
        return answer.read()


SEND = {"grpc": send_grpc, "http": send_http}
