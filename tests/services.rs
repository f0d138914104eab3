//! The system as six processes on one host with one settings file, each with its port and its groups.
#![expect(clippy::unwrap_used, reason = "a service of a test that cannot go on fails, and the test with it")]

#[path = "support/http.rs"]
mod http;
#[path = "support/process.rs"]
mod process;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use http::{scrape, try_scrape, value};
use process::{events, eventually, free_port, log_lines, port, service, until_told};
use trading_telemetry::metrics::catalog::{CATALOG, Group, Instrument};
use trading_telemetry::{
    OrderStatus, OrderType, PortfolioSnapshot, RiskResult, Side, Telemetry, init_telemetry,
};

/// Who owns what.
const SERVICES: [(&str, &[Group]); 6] = [
    ("api", &[]),
    ("execution", &[Group::Orders, Group::Execution]),
    ("risk", &[Group::Risk]),
    ("portfolio", &[Group::Portfolio]),
    ("signals", &[Group::Ml]),
    ("feed", &[Group::Health]),
];

/// What each service records, as far as it is its own.
fn work(telemetry: &Telemetry) {
    let metrics = telemetry.metrics();
    match telemetry.service_name() {
        "execution" => {
            let strategy = metrics.strategy("SwingMomentum");
            strategy.order(Side::Buy, OrderType::Limit, OrderStatus::Filled);
            strategy.trade(Side::Buy);
            strategy.pnl_dollars(150.5);
            metrics.execution().fill_latency_ms(1250.0);
            metrics.execution().slippage_bps(3.3);
        }
        "risk" => {
            metrics.risk().check(RiskResult::Approve);
            metrics.risk().pdt_trades_used(2);
            metrics.risk().breaker("daily_loss").set(true);
            metrics.risk().kill_switch(true);
        }
        "portfolio" => metrics.portfolio().record(&PortfolioSnapshot {
            equity_dollars: 105_432.5,
            cash_dollars: 52_716.25,
            positions: 8,
            daily_pnl_dollars: 543.2,
            daily_pnl_pct: 0.52,
            drawdown_pct: 3.2,
        }),
        "signals" => {
            metrics.ml().accuracy(0.58);
            metrics.ml().psi(0.12);
            metrics.ml().prediction_confidence(0.7);
            metrics.ml().feature_importances([("momentum", 0.4)]);
        }
        _ => {}
    }
    telemetry.meter("own").u64_counter("requests").build().add(1, &[]);
}

/// Whether the scrape has a sample of the row's family.
fn has_samples(scrape: &str, row: &Instrument) -> bool {
    scrape.lines().filter_map(|line| line.strip_prefix(row.name)).any(|rest| {
        let rest =
            ["_bucket", "_count", "_sum"].iter().find_map(|suffix| rest.strip_prefix(suffix)).unwrap_or(rest);
        rest.starts_with(['{', ' '])
    })
}

