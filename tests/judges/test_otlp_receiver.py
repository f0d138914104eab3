"""The receiver's self-test: python -m unittest discover tests/judges."""

import json
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.error
from contextlib import contextmanager
from pathlib import Path

import grpc
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from otlp_client import PARENT, SEND, SPAN, TRACE, request, send_grpc, send_http
from otlp_receiver import GARBAGE, SIGNALS


@contextmanager
def receiver(*arguments, exit_status=0):
    """Yields the ports and a function that reads the lines so far."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "got.jsonl")
        program = Path(__file__).with_name("otlp_receiver.py")
        process = subprocess.Popen([sys.executable, program, "--out", out, *arguments], stdout=subprocess.PIPE, text=True)
        try:
            yield json.loads(process.stdout.readline()), lambda: [json.loads(line) for line in out.read_text().splitlines()]
        finally:
            process.terminate()
            status = process.wait(10)
            process.stdout.close()
        assert status == exit_status, f"the receiver ended with {status}"


class Receives(unittest.TestCase):
    def test_every_signal_over_both_transports(self):
        with receiver() as (ports, lines):
            for transport, send in SEND.items():
                for name, (_, _, response_type) in SIGNALS.items():
                    answer = send(ports[transport], name, request(name).SerializeToString())
                    self.assertEqual(response_type.FromString(answer), response_type())
            got = lines()
        self.assertEqual([(line["transport"], line["signal"]) for line in got],
                         [(transport, name) for transport in SEND for name in SIGNALS])
        self.assertTrue(all(line["headers"]["x-desk"] == "equities" for line in got))
        for line in got:
            if line["signal"] == "traces":
                span = line["body"]["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
                self.assertEqual((span["traceId"], span["spanId"], span["parentSpanId"]), (TRACE.hex(), SPAN.hex(), PARENT.hex()))
                self.assertEqual(span["attributes"], [{"key": "order_id", "value": {"stringValue": "abc123"}}])

    def test_an_unknown_field_anywhere_is_refused_and_fails_the_run(self):
        inner = request("traces")
        # Field 99 of the span, which OTLP does not have.
        inner.resource_spans[0].scope_spans[0].spans[0].MergeFromString(b"\x9a\x06\x01x")
        for body in (inner.SerializeToString(), request("traces").SerializeToString() + b"\x9a\x06\x01x"):
            with receiver(exit_status=1) as (ports, lines):
                with self.assertRaises(urllib.error.HTTPError) as refused:
                    send_http(ports["http"], "traces", body)
                refused.exception.close()
                with self.assertRaises(grpc.RpcError):
                    send_grpc(ports["grpc"], "traces", body)
                self.assertEqual([".99" in line["error"] for line in lines()], [True, True])

    def test_a_body_that_is_no_protobuf_is_refused_and_fails_the_run(self):
        with receiver(exit_status=1) as (ports, lines):
            with self.assertRaises(urllib.error.HTTPError) as refused:
                send_http(ports["http"], "logs", GARBAGE)
            refused.exception.close()
            self.assertIn("error", lines()[0])


class Misbehaves(unittest.TestCase):
    BODY = request("logs").SerializeToString()

    def test_429_tells_both_transports_when_to_try_again(self):
        with receiver("--fault", "429:7", "--times", "2") as (ports, lines):
            with self.assertRaises(urllib.error.HTTPError) as refused:
                send_http(ports["http"], "logs", self.BODY)
            self.assertEqual((refused.exception.code, refused.exception.headers["Retry-After"]), (429, "7"))
            refused.exception.close()
            with self.assertRaises(grpc.RpcError) as refused:
                send_grpc(ports["grpc"], "logs", self.BODY)
            self.assertEqual(refused.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
            details = dict(refused.exception.trailing_metadata())["grpc-status-details-bin"]
            retry = RetryInfo()
            self.assertTrue(Status.FromString(details).details[0].Unpack(retry))
            self.assertEqual(retry.retry_delay.seconds, 7)
            self.assertEqual(lines(), [])
            send_http(ports["http"], "logs", self.BODY)
            self.assertEqual(len(lines()), 1)

    def test_503(self):
        with receiver("--fault", "503") as (ports, lines):
            with self.assertRaises(urllib.error.HTTPError) as refused:
                send_http(ports["http"], "logs", self.BODY)
            self.assertEqual((refused.exception.code, refused.exception.headers["Retry-After"]), (503, None))
            refused.exception.close()
            with self.assertRaises(grpc.RpcError) as refused:
                send_grpc(ports["grpc"], "logs", self.BODY)
            self.assertEqual(refused.exception.code(), grpc.StatusCode.UNAVAILABLE)
            self.assertEqual(lines(), [])

    def test_slow_answers_late_and_keeps_what_came(self):
        with receiver("--fault", "slow:1") as (ports, lines):
            for transport, send in SEND.items():
                start = time.monotonic()
                send(ports[transport], "logs", self.BODY)
                self.assertGreaterEqual(time.monotonic() - start, 1)
            self.assertEqual(len(lines()), 2)

    def test_garbage_is_a_success_that_is_no_protobuf(self):
        with receiver("--fault", "garbage") as (ports, _):
            for transport, send in SEND.items():
                self.assertEqual(send(ports[transport], "logs", self.BODY), GARBAGE)

    def test_hang_never_answers_and_the_receiver_still_ends(self):
        with receiver("--fault", "hang") as (ports, lines):
            with self.assertRaises(TimeoutError):
                send_http(ports["http"], "logs", self.BODY, timeout=0.5)
            with self.assertRaises(grpc.RpcError) as hung:
                send_grpc(ports["grpc"], "logs", self.BODY, timeout=0.5)
            self.assertEqual(hung.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
            self.assertEqual(lines(), [])

    def test_refuse_listens_nowhere(self):
        with receiver("--fault", "refuse") as (ports, _):
            with self.assertRaises(urllib.error.URLError) as refused:
                send_http(ports["http"], "logs", self.BODY)
            self.assertIsInstance(refused.exception.reason, ConnectionRefusedError)
            with self.assertRaises(grpc.RpcError) as refused:
                send_grpc(ports["grpc"], "logs", self.BODY)
            self.assertEqual(refused.exception.code(), grpc.StatusCode.UNAVAILABLE)


if __name__ == "__main__":
    unittest.main()
