"""Our export against a receiver that shares no code with it: exact values, no unknown fields, and every fault.

    real_export.py SCRATCH EXAMPLES

EXAMPLES is the folder of our programs gateway and executor.
"""

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

from exported_order import PROTOCOLS, judge, lines, programs, send, settings

DEADLINE = 5  # seconds that a shutdown may take
BUSY = 10  # seconds that everything else may take on a busy machine


@contextmanager
def receiver(folder, *fault):
    folder.mkdir(parents=True)
    out = folder / "got.jsonl"
    program = Path(__file__).with_name("otlp_receiver.py")
    process = subprocess.Popen([sys.executable, program, "--out", out, *fault], stdout=subprocess.PIPE, text=True)
    try:
        yield (json.loads(process.stdout.readline()),
               lambda: [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()])
    finally:
        process.terminate()
        status = process.wait(30)
        process.stdout.close()
    assert status == 0, "the receiver could not read a request, or found a field that OTLP does not know"


def arrives(folder, examples, protocol):
    """Everything, as it was meant, from both programs."""
    with receiver(folder) as (ports, got):
        otlp = settings(protocol, ports[protocol])
        gateway = send(folder, examples, f"{protocol}-1", otlp, otlp)
        assert gateway.returncode == 0, gateway
        requests = got()
    for request in requests:
        assert request["transport"] == protocol and request["headers"]["x-desk"] == "equities EU", request["headers"]
        if protocol == "http":  # grpcio does not show how a message was encoded
            assert request["headers"]["content-encoding"] == "gzip", request["headers"]
    judge(folder, f"{protocol}-1", [request["body"] for request in requests])


def survives(folder, examples, protocol, fault, *, arrive, at_least=0.0):
    """The order is filled whatever the receiver does; what is lost is told, and the gateway ends in time."""
    with receiver(folder, "--fault", *fault) as (ports, got):
        start = time.monotonic()
        gateway = send(folder, examples, "abc123", settings(protocol, ports[protocol]))
        took = time.monotonic() - start
        requests = got()
    assert gateway.stdout.startswith("order abc123: filled\n"), gateway
    assert at_least <= took < DEADLINE + BUSY, f"{took:.1f} s"
    failing = lines(folder, "gateway", "otlp_export_failing")
    if arrive:
        assert gateway.returncode == 0 and not failing, (gateway, failing)
        events = sum(len(scope["logRecords"]) for request in requests for group in request["body"].get("resourceLogs", [])
                     for scope in group["scopeLogs"])
        assert events == 3 and {request["signal"] for request in requests} == {"traces", "logs"}, requests
    else:
        # Beside the order's own lines, each signal tells at most once why.
        assert gateway.returncode == 1 and "telemetry was lost at shutdown" in gateway.stderr, gateway
        assert "1 otlp traces" in gateway.stderr and "otlp logs" in gateway.stderr, gateway.stderr
        assert len(failing) == len({line["signal"] for line in failing}), failing
        assert not requests, requests
    assert len(lines(folder, "gateway", "order_answered")) == 1
    print(f"ok: {protocol}, {' '.join(fault)}: {took:.1f} s", flush=True)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, examples = Path(sys.argv[1]).resolve(), programs(sys.argv[2])
    for protocol in PROTOCOLS:
        scratch = folder / protocol
        arrives(scratch / "arrives", examples, protocol)
        # One request of each signal is refused, and comes again when it may.
        survives(scratch / "429", examples, protocol, ["429:1", "--times", "2"], arrive=True, at_least=1.0)
        for fault in ["500", "garbage", "hang", "refuse"]:
            survives(scratch / fault, examples, protocol, [fault], arrive=False)


if __name__ == "__main__":
    main()
