"""Agent and two gateways as they are shipped: nothing that was acknowledged is lost, doubled or torn apart.

    real_collector_pipeline.py SCRATCH FOLDER

FOLDER has agent.yaml and gateway.yaml; otelcol is found on the PATH. Each order sends its spans in several requests,
and each request mixes orders, as a service's batches do. Meanwhile one gateway is stopped and comes back, and while it is
away the agent is killed. The gateways write to files instead of the stores: the only change to their configuration.

The agent is killed at a moment when nothing is between it and the gateway that runs. What is on the way at such a
moment is sent again, since nobody can know whether it arrived: at least once, not exactly once.
"""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from otlp_client import attribute
from otlp_receiver import SIGNALS
from programs import free_port, get, until

ORDERS, LEGS, PER_REQUEST = 1000, 6, 25
OTHERS = 100  # traces of no order, of each kind
SENDERS = 3
MILLISECOND = 1_000_000  # nanoseconds
SECRETS = {  # where a secret may stand: what the test puts there
    "bot_token": "hunter2hunter2",
    "http.url": "https://hooks.slack.com/services/T0TEST/B0TEST/slacksecretslacksecret",
    "exception.message": "POST https://api.telegram.org/bot123456789:AAtelegramsecretAAtelegramsecret00/sendMessage: refused",
    "db.url": "redis://desk:redissecret@127.0.0.1:6379",
    "dsn": "host=db user=desk password=dsnsecret",
    "url.full": "https://api.example.com/orders?token=querysecret&page=2",
    "request": '{"account": 7, "api_key": "jsonsecret"}',
    "response": r'{"body": "{\"token\": \"escapedsecret and morespacedsecret\"}"}',
    "db.replica": "postgres://desk:at@signsecret@127.0.0.1/desk",
    "headers": "accept: */*\ncookie: theme=dark; session=cookiesecret",
    "smtp.passphrase": "passphrasesecret",
    "ibkr_pass": "wordsecret",
    "header": "Basic ZGVzazpiYXNpY3NlY3JldA==",
}
LEAKS = [b"hunter2hunter2", b"slacksecret", b"telegramsecret", b"redissecret", b"dsnsecret", b"querysecret", b"jsonsecret",
         b"escapedsecret", b"morespacedsecret", b"signsecret", b"cookiesecret", b"wordsecret", b"passphrasesecret", b"ZGVzazpiYXNpY3NlY3JldA"]
KEPT = {"sector": "Basic Materials of the index", "max_tokens": "5", "clock": "12:30:00 key: AAPL"}  # what only looks like one


