use std::collections::HashMap;
use std::sync::Arc;

use opentelemetry::KeyValue;
use opentelemetry::trace::{SpanId, TraceId};
use opentelemetry_sdk::Resource;

use super::parser::{family, parse};
use super::{catalogue_of, histogram, render, select, single};
use crate::exposition::{Families, Format, NameFilter, Selection};
use crate::metrics::catalog::{CATALOG, Group, Instrument};
use crate::metrics::{Catalogue, Collected, Exemplar, Exemplars, SeriesExemplars};

/// What the calls of the specification's example come to.
fn recorded() -> Collected {
    let mut all = Catalogue::default();
    let strategy = "SwingMomentum";
    single(&mut all, "trading_system_info", &["1.0.0", "production", "ibkr"], 1.0);
    single(&mut all, "trading_orders_total", &["BUY", "LIMIT", strategy, "FILLED"], 1.0);
    single(&mut all, "trading_trades_total", &["BUY", strategy], 1.0);
    histogram(&mut all, "trading_trade_pnl_dollars", &[strategy], &[150.50]);
    for (gauge, value) in [
        ("trading_portfolio_equity_dollars", 105_432.50),
        ("trading_portfolio_cash_dollars", 52_716.25),
        ("trading_portfolio_positions_count", 8.0),
        ("trading_portfolio_daily_pnl_dollars", 543.20),
        ("trading_portfolio_daily_pnl_pct", 0.52),
        ("trading_portfolio_drawdown_pct", 3.2),
        ("trading_pdt_trades_used", 2.0),
        ("trading_circuit_breakers_tripped", 0.0),
        ("trading_kill_switch_active", 0.0),
        ("trading_ml_model_accuracy", 0.58),
        ("trading_ml_psi_drift", 0.12),
    ] {
        single(&mut all, gauge, &[], value);
    }
    single(&mut all, "trading_risk_checks_total", &["approve"], 1.0);
    histogram(&mut all, "trading_fill_latency_ms", &[], &[1250.0]);
    histogram(&mut all, "trading_slippage_bps", &[], &[3.3]);
    catalogue_of(all)
}

/// The families that Python's client has, too.
fn only_pythons(collected: Collected) -> Collected {
    let pythons: Vec<&str> = CATALOG.iter().map(|row| row.name).take(18).collect();
    Collected { published: Arc::new(move |row: &Instrument| pythons.contains(&row.name)), ..collected }
}

#[test]
fn the_bytes_are_those_of_pythons_client() {
    // Written by prometheus_client 0.26 after the same calls, with `_created` switched off.
    let collected = only_pythons(recorded());
    assert_eq!(render(&collected, Format::Text), include_str!("../golden/python_text.txt"));
    assert_eq!(render(&collected, Format::OpenMetrics), include_str!("../golden/python_openmetrics.txt"));
}

#[test]
fn every_family_is_there_from_the_start_in_the_catalogues_order() {
    let mut all = Catalogue::default();
    histogram(&mut all, "trading_fill_latency_ms", &[], &[]);
    let scrape = render(&catalogue_of(all), Format::Text);
    let families = parse(&scrape, Format::Text).unwrap();
    let names: Vec<&str> = families.iter().map(|family| family.name.as_str()).collect();
    assert_eq!(names, CATALOG.iter().map(|row| row.name).collect::<Vec<_>>());

    // All that there is yet is a histogram at 0.
    let filled: Vec<&str> =
        families.iter().filter(|one| !one.samples.is_empty()).map(|one| one.name.as_str()).collect();
    assert_eq!(filled, ["trading_fill_latency_ms"]);
    let latency = family(&families, "trading_fill_latency_ms").unwrap();
    assert_eq!(latency.samples.len(), 6 + 1 + 2);
    assert!(latency.samples.iter().all(|sample| sample.value == 0.0));
}

#[test]
fn what_is_not_published_is_left_out() {
    let collected =
        Collected { published: Arc::new(|row: &Instrument| row.group == Group::Risk), ..recorded() };
    let families = parse(&render(&collected, Format::Text), Format::Text).unwrap();
    assert_eq!(families.len(), CATALOG.iter().filter(|row| row.group == Group::Risk).count());
    assert!(families.iter().all(|family| family.name.contains("risk")
        || family.name.contains("breaker")
        || family.name.contains("pdt")
        || family.name.contains("kill_switch")));
}

#[test]
fn a_second_server_shows_health_and_the_info_alone() {
    let collected = recorded();
    let selection = Selection { families: Families::default(), names: None };
    let families = parse(&select(&collected, &selection, Format::Text), Format::Text).unwrap();
    let names: Vec<&str> = families.iter().map(|family| family.name.as_str()).collect();
    let wanted = CATALOG.iter().filter(|row| matches!(row.group, Group::System | Group::Health));
    assert_eq!(names, wanted.map(|row| row.name).collect::<Vec<_>>());
}

