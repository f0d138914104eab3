//! No recording call of the typed groups allocates, outside an order span and inside a sampled one.

use trading_telemetry::testing::TestTelemetry;
use trading_telemetry::{OrderStatus, OrderType, PortfolioSnapshot, RiskResult, Side};

#[test]
fn no_recording_call_allocates() {
    let telemetry = TestTelemetry::new();
    let metrics = telemetry.metrics();
    let swing = metrics.strategy("SwingMomentum");
    let breaker = metrics.risk().breaker("daily_loss");
    let record = |round: u32| {
        let value = f64::from(round);
        for side in Side::ALL {
            for order_type in OrderType::ALL {
                for status in OrderStatus::ALL {
                    swing.order(*side, *order_type, *status);
                }
            }
            swing.trade(*side);
        }
        swing.pnl_dollars(value - 50.0);
        metrics
            .portfolio()
            .record(&PortfolioSnapshot { equity_dollars: value, ..PortfolioSnapshot::default() });
        for result in RiskResult::ALL {
            metrics.risk().check(*result);
        }
        metrics.risk().pdt_trades_used(round % 4);
        metrics.risk().kill_switch(round.is_multiple_of(2));
        metrics.risk().circuit_breakers_tripped(round % 3);
        breaker.set(round % 2 == 1);
        metrics.execution().fill_latency_ms(value * 100.0);
        metrics.execution().slippage_bps(value);
        metrics.ml().accuracy(0.5);
        metrics.ml().psi(0.1);
        metrics.ml().prediction_confidence(value / 100.0);
        // Refusing is free as well, once the first refusal has been told.
        metrics.ml().psi(f64::NAN);
    };
    // First recordings register thread-locals and say what they have to say.
    telemetry.run(|| {
        let _order = telemetry.order("abc123").span("warm_up").entered();
        record(0);
    });

    let outside = allocation_counter::measure(|| (0..100).for_each(record));
    assert_eq!(outside.count_total, 0, "outside a span: {outside:?}");

    telemetry.run(|| {
        let _order = telemetry.order("abc123").symbol("AAPL").span("submit_order").entered();
        let inside = allocation_counter::measure(|| (0..100).for_each(record));
        assert_eq!(inside.count_total, 0, "inside a sampled order span: {inside:?}");
    });
    assert!(telemetry.scrape_openmetrics().contains("order_id=\"abc123\""));
}

#[test]
fn a_new_thread_allocates_once_for_its_context() {
    let telemetry = TestTelemetry::new();
    let swing = telemetry.metrics().strategy("SwingMomentum");
    let calls = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            [0.0, 1.0].map(|pnl| {
                allocation_counter::measure(|| {
                    swing.order(Side::Buy, OrderType::Limit, OrderStatus::Filled);
                    swing.pnl_dollars(pnl);
                    telemetry.metrics().execution().slippage_bps(pnl);
                })
            })
        });
        thread.join().unwrap()
    });
    assert!(calls[0].count_total <= 1, "{:?}", calls[0]);
    assert_eq!(calls[1].count_total, 0, "{:?}", calls[1]);
}

#[test]
fn a_known_strategy_is_found_without_allocating() {
    let telemetry = TestTelemetry::new();
    telemetry.metrics().strategy("SwingMomentum").trade(Side::Buy);
    let known = allocation_counter::measure(|| {
        telemetry.metrics().strategy("SwingMomentum").trade(Side::Buy);
    });
    assert_eq!(known.count_total, 0, "{known:?}");
}
