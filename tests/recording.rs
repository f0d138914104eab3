//! What services record and what a scrape shows of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use trading_telemetry::metrics::catalog::Group;
use trading_telemetry::opentelemetry::KeyValue;
use trading_telemetry::testing::TestTelemetry;
use trading_telemetry::{OrderStatus, OrderType, PortfolioSnapshot, RiskResult, Side};

fn value(scrape: &str, series: &str) -> Option<f64> {
    scrape.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

#[test]
fn everything_known_is_zero_from_the_start_and_time_is_absent() {
    let telemetry = TestTelemetry::new();
    telemetry.metrics().strategy("S");
    let scrape = telemetry.scrape();
    for series in [
        "trading_orders_total{order_type=\"LIMIT\",side=\"BUY\",status=\"FILLED\",strategy=\"S\"}",
        "trading_trades_total{side=\"SELL\",strategy=\"S\"}",
        "trading_trade_pnl_dollars_count{strategy=\"S\"}",
        "trading_portfolio_equity_dollars",
        "trading_risk_checks_total{result=\"reduce_size\"}",
        "trading_kill_switch_active",
        "trading_fill_latency_ms_count",
        "trading_fill_latency_ms_bucket{le=\"+Inf\"}",
        "trading_ml_psi_drift",
        "trading_telemetry_refused_values_total{instrument=\"trading_ml_psi_drift\"}",
    ] {
        assert_eq!(value(&scrape, series), Some(0.0), "{series} in\n{scrape}");
    }
    assert!(!scrape.contains("\ntrading_portfolio_snapshot_timestamp_seconds "));
    assert!(!scrape.contains("trading_trade_pnl_dollars_sum"));
    assert!(!scrape.contains("_created"));
    assert!(!scrape.contains("otel_scope"));
}

#[test]
fn what_is_not_a_number_is_refused_and_counted() {
    let telemetry = TestTelemetry::new();
    let metrics = telemetry.metrics();
    metrics.ml().psi(0.3);
    metrics.ml().psi(f64::NAN);
    metrics.execution().fill_latency_ms(f64::INFINITY);
    metrics.strategy("S").pnl_dollars(f64::NEG_INFINITY);
    let good = PortfolioSnapshot { equity_dollars: 100.0, drawdown_pct: 2.0, ..PortfolioSnapshot::default() };
    metrics.portfolio().record(&good);
    metrics.portfolio().record(&PortfolioSnapshot { equity_dollars: 90.0, drawdown_pct: f64::NAN, ..good });
    let scrape = telemetry.scrape();
    assert_eq!(value(&scrape, "trading_ml_psi_drift"), Some(0.3));
    assert_eq!(value(&scrape, "trading_fill_latency_ms_count"), Some(0.0));
    assert_eq!(value(&scrape, "trading_portfolio_equity_dollars"), Some(90.0));
    assert_eq!(value(&scrape, "trading_portfolio_drawdown_pct"), Some(2.0));
    for instrument in [
        "trading_ml_psi_drift",
        "trading_fill_latency_ms",
        "trading_trade_pnl_dollars",
        "trading_portfolio_drawdown_pct",
    ] {
        let series = format!("trading_telemetry_refused_values_total{{instrument=\"{instrument}\"}}");
        assert_eq!(value(&scrape, &series), Some(1.0), "{instrument}");
    }
}

#[test]
fn five_thousand_strategies_are_counted_under_other_past_the_cap() {
    let telemetry = TestTelemetry::builder().max_strategies(64).build();
    for number in 0..5000 {
        telemetry.metrics().strategy(&format!("strategy-{number}")).trade(Side::Buy);
    }
    let hostile = "x".repeat(10_240);
    telemetry.metrics().strategy(&hostile).trade(Side::Buy);
    let scrape = telemetry.scrape();
    let trades = scrape.lines().filter(|line| line.starts_with("trading_trades_total{side=\"BUY\"")).count();
    assert_eq!(trades, 65);
    assert_eq!(value(&scrape, "trading_trades_total{side=\"BUY\",strategy=\"other\"}"), Some(4937.0));
    assert_eq!(value(&scrape, "trading_telemetry_over_cap_total{what=\"strategy\"}"), Some(4937.0));
    assert!(!scrape.contains("otel_metric_overflow"), "the SDK's own overflow never happens");
}

#[test]
fn a_hostile_label_is_escaped() {
    let telemetry = TestTelemetry::new();
    telemetry.metrics().strategy("a\"b\\c\nd😀").trade(Side::Buy);
    let expected = "trading_trades_total{side=\"BUY\",strategy=\"a\\\"b\\\\c\\nd😀\"} 1.0";
    assert!(telemetry.scrape().lines().any(|line| line == expected));
}

#[test]
fn a_feature_that_a_retrain_drops_vanishes() {
    let telemetry = TestTelemetry::new();
    let ml = telemetry.metrics().ml();
    ml.feature_importances([("rsi", 0.6), ("momentum", 0.4)]);
    ml.feature_importances([("rsi", 1.0)]);
    let scrape = telemetry.scrape();
    assert_eq!(value(&scrape, "trading_ml_feature_importance{feature=\"rsi\"}"), Some(1.0));
    assert!(!scrape.contains("momentum"));
}

#[test]
fn a_feature_that_is_given_twice_shows_its_last_importance() {
    let telemetry = TestTelemetry::new();
    telemetry.metrics().ml().feature_importances([("rsi", 0.6), ("momentum", 0.4), ("rsi", 0.5)]);
    assert_eq!(value(&telemetry.scrape(), "trading_ml_feature_importance{feature=\"rsi\"}"), Some(0.5));
}

#[test]
fn breakers_are_counted_by_their_state() {
    let telemetry = TestTelemetry::new();
    let risk = telemetry.metrics().risk();
    risk.breaker("daily_loss").set(true);
    risk.breaker("daily_loss").set(true);
    risk.breaker("drawdown").set(true);
    risk.breaker("daily_loss").set(false);
    let scrape = telemetry.scrape();
    assert_eq!(value(&scrape, "trading_circuit_breakers_tripped"), Some(1.0));
    assert_eq!(value(&scrape, "trading_circuit_breaker_tripped{breaker=\"daily_loss\"}"), Some(0.0));
    assert_eq!(value(&scrape, "trading_circuit_breaker_tripped{breaker=\"drawdown\"}"), Some(1.0));
}

#[test]
fn a_group_that_is_not_listed_appears_when_it_is_recorded() {
    let telemetry = TestTelemetry::builder().groups([Group::Risk]).build();
    let scrape = telemetry.scrape();
    assert!(scrape.contains("trading_kill_switch_active"));
    assert!(!scrape.contains("# TYPE trading_portfolio_equity_dollars"));
    assert!(scrape.contains("trading_system_info"));
    telemetry
        .metrics()
        .portfolio()
        .record(&PortfolioSnapshot { cash_dollars: 5.0, ..PortfolioSnapshot::default() });
    assert_eq!(value(&telemetry.scrape(), "trading_portfolio_cash_dollars"), Some(5.0));
}

#[test]
fn families_stand_in_the_order_of_the_catalogue() {
    let telemetry = TestTelemetry::new();
    let scrape = telemetry.scrape();
    let families: Vec<_> =
        scrape.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let catalogue = trading_telemetry::metrics::catalog::CATALOG.iter().map(|row| row.name);
    let expected: Vec<_> = catalogue.filter(|name| families.contains(name)).collect();
    let ours: Vec<_> = families.iter().copied().filter(|name| expected.contains(name)).collect();
    assert_eq!(ours, expected);
    assert!(families.len() >= 40, "{families:?}");
}

#[test]
fn exemplars_lead_from_a_bucket_to_the_order() {
    let telemetry = TestTelemetry::new();
    telemetry.run(|| {
        let _order = telemetry.order("abc123").span("fill").entered();
        telemetry.metrics().execution().fill_latency_ms(1250.0);
        telemetry.metrics().strategy("S").order(Side::Buy, OrderType::Limit, OrderStatus::Filled);
        telemetry.metrics().risk().check(RiskResult::Approve);
    });
    let context = telemetry.spans()[0].span_context.clone();
    let exemplar = format!(
        " # {{trace_id=\"{}\",span_id=\"{}\",order_id=\"abc123\"}} ",
        context.trace_id(),
        context.span_id()
    );
    let scrape = telemetry.scrape_openmetrics();
    assert!(
        scrape.contains(&format!("trading_fill_latency_ms_bucket{{le=\"2000.0\"}} 1.0{exemplar}1250.0")),
        "{scrape}"
    );
    assert!(scrape.contains(&format!("status=\"FILLED\",strategy=\"S\"}} 1.0{exemplar}1.0")));
    assert!(!telemetry.scrape().contains("abc123"), "text 0.0.4 has no exemplars");
    assert!(scrape.ends_with("# EOF\n"));
}

/// Eight threads record while another scrapes: each scrape shows histograms whose buckets, count and sum agree, and
/// at the end nothing is lost. Ten seconds here; `RECORDING_SECONDS` makes it longer.
#[expect(clippy::float_cmp, reason = "sums of whole numbers are exact far beyond these counts")]
#[test]
fn concurrent_scrapes_see_no_torn_histogram_and_nothing_is_lost() {
    let seconds = std::env::var("RECORDING_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let telemetry = Arc::new(TestTelemetry::new());
    let stop = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let (telemetry, stop) = (Arc::clone(&telemetry), Arc::clone(&stop));
            std::thread::spawn(move || {
                let swing = telemetry.metrics().strategy("S");
                let mut recorded = 0_u64;
                while !stop.load(Ordering::Relaxed) {
                    for _ in 0..100 {
                        // One value a bucket: the buckets of a whole histogram say what its sum is.
                        for value in [50.0, 600.0, 3_000.0] {
                            telemetry.metrics().execution().fill_latency_ms(value);
                            swing.order(Side::Buy, OrderType::Limit, OrderStatus::Filled);
                            recorded += 1;
                        }
                    }
                }
                recorded
            })
        })
        .collect();
    let until = Instant::now() + Duration::from_secs(seconds);
    let mut last = 0.0;
    let read = |scrape: &str| {
        let figure = |series: &str| value(scrape, series).expect("on the scrape");
        let count = figure("trading_fill_latency_ms_count");
        let up_to = |bound: &str| figure(&format!("trading_fill_latency_ms_bucket{{le=\"{bound}\"}}"));
        let (fast, middle) = (up_to("100.0"), up_to("1000.0"));
        assert_eq!((up_to("500.0"), up_to("2000.0")), (fast, middle));
        assert_eq!((up_to("5000.0"), up_to("+Inf")), (count, count));
        let sum = fast * 50.0 + (middle - fast) * 600.0 + (count - middle) * 3_000.0;
        assert_eq!(figure("trading_fill_latency_ms_sum"), sum);
        count
    };
    while Instant::now() < until {
        let count = read(&telemetry.scrape());
        assert!(count >= last, "a counter never goes down");
        last = count;
    }
    stop.store(true, Ordering::Relaxed);
    let recorded: u64 = threads.into_iter().map(|thread| thread.join().expect("no thread panics")).sum();
    let scrape = telemetry.scrape();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let recorded = recorded as f64;
    assert_eq!(read(&scrape), recorded);
    let orders = "trading_orders_total{order_type=\"LIMIT\",side=\"BUY\",status=\"FILLED\",strategy=\"S\"}";
    assert_eq!(value(&scrape, orders), Some(recorded));
}

