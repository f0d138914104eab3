"""Asks every query of every dashboard of a real Prometheus that scrapes a running example.

    real_panels.py SCRATCH TABLE -- COMMAND…

COMMAND starts the example, which listens on SA_MONITORING__PROMETHEUS_PORT and ends with 0 on SIGINT. Prometheus reads
config/prometheus.yml with shorter intervals and with the addresses of this machine; the exporters are real, Redis too.
Each query is asked as Grafana asks it, with the variables of the dashboard, and its answer has to have the shape that its
panel draws. TABLE gets panel, query and a sample of the result, as Markdown. The same is asked when the process has been
dead for minutes, after it started again, and when the market is closed.
"""

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.parse
import urllib.request
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from programs import free_port, get, running, until

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "a-token-of-the-tests"
SCRAPE = 1  # seconds
STEP = 2
SECONDS = 40  # of history, so that every window of a query has samples

# What says what is now, and nothing when nobody is there to say it. Every other panel shows the last that was known.
OF_NOW = {"Trading Overview / Kill switch", "Risk Metrics / Kill switch", "Risk Metrics / Breakers tripped",
          "ML Model Performance / Feature importance", "System Health and Alerts / Services",
          "System Health and Alerts / Running since"}


class Accepting(BaseHTTPRequestHandler):
    """Slack and an OTLP receiver that accept everything, so that messages have a duration and exports succeed."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        body = b"" if self.path.startswith("/v1/") else b"ok"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Prometheus:
    def __init__(self, port):
        self.api = f"http://127.0.0.1:{port}/api/v1"

    def ask(self, path, **parameters):
        answer = json.loads(get(f"{self.api}/{path}?{urllib.parse.urlencode(parameters, doseq=True)}"))
        assert answer["status"] == "success", answer
        return answer["data"]


class Frozen(BaseHTTPRequestHandler):
    """A service in which nothing happens: each scrape is the same."""

    text = ""

    def do_GET(self):
        body = self.text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def serving(handler, port):
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    with server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()


class Clock:
    """The time range of the dashboards: from when the example began to now, or to so many seconds later."""

    def __init__(self, start, later=0):
        self.start, self.end = start, time.time() + later

    def substituted(self, query):
        rate_interval = max(STEP + SCRAPE, 4 * SCRAPE)  # as Grafana makes it
        for name, value in (("$__rate_interval", f"{rate_interval}s"), ("$__range", f"{round(self.end - self.start)}s"),
                            ("$job", ".+"), ("$instance", ".+")):
            query = query.replace(name, value)
        assert "$" not in query, query
        return query

    def range_of(self, panel):
        """Start, end and step: Grafana aligns both ends to the step."""
        step = {"1d": 86400, "30s": STEP}.get(panel.get("interval"), STEP)
        days = re.fullmatch(r"(\d+)d", panel.get("timeFrom", ""))
        start = self.end - int(days[1]) * 86400 if days else self.start
        return start // step * step, self.end // step * step, step


def answer(prometheus, clock, panel, target):
    """Each series as its labels and the values that it has."""
    query = clock.substituted(target["expr"])
    if target["instant"]:
        found = [(one["metric"], [one["value"]]) for one in prometheus.ask("query", query=query, time=clock.end)["result"]]
    else:
        start, end, step = clock.range_of(panel)
        data = prometheus.ask("query_range", query=query, start=start, end=end, step=step)
        found = [(one["metric"], one["values"]) for one in data["result"]]
    return [(metric, [float(value) for _, value in values]) for metric, values in found]


def problems(panel, target, series):
    """What of this answer the panel could not draw."""
    if not series:
        yield "no data"
        return
    finite = [value for _, values in series for value in values if math.isfinite(value)]
    if not finite:
        yield "no finite value"
        return
    for label in re.findall(r"{{(\w+)}}", target["legendFormat"]):
        if not all(metric.get(label) for metric, _ in series):
            yield f"a series without {label}"
    defaults, kind = panel["fieldConfig"]["defaults"], panel["type"]
    several = "{{" in target["legendFormat"] or kind == "table"
    if not several and len(series) != 1:
        yield f"{len(series)} series under one name"
    if kind == "state-timeline":
        states = set(defaults["mappings"][0]["options"])
        if unknown := {f"{value:g}" for value in finite} - states:
            yield f"states without a word: {sorted(unknown)}"
    if target.get("format") == "heatmap":
        bounds = [metric["le"] for metric, _ in series]
        if len(bounds) < 5 or "+Inf" not in bounds or len({float(bound) for bound in bounds}) != len(bounds):
            yield f"bounds are {bounds}"
        if max(finite) <= 0:
            yield "every bucket is empty"
    if kind == "piechart" and len(series) < 2:
        yield "a pie of one piece"
    if defaults["unit"] == "percentunit" and not all(-0.001 <= value <= 1.001 for value in finite) and kind != "heatmap" and panel["title"] != "CPU":
        yield f"{min(finite)} to {max(finite)} of 1"
    if kind == "gauge" and not all(defaults["min"] <= value <= defaults["max"] for value in finite):
        yield f"{min(finite)} to {max(finite)}"


def sample(series):
    """The series that says most: one with a value that is not 0."""
    metric, values = max(series, key=lambda one: abs(([v for v in one[1] if math.isfinite(v)] or [0])[-1]))
    last = ([value for value in values if math.isfinite(value)] or values)[-1]
    labels = ", ".join(f'{name}="{value}"' for name, value in metric.items() if name != "__name__")
    return f"{{{labels}}} {last:.6g} ({len(series)} series, {len(values)} points)"


def check(prometheus, clock, table=None, may_be_empty=lambda name, target: False):
    """Every query of every panel; the problems that were found."""
    found = []
    for file in sorted((ROOT / "config/grafana/provisioning/dashboards").glob("*.json")):
        dashboard = json.loads(file.read_text())
        for panel in dashboard["panels"]:
            for target in panel.get("targets", []):
                series = answer(prometheus, clock, panel, target)
                name = f"{dashboard['title']} / {panel['title']}"
                if may_be_empty(name, target) and not any(math.isfinite(value) for _, values in series for value in values):
                    continue
                found += [f"{name}: {problem}\n    {target['expr']}" for problem in problems(panel, target, series)]
                if table is None:
                    continue
                result = sample(series) if series else "none"
                cells = (name, f"`{target['expr']}`", f"`{result}`")
                table.write("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n")
    return found


def check_around(prometheus, clock):
    """What is not a panel: variables, annotations, exemplars."""
    matcher = "trading_system_info"
    for label in ("job", "instance"):
        assert prometheus.ask(f"label/{label}/values", **{"match[]": matcher}), f"the variable {label} is empty"
    for severity in ("critical", "warning"):
        query = f'ALERTS{{alertstate="firing", severity="{severity}"}}'
        assert prometheus.ask("query", query=query)["result"], f"no annotation from {query}"
    query = 'histogram_quantile(0.99, sum by (le) (rate(trading_fill_latency_ms_bucket{job=~".+", instance=~".+"}[4s])))'
    exemplars = prometheus.ask("query_exemplars", query=query, start=clock.start, end=clock.end)
    labels = [one["labels"] for series in exemplars for one in series["exemplars"]]
    assert any(one.get("trace_id") and one.get("order_id") for one in labels), "no exemplar leads to an order"


def value(prometheus, clock, title):
    """What the stat of this title shows."""
    for file in (ROOT / "config/grafana/provisioning/dashboards").glob("*.json"):
        for panel in json.loads(file.read_text())["panels"]:
            if panel["title"] == title and panel["type"] == "stat":
                [(_, values)] = answer(prometheus, clock, panel, panel["targets"][0]) or [(None, [])]
                return values[-1] if values else None
    raise AssertionError(f"there is no stat {title}")


def check_dead(prometheus, start):
    """Ten minutes after the last sample: what was last known is there, and nothing says that all is well now."""
    clock = Clock(start, later=600)
    found = check(prometheus, clock, may_be_empty=lambda name, _: name in OF_NOW)
    assert not found, "\n" + "\n".join(found)
    assert value(prometheus, clock, "Age of the portfolio figures") > 600
    for title in ("Kill switch", "Running since"):
        assert value(prometheus, clock, title) is None, f"{title} of a dead process"
    print("ok: panels hold after the process died")


def check_restarted(prometheus, start, orders):
    """Counters that began again at 0 take nothing away, and start-up zeros are not drawn."""
    clock = Clock(start)
    found = check(prometheus, clock)
    assert not found, "\n" + "\n".join(found)
    assert value(prometheus, clock, "Orders") > orders, "orders were lost by the restart"
    for name in ("equity_dollars", "cash_dollars"):
        shown = f"trading_portfolio_{name} and on (job, instance) trading_portfolio_snapshot_timestamp_seconds"
        series = prometheus.ask("query_range", query=shown, start=clock.start, end=clock.end, step=SCRAPE)["result"]
        assert min(float(value) for one in series for _, value in one["values"]) > 0, f"a start-up zero of {name}"
    return True


def check_closed(prometheus, start):
    """Nothing happens: levels stand, and what counts events says that there were none rather than 0 %."""
    found = check(prometheus, Clock(start), may_be_empty=lambda _, target: "increase(" in target["expr"] or "rate(" in target["expr"])
    # That every bucket or share is empty is what it should say.
    found = [problem for problem in found if "every bucket is empty" not in problem]
    assert not found, "\n" + "\n".join(found)
    for title in ("Order success rate", "Rejected", "Checks that pass"):
        assert value(prometheus, Clock(start), title) is None, f"{title} without any"
    print("ok: panels hold while the market is closed")


def postgres(folder, port):
    """The command of a fresh database, which refuses to be run by root."""
    data = folder / "postgres"
    data.mkdir()
    nobody = []
    if os.getuid() == 0:
        os.chown(data, 65534, 65534)
        nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    subprocess.run([*nobody, "initdb", "-D", data, "-A", "trust", "-U", "postgres", "--no-sync"], cwd=data, check=True, stdout=subprocess.DEVNULL)
    return [*nobody, "postgres", "-D", str(data), "-k", str(data), "-p", str(port), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]


def settings(folder, port, redis_exporter, postgres_exporter):
    """config/prometheus.yml for this machine."""
    text = (ROOT / "config/prometheus.yml").read_text()
    (folder / "token").write_text(TOKEN)
    for committed, here in (("15s", f"{SCRAPE}s"), ("host.docker.internal:8001", f"127.0.0.1:{port}"),
                            ("host.docker.internal:8000", "127.0.0.1:1"), ("redis-exporter:9121", f"127.0.0.1:{redis_exporter}"),
                            ("postgres-exporter:9187", f"127.0.0.1:{postgres_exporter}"), ("alertmanager:9093", "127.0.0.1:1"),
                            ("/run/secrets/metrics_token", str(folder / "token"))):
        assert committed in text, f"config/prometheus.yml has no {committed}"
        text = text.replace(committed, here)
    (folder / "prometheus.yml").write_text(text)
    (folder / "rules").mkdir()
    rules = [{"alert": f"Test{severity}", "expr": "vector(1)", "labels": {"severity": severity}} for severity in ("critical", "warning")]
    (folder / "rules/trading-test.yml").write_text(json.dumps({"groups": [{"name": "test", "rules": rules}]}))


def main():
    if len(sys.argv) < 5 or sys.argv[3] != "--":
        sys.exit(__doc__)
    folder, table, command = Path(sys.argv[1]).resolve(), Path(sys.argv[2]), sys.argv[4:]
    port, prometheus_port, redis, database, redis_exporter, postgres_exporter = (free_port() for _ in range(6))
    settings(folder, port, redis_exporter, postgres_exporter)
    with ExitStack() as stack:
        others = f"http://127.0.0.1:{stack.enter_context(serving(Accepting, 0))}"
        stack.enter_context(running("redis", ["redis-server", "--port", str(redis), "--bind", "127.0.0.1", "--save", "", "--dir", str(folder)], folder, signal.SIGTERM))
        until("Redis answers", lambda: socket.create_connection(("127.0.0.1", redis), 5).close() or True)
        dsn = f"postgresql://postgres@127.0.0.1:{database}/postgres?sslmode=disable"
        stack.enter_context(running("postgres", postgres(folder, database), folder, signal.SIGINT))
        # The exporters end by the signal itself.
        for name, command_line, environment in (
                ("redis-exporter", ["redis_exporter", f"-web.listen-address=127.0.0.1:{redis_exporter}", f"-redis.addr=redis://127.0.0.1:{redis}"], {}),
                ("postgres-exporter", ["postgres_exporter", f"--web.listen-address=127.0.0.1:{postgres_exporter}"], {"DATA_SOURCE_NAME": dsn})):
            stack.enter_context(running(name, command_line, folder, signal.SIGTERM, ends_with=(0, -signal.SIGTERM), **environment))
        component = f"127.0.0.1:{redis}"

        def example(stop, ends_with):
            return running(
                "example", command, folder, stop, ends_with=ends_with, SA_MONITORING__PROMETHEUS_PORT=str(port), SA_MONITORING__BEARER_TOKEN=TOKEN,
                SA_ALERTS__SLACK__WEBHOOK_URL=f"{others}/services/T/B/X",
                OTEL_EXPORTER_OTLP_ENDPOINT=others,
                SA_MONITORING__HEALTH_CHECK_INTERVAL_SECONDS="1",
                SA_HEALTH__CHECKS__BROKER__KIND="tcp", SA_HEALTH__CHECKS__BROKER__ADDRESS=component,
                SA_HEALTH__CHECKS__REDIS__KIND="redis", SA_HEALTH__CHECKS__REDIS__URL=f"redis://{component}",
                SA_HEALTH__CHECKS__DATABASE__KIND="postgres", SA_HEALTH__CHECKS__DATABASE__URL=dsn)

        stack.enter_context(running("prometheus", [
            "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--enable-feature=exemplar-storage",
            f"--web.listen-address=127.0.0.1:{prometheus_port}"], folder, signal.SIGTERM))
        prometheus = Prometheus(prometheus_port)

        def is_up(what, state):
            until(what, lambda: prometheus.ask("query", query=f'up{{job="alpha-oracle-metrics"}} == {state}')["result"])

        def ask_all():
            with table.open("w") as file:
                file.write("| panel | query | sample of the result |\n|---|---|---|\n")
                found = check(prometheus, Clock(start), file)
            assert not found, "\n" + "\n".join(found)
            return True

        with example(signal.SIGKILL, (-signal.SIGKILL,)):
            is_up("Prometheus scrapes it, with the token", 1)
            start = time.time()
            time.sleep(SECONDS)
            until("every panel has something to draw", ask_all)
            check_around(prometheus, Clock(start))
            print(f"ok: variables, annotations and exemplars; the table is {table}")
            orders = value(prometheus, Clock(start), "Orders")
        is_up("it is killed", 0)
        check_dead(prometheus, start)
        with example(signal.SIGINT, (0,)):
            is_up("it started again", 1)
            until("panels hold after a restart", lambda: check_restarted(prometheus, start, orders))
            until("the model is measured again", lambda: prometheus.ask("query", query='trading_alert_rule_state{rule="psi"} > -1')["result"])
            request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers={"Authorization": f"Bearer {TOKEN}"})
            with urllib.request.urlopen(request, timeout=10) as metrics:
                Frozen.text = metrics.read().decode()
        with serving(Frozen, port):
            is_up("it answers, and nothing happens", 1)
            time.sleep(2 * SCRAPE)
            start = time.time()
            time.sleep(10)
            check_closed(prometheus, start)


if __name__ == "__main__":
    main()