class Collector:
    """One configuration with its ports; may be started again after it ended."""

    def __init__(self, stack, folder, name, config, **environment):
        self.stack, self.folder, self.name, self.config = stack, folder, name, config
        self.health, self.metrics = free_port(), free_port()
        prefix = name.partition("-")[0].upper()
        self.environment = {f"{prefix}_HEALTH": f"127.0.0.1:{self.health}", f"{prefix}_METRICS_PORT": str(self.metrics),
                            f"{prefix}_STATE": str(folder / name), **environment}
        self.lives = 0

    def start(self):
        self.lives += 1
        configs = [self.config]
        if self.name.startswith("gateway"):
            configs.append(self.folder / f"{self.name}-{self.lives}.yaml")
            # One for each signal: an exporter that two pipelines share is closed with the first of them, while tail
            # sampling still decides, and the process ends in a panic.
            configs[1].write_text(json.dumps({
                "exporters": {f"file/{name}": {"path": str(self.folder / f"{self.name}-{self.lives}-{name}.jsonl")}
                              for name in ("traces", "logs")},
                "service": {"pipelines": {name: {"exporters": [f"file/{name}"]} for name in ("traces", "logs")}}}))
        with open(self.folder / f"{self.name}-{self.lives}.log", "wb") as log:
            self.process = subprocess.Popen(["otelcol", *(f"--config={one}" for one in configs)], cwd=self.folder,
                                            stdout=log, stderr=log, env={**os.environ, **self.environment})
        self.stack.callback(lambda process: (process.kill(), process.wait()), self.process)

    def ready(self):
        until(f"{self.name} is ready", lambda: get(f"http://127.0.0.1:{self.health}"))

    def end(self, number):
        assert self.process.poll() is None, f"{self.name} ended by itself with {self.process.returncode}"
        self.process.send_signal(number)
        status = self.process.wait(60)
        assert status == (0 if number == signal.SIGTERM else -number), f"{self.name} ended with {status}"

    def files(self):
        return sorted(self.folder.glob(f"{self.name}-*.jsonl"))

    def waiting(self):
        """Spans and log lines that entered the queue to each gateway and did not leave it, in this life of the agent.

        Not the gauge of the queue's size: that says 0 while the last ones are on the way, or wait for their next try.
        """
        found = {"1": 0.0, "2": 0.0}
        text = get(f"http://127.0.0.1:{self.metrics}/metrics")
        for sign, count, label in ((1, "receiver_accepted", "receiver"), (-1, "exporter_sent", "exporter")):
            series = rf'^otelcol_{count}_(?:spans|log_records)\{{.*?{label}="\w+/(\d)".*?\}} (\S+)$'
            for gateway, value in re.findall(series, text, re.MULTILINE):
                found[gateway] += sign * float(value)
        return found