#[test]
fn a_counter_of_the_services_own_never_goes_down() {
    let telemetry = TestTelemetry::new();
    let fees = telemetry.meter("fees").f64_counter("fees.paid").build();
    fees.add(2.5, &[]);
    fees.add(-1.0, &[]);
    fees.add(f64::NAN, &[]);
    let scrape = telemetry.scrape();
    assert_eq!(value(&scrape, "fees_paid_total"), Some(2.5));
    assert_eq!(value(&scrape, "trading_telemetry_refused_values_total{instrument=\"fees.paid\"}"), Some(2.0));
}

#[test]
fn what_a_callback_reports_is_refused_and_counted_too() {
    let telemetry = TestTelemetry::new();
    let meter = telemetry.meter("fees");
    let open = KeyValue::new("state", "open");
    let state = open.clone();
    meter
        .f64_observable_gauge("margin")
        .with_callback(move |observer| {
            observer.observe(f64::NAN, &[]);
            observer.observe(0.25, std::slice::from_ref(&state));
        })
        .build();
    meter.f64_observable_counter("fees.paid").with_callback(|observer| observer.observe(-4.0, &[])).build();
    meter
        .f64_observable_up_down_counter("balance")
        .with_callback(move |observer| {
            observer.observe(-4.0, std::slice::from_ref(&open));
            observer.observe(f64::INFINITY, &[]);
        })
        .build();
    telemetry.scrape();
    let scrape = telemetry.scrape();
    assert_eq!(value(&scrape, "margin{state=\"open\"}"), Some(0.25));
    assert_eq!(value(&scrape, "balance{state=\"open\"}"), Some(-4.0));
    assert_eq!(value(&scrape, "fees_paid_total"), None);
    assert_eq!((value(&scrape, "margin"), value(&scrape, "balance")), (None, None));
    for instrument in ["margin", "fees.paid", "balance"] {
        let refused = format!("trading_telemetry_refused_values_total{{instrument=\"{instrument}\"}}");
        assert!(value(&scrape, &refused) >= Some(1.0), "{instrument}");
    }
}