#[test]
fn name_takes_a_family_by_any_of_its_names() {
    let collected = recorded();
    let names = |query: &str| {
        let names = NameFilter::from_query(Some(query));
        let text = select(&collected, &Selection { names, ..Selection::all() }, Format::Text);
        parse(&text, Format::Text).unwrap().into_iter().map(|family| family.name).collect::<Vec<_>>()
    };
    assert_eq!(names("name[]=trading_slippage_bps"), ["trading_slippage_bps"]);
    assert_eq!(names("name[]=trading_slippage_bps_bucket"), ["trading_slippage_bps"]);
    assert_eq!(names("name[]=trading_orders"), ["trading_orders_total"]);
    assert_eq!(
        names("name[]=trading_trades_total&name[]=trading_system_info"),
        ["trading_system_info", "trading_trades_total"]
    );
    assert!(names("name[]=nobody").is_empty());
}

#[test]
fn series_are_sorted_at_every_scrape() {
    let mut renderer = super::Renderer::default();
    for round in 0..40 {
        let mut all = Catalogue::default();
        for strategy in 0..=round {
            let strategy = format!("strategy {}", (strategy * 7) % 40);
            for (side, status) in [("SELL", "REJECTED"), ("BUY", "FILLED")] {
                single(&mut all, "trading_orders_total", &[side, "LIMIT", &strategy, status], 1.0);
            }
        }
        let scrape = renderer.render(&catalogue_of(all), &Selection::all(), Format::Text);
        let scrape = String::from_utf8(scrape).unwrap();
        let lines: Vec<&str> =
            scrape.lines().filter(|line| line.starts_with("trading_orders_total{")).collect();
        assert_eq!(lines.len(), 2 * (round + 1));
        assert!(lines.is_sorted(), "{lines:?}");
    }
}

#[test]
fn target_info_follows_the_catalogue() {
    let resource = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", "risk \"1\""),
            KeyValue::new("service.instance.id", "i"),
        ])
        .build();
    let collected = Collected { resource, ..catalogue_of(Catalogue::default()) };
    let text = render(&collected, Format::Text);
    assert!(text.ends_with(concat!(
        "# HELP target_info Target metadata\n# TYPE target_info gauge\n",
        "target_info{service_instance_id=\"i\",service_name=\"risk \\\"1\\\"\"} 1.0\n"
    )));
    let openmetrics = render(&collected, Format::OpenMetrics);
    assert!(openmetrics.contains("# TYPE target info\ntarget_info{"));
    parse(&openmetrics, Format::OpenMetrics).unwrap();
}

/// Exemplars for each series of two instruments.
struct Kept(HashMap<&'static str, Vec<Option<f64>>>);
struct Slots(Vec<Option<f64>>);

impl Exemplars for Kept {
    fn series(&self, row: usize, series: usize) -> Option<Arc<dyn SeriesExemplars>> {
        assert_eq!(series, 0);
        Some(Arc::new(Slots(self.0.get(CATALOG[row].name)?.clone())))
    }
}

impl SeriesExemplars for Slots {
    fn slot(&self, index: usize) -> Option<Exemplar> {
        Some(Exemplar {
            trace_id: TraceId::from(7),
            span_id: SpanId::from(9),
            order_id: Some("abc123".into()),
            value: (*self.0.get(index)?)?,
        })
    }
}

#[test]
fn exemplars_stand_on_counters_and_filled_buckets_of_openmetrics_alone() {
    let mut kept = HashMap::new();
    kept.insert("trading_orders_total", vec![Some(1.0)]);
    // 1250 lies in the fourth bucket; one in the last was recorded after this collection.
    kept.insert("trading_fill_latency_ms", vec![None, None, None, Some(1250.0), None, None, Some(20_000.0)]);
    kept.insert("trading_portfolio_equity_dollars", vec![Some(1.0)]);
    let collected = Collected { exemplars: Arc::new(Kept(kept)), ..recorded() };

    assert!(!render(&collected, Format::Text).contains(" # {"));
    let text = render(&collected, Format::OpenMetrics);
    let families = parse(&text, Format::OpenMetrics).unwrap();
    let with: Vec<(String, f64)> = families
        .iter()
        .flat_map(|family| &family.samples)
        .filter_map(|sample| {
            let (labels, value) = sample.exemplar.as_ref()?;
            assert_eq!(labels["order_id"], "abc123");
            assert_eq!(labels["trace_id"], "00000000000000000000000000000007");
            Some((sample.name.clone() + sample.labels.get("le").map_or("", String::as_str), *value))
        })
        .collect();
    assert_eq!(
        with,
        [
            ("trading_orders_total".to_owned(), 1.0),
            ("trading_fill_latency_ms_bucket2000.0".to_owned(), 1250.0)
        ]
    );
    assert!(text.contains(concat!(
        "trading_fill_latency_ms_bucket{le=\"2000.0\"} 1.0",
        " # {trace_id=\"00000000000000000000000000000007\",span_id=\"0000000000000009\",order_id=\"abc123\"} 1250.0\n"
    )));
}