class Load:
    """What is sent: span ids by trace, and log lines. A request that is not acknowledged ends the test."""

    def __init__(self, port):
        self.port = port
        self.numbers = itertools.count(1)
        self.sent = defaultdict(set)
        self.erroneous, self.wanted = set(), set()
        self.logs = set()

    def span(self, group, trace, name, order=None, milliseconds=1, error=False, attributes=()):
        number = next(self.numbers)
        start = 1_700_000_000_000 * MILLISECOND
        span = group.scope_spans[0].spans.add(
            trace_id=trace, span_id=number.to_bytes(8, "big"), name=name, kind=1,
            start_time_unix_nano=start, end_time_unix_nano=start + milliseconds * MILLISECOND, attributes=attributes)
        if order:
            span.attributes.append(attribute("order_id", order))
        span.attributes.add(key="quantity").value.int_value = 100
        if error:
            span.status.code = Status.STATUS_CODE_ERROR
            span.status.message = SECRETS["exception.message"]
        self.sent[trace.hex()].add(span.span_id.hex())

    @staticmethod
    def request(name):
        message = SIGNALS[name][1]()
        group = message.resource_spans.add() if name == "traces" else message.resource_logs.add()
        (group.scope_spans if name == "traces" else group.scope_logs).add()
        group.resource.attributes.append(attribute("service.name", "judge"))
        return message, group

    def leg(self, leg):
        """The leg-th span of every order, and a log line of each request's first order."""
        secrets = [attribute(*one) for one in (SECRETS | KEPT).items()]
        requests = []
        for first in range(0, ORDERS, PER_REQUEST):
            message, group = self.request("traces")
            for number in range(first, first + PER_REQUEST):
                trace = trace_id("order", number)
                error = number % 5 == 0 and leg == LEGS - 1
                self.span(group, trace, f"leg_{leg}", order=f"order-{number}", error=error,
                          attributes=secrets if number % 7 == 0 else ())
                self.wanted.add(trace.hex())
                if error:
                    self.erroneous.add(trace.hex())
            requests.append(("traces", message))
            message, group = self.request("logs")
            event = f"order-{first}-leg-{leg}"
            record = group.scope_logs[0].log_records.add(time_unix_nano=1, trace_id=trace_id("order", first), attributes=secrets)
            record.body.string_value = f"{event} {SECRETS['http.url']}"
            self.logs.add(event)
            requests.append(("logs", message))
        return requests

    def others(self):
        """Traces of no order: an erroneous and a slow one are kept, an ordinary one is not."""
        requests = []
        for number in range(OTHERS):
            message, group = self.request("traces")
            for kind, odd in (("error", {"error": True}), ("slow", {"milliseconds": 60_000}), ("ordinary", {})):
                trace = trace_id(kind, number)
                self.span(group, trace, kind, **odd)
                self.span(group, trace, "child")
                if odd:
                    self.wanted.add(trace.hex())
            requests.append(("traces", message))
        return requests

    def expected(self):
        return {span for trace in self.wanted for span in self.sent[trace]}

    def through(self, text):
        """Whether everything is somewhere in the gateways' files, whose last lines may be half written."""
        missing = len(self.expected() - set(re.findall(r'"spanId":"(\w{16})"', text)))
        missing += len(self.logs - set(re.findall(r'"(order-\d+-leg-\d) ', text)))
        assert not missing, f"{missing} spans and log lines are missing"
        return True

    def send(self, requests, meanwhile=lambda: None):
        """Sends all and waits for each acknowledgement; `meanwhile` runs when a third is through."""
        with grpc.insecure_channel(f"127.0.0.1:{self.port}", options=[("grpc.max_reconnect_backoff_ms", 500)]) as channel:
            def one(request):
                name, message = request
                service, request_type, _ = SIGNALS[name]
                export = channel.unary_unary(f"/{request_type.DESCRIPTOR.file.package}.{service}/Export")
                export(message.SerializeToString(), timeout=60, wait_for_ready=True)
                time.sleep(0.01)  # so that what happens meanwhile happens meanwhile

            with ThreadPoolExecutor(SENDERS) as senders:
                waiting = [senders.submit(one, request) for request in requests]
                waiting[len(waiting) // 3].result()
                meanwhile()
                for answer in waiting:
                    answer.result()


def trace_id(kind, number):
    # The sampler remembers its decisions by the second half alone, which is random in a real one: no two may share it.
    return kind.encode().ljust(8, b".") + kind.encode()[:4] + number.to_bytes(4, "big")


def read(files):
    """Per gateway: span ids by trace, and log lines. A broken line is an error."""
    spans, logs, masked = defaultdict(Counter), Counter(), 0
    for file in files:
        for line in file.read_text(encoding="utf-8").splitlines():
            group = json.loads(line)
            for resource in group.get("resourceSpans", []):
                for span in (span for scope in resource["scopeSpans"] for span in scope["spans"]):
                    spans[span["traceId"]][span["spanId"]] += 1
                    attributes = {one["key"]: one["value"] for one in span["attributes"]}
                    assert attributes["quantity"] == {"intValue": "100"}, f"what is no secret changed: {attributes}"
                    changed = {key for key, value in KEPT.items() if attributes.get(key, {"stringValue": value}) != {"stringValue": value}}
                    assert not changed, f"what is no secret changed: {changed}"
                    masked += "bot_token" in attributes and attributes["bot_token"]["stringValue"] == "****"
            for resource in group.get("resourceLogs", []):
                for record in (record for scope in resource["scopeLogs"] for record in scope["logRecords"]):
                    logs[record["body"]["stringValue"].split()[0]] += 1
    return spans, logs, masked


def check(load, found):
    first, second = (spans for spans, _, _ in found)
    both = sorted(first.keys() & second.keys())
    assert not both, f"{len(both)} traces on two gateways, such as {both[:3]}"
    traces = {**first, **second}
    share = len(first) / len(traces)
    assert 0.2 < share < 0.8, f"the first gateway has {share:.0%} of the traces"
    print(f"ok: each of {len(traces)} traces on one gateway ({len(first)} and {len(second)})")

    wanted = load.expected()
    arrived = Counter()
    for spans in traces.values():
        arrived.update(spans)
    lost, more = wanted - arrived.keys(), {span: times for span, times in arrived.items() if times > 1}
    assert not lost, f"{len(lost)} of {len(wanted)} acknowledged spans are lost"
    assert not more, f"{len(more)} spans arrived more than once, {max(more.values())} times at most"
    print(f"ok: {len(wanted)} of {len(wanted)} acknowledged spans arrived, none twice")

    torn = [trace for trace in load.erroneous if set(traces[trace]) != load.sent[trace]]
    assert load.erroneous and not torn, f"of {len(load.erroneous)} erroneous orders, {len(torn)} are not whole"
    print(f"ok: all {LEGS} spans of each of {len(load.erroneous)} erroneous orders are together")

    kept = sorted(traces.keys() - load.wanted)
    assert not kept, f"{len(kept)} ordinary traces were kept, such as {kept[:3]}"
    print(f"ok: of {3 * OTHERS} traces of no order, the erroneous and the slow ones were kept")

    logs = sum((logs for _, logs, _ in found), Counter())
    assert logs == Counter(load.logs), f"log lines: {len(load.logs - logs.keys())} lost, {logs.total() - len(logs)} twice"
    print(f"ok: {len(load.logs)} of {len(load.logs)} log lines arrived, none twice")


def check_secrets(folder, masked):
    """Neither in what arrived nor in what the queues have on disk, nor in a log of a Collector."""
    expected = len(range(0, ORDERS, 7)) * LEGS
    assert masked == expected, f"{masked} of {expected} secrets by name are masked"
    files = [file for file in folder.rglob("*") if file.is_file()]
    for file in files:
        text = file.read_bytes()
        found = [leak for leak in LEAKS if leak in text]
        assert not found, f"{file} has {found}"
    print(f"ok: no secret in any of {len(files)} files")


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    folder, configs = (Path(argument).resolve() for argument in sys.argv[1:])
    ports = [free_port() for _ in range(6)]
    address = [f"127.0.0.1:{port}" for port in ports]
    with ExitStack() as stack:
        gateways = [
            Collector(stack, folder, f"gateway-{number + 1}", configs / "gateway.yaml", GATEWAY_OTLP_GRPC=address[number],
                      GATEWAY_OTLP_HTTP="127.0.0.1:0", GATEWAY_DECISION_WAIT="2s", GATEWAY_REST_PERCENT="0")
            for number in range(2)]
        agent = Collector(stack, folder, "agent", configs / "agent.yaml", AGENT_OTLP_GRPC=address[2],
                          AGENT_OTLP_HTTP="127.0.0.1:0", AGENT_QUEUE_1=address[3], AGENT_QUEUE_2=address[4],
                          AGENT_GATEWAY_1=address[0], AGENT_GATEWAY_2=address[1])
        for one in (*gateways, agent):
            one.start()
        for one in (*gateways, agent):
            one.ready()

        load = Load(ports[2])
        load.send(load.leg(0) + load.others())
        load.send(load.leg(1), meanwhile=lambda: gateways[1].end(signal.SIGTERM))
        load.send(load.leg(2))
        until("nothing waits for the gateway that runs", lambda: agent.waiting()["1"] == 0)
        time.sleep(1)  # what is sent is counted a moment before it is struck off the queue
        held = agent.waiting()["2"]
        assert held > 100, f"only {held:.0f} spans wait for the gateway that is away: killing the agent would prove little"
        agent.end(signal.SIGKILL)
        print(f"ok: the agent was killed while {held:.0f} spans and log lines waited for the gateway that is away")

        # Its services keep sending, and are served as soon as it is back.
        with ThreadPoolExecutor(1) as service:
            sending = service.submit(load.send, load.leg(3))
            agent.start()
            sending.result()
        load.send(load.leg(4), meanwhile=gateways[1].start)
        load.send(load.leg(5))
        until("all has arrived", lambda: load.through("".join(file.read_text() for one in gateways for file in one.files())))
        for one in (agent, *gateways):
            one.end(signal.SIGTERM)

    found = [read(gateway.files()) for gateway in gateways]
    check(load, found)
    check_secrets(folder, sum(masked for _, _, masked in found))


if __name__ == "__main__":
    main()
