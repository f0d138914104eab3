//! Makes one known call of each instrument and prints the scrape, so that other implementations can be compared.
//!
//! `golden_calls --text` prints text 0.0.4, `golden_calls --openmetrics` OpenMetrics 1.0.0.

use std::process::ExitCode;

use trading_telemetry::testing::TestTelemetry;
use trading_telemetry::{OrderStatus, OrderType, PortfolioSnapshot, RiskResult, Side};

fn main() -> ExitCode {
    let telemetry =
        TestTelemetry::builder().version("1.0.0").environment("production").broker("ibkr").build();
    let metrics = telemetry.metrics();
    let swing = metrics.strategy("SwingMomentum");
    swing.order(Side::Buy, OrderType::Limit, OrderStatus::Filled);
    swing.trade(Side::Buy);
    swing.pnl_dollars(150.50);
    metrics.portfolio().record(&PortfolioSnapshot {
        equity_dollars: 105_432.50,
        cash_dollars: 52_716.25,
        positions: 8,
        daily_pnl_dollars: 543.20,
        daily_pnl_pct: 0.52,
        drawdown_pct: 3.2,
    });
    metrics.risk().check(RiskResult::Approve);
    metrics.risk().pdt_trades_used(2);
    metrics.risk().circuit_breakers_tripped(0);
    metrics.risk().kill_switch(false);
    metrics.execution().fill_latency_ms(1250.0);
    metrics.execution().slippage_bps(3.3);
    metrics.ml().accuracy(0.58);
    metrics.ml().psi(0.12);

    match std::env::args().nth(1).as_deref() {
        Some("--text") => print(&telemetry.scrape()),
        Some("--openmetrics") => print(&telemetry.scrape_openmetrics()),
        _ => {
            print("usage: golden_calls --text | --openmetrics\n");
            ExitCode::from(2)
        }
    }
}

fn print(scrape: &str) -> ExitCode {
    use std::io::Write;
    match std::io::stdout().write_all(scrape.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
