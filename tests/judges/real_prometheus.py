"""Lets a real Prometheus scrape a running example and asks it for series and exemplars.

    real_prometheus.py SCRATCH -- COMMAND…

COMMAND starts the example, which listens on SA_MONITORING__PROMETHEUS_PORT and ends with 0 on SIGINT. prometheus and
promtool are found on the PATH. Everything is stopped at the end; data and logs are under SCRATCH.
"""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.parse
from contextlib import ExitStack
from pathlib import Path

from programs import free_port, get, running, until

# promtool's only objections, which the documented names themselves cause.
WARNINGS = {
    "trading_fill_latency_ms metric names should not contain abbreviated units",
    'trading_portfolio_positions_count non-histogram and non-summary metrics should not have "_count" suffix',
}


class Prometheus:
    def __init__(self, port):
        self.api = f"http://127.0.0.1:{port}/api/v1"

    def ask(self, path, **parameters):
        answer = json.loads(get(f"{self.api}/{path}?{urllib.parse.urlencode(parameters)}"))
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, promql):
        return self.ask("query", query=promql)["result"]

    def value(self, promql):
        found = self.query(promql)
        return float(found[0]["value"][1]) if found else None

    def exemplars(self, selector):
        now = time.time()
        return [one["labels"] for series in self.ask("query_exemplars", query=selector, start=now - 600, end=now + 1)
                for one in series["exemplars"]]


def check_form(target):
    """promtool's lint of the text scrape finds exactly the known warnings."""
    found = subprocess.run(["promtool", "check", "metrics"], input=get(target), text=True, capture_output=True, check=False)
    problems = {line.strip() for line in (found.stdout + found.stderr).splitlines() if line.strip()}
    assert problems == WARNINGS, f"promtool says {sorted(problems)}"


def check_series(prometheus, target):
    """Every sample name of the scrape is in Prometheus, under the names of the text format."""
    names = {match[0] for match in re.finditer(r"^[a-z_][\w:]*", get(target), re.MULTILINE)}
    missing = names - {one["metric"]["__name__"] for one in prometheus.query('count by (__name__) ({job="replay"})')}
    assert not missing, f"not in Prometheus: {sorted(missing)}"
    return len(names)


def exemplars_of_an_order(prometheus, selector):
    return [labels for labels in prometheus.exemplars(selector)
            if re.fullmatch("(?!0{32})[0-9a-f]{32}", labels.get("trace_id", "")) and labels.get("order_id")]


def main():
    if len(sys.argv) < 4 or sys.argv[2] != "--":
        sys.exit(__doc__)
    folder, command = Path(sys.argv[1]).resolve(), sys.argv[3:]
    port, prometheus_port = free_port(), free_port()
    target = f"http://127.0.0.1:{port}/metrics"
    (folder / "prometheus.yml").write_text(json.dumps({
        "global": {"scrape_interval": "1s", "scrape_timeout": "1s"},
        "scrape_configs": [{"job_name": "replay", "static_configs": [{"targets": [f"127.0.0.1:{port}"]}]}],
    }))
    with ExitStack() as stack:
        stack.enter_context(running("example", command, folder, signal.SIGINT, SA_MONITORING__PROMETHEUS_PORT=str(port)))
        until("the example answers", lambda: get(target))
        stack.enter_context(running("prometheus", [
            "prometheus", "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--enable-feature=exemplar-storage",
            f"--web.listen-address=127.0.0.1:{prometheus_port}"], folder, signal.SIGTERM))
        prometheus = Prometheus(prometheus_port)
        until("Prometheus scrapes it", lambda: prometheus.value('up{job="replay"}') == 1)
        until("orders are filled", lambda: prometheus.value('sum(trading_orders_total{status="FILLED"})'))
        until("the portfolio is worth something", lambda: prometheus.value("trading_portfolio_equity_dollars"))
        until("the latency histogram has a quantile",
              lambda: prometheus.value("histogram_quantile(0.5, sum by (le) (trading_fill_latency_ms_bucket))"))
        until("bounds are written as Python writes them", lambda: prometheus.query('trading_slippage_bps_bucket{le="1.0"}'))
        until("closed trades are counted", lambda: prometheus.value("sum(trading_trade_pnl_dollars_count)"))
        until("who it is", lambda: prometheus.query('trading_system_info{version=~".+",environment=~".+",broker=~".+"}'))
        assert not prometheus.query("trading_trade_pnl_dollars_sum"), "a histogram of negative values exposes a _sum"
        until("every series of the scrape is there", lambda: check_series(prometheus, target))
        for selector in ("trading_fill_latency_ms_bucket", "trading_orders_total"):
            found = until(f"exemplars of {selector} carry trace id and order id",
                          lambda selector=selector: exemplars_of_an_order(prometheus, selector))
            print(f"    {len(found)}, such as {found[-1]}")
        # The most that the example will show: everything above has been recorded.
        check_form(target)
        print("ok: promtool finds the two known warnings and nothing else")


if __name__ == "__main__":
    main()
