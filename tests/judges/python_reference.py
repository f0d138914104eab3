"""What Python's prometheus_client exposes for the documented example calls: the reference of compare.py.

    python_reference.py --text | --openmetrics
"""

import sys

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

disable_created_metrics()
REGISTRY = CollectorRegistry()


def make(kind, name, help_text, labels=(), **more):
    return kind(name, help_text, labels, registry=REGISTRY, **more)


PNL = (-1000, -500, -200, -100, -50, -20, 0, 20, 50, 100, 200, 500, 1000)

system_info = make(Info, "trading_system", "Trading system information")
orders = make(Counter, "trading_orders_total", "Total orders submitted", ("side", "order_type", "strategy", "status"))
trades = make(Counter, "trading_trades_total", "Total trades executed", ("side", "strategy"))
trade_pnl = make(Histogram, "trading_trade_pnl_dollars", "Trade P&L in dollars", ("strategy",), buckets=PNL)
equity = make(Gauge, "trading_portfolio_equity_dollars", "Total portfolio equity")
cash = make(Gauge, "trading_portfolio_cash_dollars", "Available cash")
positions = make(Gauge, "trading_portfolio_positions_count", "Number of open positions")
daily_pnl = make(Gauge, "trading_portfolio_daily_pnl_dollars", "Daily P&L in dollars")
daily_pnl_pct = make(Gauge, "trading_portfolio_daily_pnl_pct", "Daily P&L percentage")
drawdown = make(Gauge, "trading_portfolio_drawdown_pct", "Current drawdown percentage")
risk_checks = make(Counter, "trading_risk_checks_total", "Total risk checks performed", ("result",))
pdt = make(Gauge, "trading_pdt_trades_used", "Day trades used in rolling 5-day window (max 3)")
breakers = make(Gauge, "trading_circuit_breakers_tripped", "Number of circuit breakers currently tripped")
kill_switch = make(Gauge, "trading_kill_switch_active", "Kill switch status")
latency = make(Histogram, "trading_fill_latency_ms", "Time from signal to fill in milliseconds",
               buckets=(100, 500, 1000, 2000, 5000, 10000))
slippage = make(Histogram, "trading_slippage_bps", "Execution slippage in basis points", buckets=(0, 1, 2, 5, 10, 20, 50))
accuracy = make(Gauge, "trading_ml_model_accuracy", "Current ML model accuracy")
psi = make(Gauge, "trading_ml_psi_drift", "Population Stability Index (model drift)")

system_info.info({"version": "1.0.0", "environment": "production", "broker": "ibkr"})
orders.labels(side="BUY", order_type="LIMIT", strategy="SwingMomentum", status="FILLED").inc()
trades.labels(side="BUY", strategy="SwingMomentum").inc()
trade_pnl.labels(strategy="SwingMomentum").observe(150.50)
equity.set(105432.50)
cash.set(52716.25)
positions.set(8)
daily_pnl.set(543.20)
daily_pnl_pct.set(0.52)
drawdown.set(3.2)
risk_checks.labels(result="approve").inc()
pdt.set(2)
breakers.set(0)
kill_switch.set(0)
latency.observe(1250)
slippage.observe(3.3)
accuracy.set(0.58)
psi.set(0.12)

encoders = {"--text": generate_latest, "--openmetrics": generate_openmetrics}
if len(sys.argv) != 2 or sys.argv[1] not in encoders:
    sys.exit(__doc__)
sys.stdout.buffer.write(encoders[sys.argv[1]](REGISTRY))