#[test]
fn every_trading_family_has_one_owner_and_no_false_zero_stands_beside_it() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        work(&telemetry);
        until_told();
        telemetry.shutdown().unwrap();
    });
    let ports = SERVICES.map(|(name, _)| (name, free_port()));
    let mut settings = String::from("system: {broker: ibkr}\nservices:\n");
    for ((name, groups), (_, port)) in SERVICES.iter().zip(ports) {
        let groups: Vec<&str> = groups.iter().map(|group| group.as_str()).collect();
        writeln!(
            settings,
            "  {name}: {{monitoring: {{prometheus_port: {port}}}, metrics: {{groups: [{}]}}}}",
            groups.join(", ")
        )
        .unwrap();
    }
    let service = service.settings(&settings);
    // The file alone says where each one is.
    let running = ports.map(|(name, _)| {
        service.start(&[("OTEL_SERVICE_NAME", name), ("SA_MONITORING__PROMETHEUS_PORT", "")])
    });
    let scrapes: BTreeMap<&str, String> = ports
        .into_iter()
        .map(|(name, port)| {
            let ready = || try_scrape(port).filter(|scrape| scrape.contains("requests_total 1.0"));
            eventually("a scrape that ends after the work", ready);
            // Of that one the catalogue may have been collected before it.
            (name, scrape(port))
        })
        .collect();

    let mut families = 0;
    for row in CATALOG {
        let owners: Vec<&str> =
            scrapes.iter().filter(|(_, scrape)| has_samples(scrape, row)).map(|(name, _)| *name).collect();
        if !row.group.is_optional() {
            continue;
        }
        let (owner, _) = SERVICES.iter().find(|(_, groups)| groups.contains(&row.group)).unwrap();
        if owners.is_empty() {
            assert_eq!(row.group, Group::Health, "nobody has {}", row.name);
            continue;
        }
        assert_eq!(owners, [*owner], "{}", row.name);
        families += 1;
    }
    assert!(families >= 22, "{families}");

    for (name, right) in
        [("trading_portfolio_equity_dollars", 105_432.5), ("trading_kill_switch_active", 1.0)]
    {
        let values: Vec<f64> = scrapes.values().filter_map(|scrape| value(scrape, name)).collect();
        assert_eq!(values, [right], "{name}");
    }
    for (name, scrape) in &scrapes {
        assert!(scrape.contains("trading_system_info{broker=\"ibkr\""), "{name}");
        assert!(scrape.contains("process_start_time_seconds "), "{name}");
        assert!(scrape.contains(&format!("service_name=\"{name}\"")), "{name} says who it is in target_info");
    }

    for one in running {
        one.finish();
    }
    for (name, _) in SERVICES {
        let log = log_lines(service.folder(), name);
        assert_eq!(events(&log, "telemetry_started").len(), 1, "{name} has a log of its own");
        // The risk manager's kill switch is on, which is an alert and no error of its own.
        let is_fine = |line: &serde_json::Value| line["level"] != "error" || line["event"] == "alert";
        assert!(log.iter().all(|line| line["service"] == name && is_fine(line)), "{log:?}");
    }
}

#[test]
fn what_is_recorded_to_a_group_that_is_not_listed_is_published_with_a_warning() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        let before = scrape(port());
        assert!(!before.contains("# TYPE trading_kill_switch_active"));
        assert_eq!(value(&before, "trading_kill_switch_active"), None);
        for _ in 0..3 {
            telemetry.metrics().risk().kill_switch(true);
        }
        let after = scrape(port());
        assert_eq!(value(&after, "trading_kill_switch_active"), Some(1.0));
        assert!(!after.contains("# TYPE trading_portfolio_equity_dollars"), "the others stay out");
        telemetry.shutdown().unwrap();
    })
    .variable("SA_METRICS__GROUPS", "orders");
    let log = service.run(&[]).log;
    let warnings: Vec<_> = log.iter().filter(|line| line["level"] == "warning").collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].to_string().contains("risk"), "{}", warnings[0]);
}

#[test]
fn two_processes_of_one_name_write_to_two_files_and_lose_nothing() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        tracing::info!(file = %telemetry.log_file().display(), "ready");
        until_told();
        tracing::info!("last_words");
        telemetry.shutdown().unwrap();
    });
    let second_port = free_port().to_string();
    let first = service.start(&[]);
    eventually("the first", || try_scrape(service.port()));
    let second = service.start(&[("SA_MONITORING__PROMETHEUS_PORT", &second_port)]);
    eventually("the second", || try_scrape(second_port.parse().unwrap()));
    let log = first.finish().log;
    assert_eq!((events(&log, "ready").len(), events(&log, "last_words").len()), (1, 1), "{log:?}");
    second.finish();
    let own: Vec<_> = std::fs::read_dir(service.folder().join("logs"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "log") && !path.ends_with("desk.log"))
        .collect();
    assert_eq!(own.len(), 1, "{own:?}");
    assert!(std::fs::read_to_string(&own[0]).unwrap().contains("last_words"));
}
