//! The start and the end of the telemetry, as services meet them.
#![expect(clippy::unwrap_used, reason = "a service of a test that cannot go on fails, and the test with it")]

#[path = "support/http.rs"]
mod http;
#[path = "support/process.rs"]
mod process;

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use http::{connect, scrape, try_scrape, value};
use process::{Finished, events, eventually, port, service, until_told};
use trading_telemetry::{OrderStatus, OrderType, RiskResult, Side, Telemetry, init_telemetry};

/// What a service does: everything at least once.
fn work(telemetry: &Telemetry) {
    let metrics = telemetry.metrics();
    let strategy = metrics.strategy("SwingMomentum");
    let order =
        telemetry.order("abc123").symbol("AAPL").strategy("SwingMomentum").span("submit_order").entered();
    tracing::info!(quantity = 100, price = 150.0, "order_submitted");
    strategy.order(Side::Buy, OrderType::Limit, OrderStatus::Filled);
    metrics.execution().fill_latency_ms(1250.0);
    drop(order);
    metrics.risk().check(RiskResult::Approve);
    metrics.risk().kill_switch(true);
    metrics.risk().breaker("daily_loss").set(true);
    metrics.ml().accuracy(f64::NAN);
    telemetry.audit().pdt_day_trade_recorded("AAPL", 2);
    telemetry.meter("desk").u64_counter("limits.checked").build().add(1, &[]);
    trading_telemetry::opentelemetry::global::meter("library")
        .u64_counter("library.calls")
        .build()
        .add(1, &[]);
}

fn is_open(port: u16) -> bool {
    connect(port).is_ok()
}

#[test]
fn what_is_wrong_stops_the_start_with_an_error_that_main_can_print() {
    let service = service(|| match init_telemetry() {
        Ok(_) => println!("started"),
        // As a `main` that returns it.
        Err(error) => println!("is_settings={} Error: {error:?}", error.is_settings()),
    });
    let settings = |text: &str| std::fs::write(service.folder().join("config/settings.yaml"), text).unwrap();
    std::fs::create_dir_all(service.folder().join("config")).unwrap();

    let in_the_file = [
        ("monitoring:\n  prometheus_prot: 8002\n", "config/settings.yaml:2:3: unknown key `prometheus_prot`"),
        ("monitoring: {prometheus_port: soon}", "expected a whole number from 1 to 65535, found `soon`"),
        ("monitoring: {prometheus_port: 0}", "from 1 to 65535"),
        ("monitoring: {health_check_interval_seconds: 0}", "from 0.1 to 86400"),
        ("monitoring: [8001]", "`monitoring` holds keys"),
        ("monitoring: {bearer_token_file: gone}", "can't read the secret's file gone"),
        ("alerts: {channels: [slack]}", "SLACK_WEBHOOK_URL"),
        ("logging: {format: off}", "logging.format"),
        ("monitoring: {", "is not valid YAML"),
    ];
    for (text, expected) in in_the_file {
        settings(text);
        let own_port = [("SA_MONITORING__PROMETHEUS_PORT", "")];
        assert_refused(&service.run(&own_port), expected);
    }
    settings("");
    for (name, wrong, expected) in [
        ("SA_MONITORING__PROMETHEUS_PORT", "0", "from 1 to 65535"),
        ("SA_MONITORING__PROMETHEUS_PORT", "70000", "from 1 to 65535"),
        ("SA_MONITORING__PROMETHEUS_PROT", "8002", "did you mean `SA_MONITORING__PROMETHEUS_PORT`?"),
        ("SA_MONITORING__HEALTH_CHECK_INTERVAL_SECONDS", "0", "from 0.1 to 86400"),
        ("SA_SETTINGS_FILE", "gone.yaml", "SA_SETTINGS_FILE: can't read the settings file gone.yaml"),
        ("SA_SETTINGS_FILE", "config", "can't read the settings file config"),
        ("SLACK_WEBHOOK_URL_FILE", "gone", "SLACK_WEBHOOK_URL_FILE: can't read the secret's file gone"),
        ("TELEGRAM_BOT_TOKEN_FILE", "config", "TELEGRAM_BOT_TOKEN_FILE: can't read the secret's file config"),
    ] {
        assert_refused(&service.run(&[(name, wrong)]), expected);
    }
    assert!(!service.folder().join("logs").exists(), "a start that is refused leaves nothing");
}

fn assert_refused(finished: &Finished, expected: &str) {
    let out = &finished.out;
    assert!(
        out.contains("is_settings=true Error: ") && out.contains(expected),
        "{expected:?} is not in\n{out}"
    );
    assert!(!out.contains("Problem {"), "{out}");
}

#[test]
fn a_systems_file_full_of_other_sections_is_no_concern_of_ours_but_a_near_miss_is_told() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        assert!(scrape(port()).contains("trading_system_info{broker=\"ibkr\""));
        telemetry.shutdown().unwrap();
    })
    .settings(
        "database: {url: \"postgres://user:S3CRET@db/desk\", pool: {max: 10}}\n\
         strategies:\n  - {name: swing, symbols: [AAPL, MSFT]}\n\
         monitorng:\n  prometheus_port: 8002\n\
         system: {broker: ibkr}\n\
         8001: a number as a name\n\
         odd: {? [1, 2] : [x], ~: &here {a: !Ref b}, b: {<<: *here}}\n",
    )
    .variable("SA_DATABASE__URL", "postgres://other")
    .variable("SA_STRATEGIES", "swing");
    let log = service.run(&[]).log;
    let warnings = events(&log, "settings_warning");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let warning = warnings[0]["warning"].as_str().unwrap();
    assert!(warning.contains("`monitorng`") && warning.contains("did you mean `monitoring`?"), "{warning}");
    assert!(log.iter().all(|line| !line.to_string().contains("S3CRET")));
}

#[cfg(target_os = "linux")]
#[test]
fn a_log_that_cannot_be_written_is_told_where_a_person_looks() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        assert!(telemetry.shutdown_within(Duration::from_millis(300)).is_err());
    })
    .variable("SA_LOGGING__DIRECTORY", "/proc/logs");
    let told = service.run(&[]).err;
    let lines: Vec<_> = told.lines().filter(|line| line.starts_with("trading-telemetry: ")).collect();
    assert_eq!(lines.len(), 1, "{told}");
    assert!(lines[0].contains("/proc/logs/") && lines[0].contains("SA_LOGGING__DIRECTORY"), "{told}");
}

#[test]
fn a_port_in_use_is_told_tried_again_and_stops_nothing() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        assert!(telemetry.metrics_addresses().is_empty());
        work(&telemetry);
        until_told();
        telemetry.shutdown().unwrap();
    });
    let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, service.port())).unwrap();
    let running = service.start(&[]);
    eventually("work without a port", || events(&service.log(), "order_submitted").pop().cloned());
    let log = service.log();
    let told = events(&log, "metrics_port_unavailable");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0]["level"], "error");
    assert_eq!(told[0]["address"], format!("127.0.0.1:{}", service.port()));
    let hint = told[0]["hint"].as_str().unwrap();
    assert!(hint.contains("SA_MONITORING__PROMETHEUS_PORT"), "{hint}");

    drop(holder);
    let freed = Instant::now();
    let scrape = eventually("a scrape", || try_scrape(service.port()));
    assert!(freed.elapsed() < Duration::from_secs(20), "{:?}", freed.elapsed());
    assert_eq!(value(&scrape, "trading_kill_switch_active"), Some(1.0), "recorded before there was a port");
    let log = running.finish().log;
    assert_eq!(events(&log, "metrics_port_bound").len(), 1);
    assert_eq!(events(&log, "metrics_port_unavailable").len(), 1, "told once");
}

#[test]
fn a_required_port_that_is_in_use_fails_the_start_which_can_be_tried_again() {
    let service = service(|| {
        let holder = TcpListener::bind((Ipv4Addr::LOCALHOST, port())).unwrap();
        let error = init_telemetry().unwrap_err();
        assert!(error.is_port_unavailable() && !error.is_settings(), "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("127.0.0.1:{}", port())), "{text}");
        assert!(text.contains("SA_MONITORING__PROMETHEUS_PORT"), "{text}");
        drop(holder);
        let telemetry = init_telemetry().unwrap();
        work(&telemetry);
        assert_eq!(value(&scrape(port()), "trading_kill_switch_active"), Some(1.0));
        telemetry.shutdown().unwrap();
    })
    .variable("SA_MONITORING__REQUIRED", "true");
    let log = service.run(&[]).log;
    assert_eq!(events(&log, "order_submitted").len(), 1);
}

#[test]
fn an_address_of_another_machine_is_told_as_such() {
    let service = service(|| {
        let error = init_telemetry().unwrap_err();
        assert!(error.is_port_unavailable(), "{error}");
        let text = error.to_string();
        assert!(text.contains("SA_MONITORING__PROMETHEUS_HOST") && !text.contains("free"), "{text}");
    })
    // Reserved for documentation: no machine has it.
    .variable("SA_MONITORING__PROMETHEUS_HOST", "192.0.2.1")
    .variable("SA_MONITORING__REQUIRED", "true");
    service.run(&[]);
}

#[test]
fn one_start_per_process_also_after_the_end() {
    service(|| {
        let telemetry = init_telemetry().unwrap();
        let again = init_telemetry().unwrap_err();
        assert!(again.is_already_started(), "{again}");
        assert!(again.to_string().contains("clone it"), "{again}");
        work(&telemetry);
        assert_eq!(value(&scrape(port()), "trading_kill_switch_active"), Some(1.0), "the first is unharmed");
        telemetry.shutdown().unwrap();
        assert!(init_telemetry().unwrap_err().is_already_started());
        // What is recorded late goes nowhere, and harms nobody.
        work(&telemetry);
        assert!(telemetry.shutdown().is_ok(), "a second end gives the first one's report");
        drop(telemetry);
        assert!(init_telemetry().unwrap_err().is_already_started());
    })
    .run(&[]);
}

#[test]
fn it_starts_works_and_ends_without_a_runtime_and_inside_both_flavours() {
    let service = service(|| {
        let flavour = std::env::var("FLAVOUR").unwrap();
        let drops = std::env::var("END").unwrap() == "drop";
        let life = move || {
            let telemetry = init_telemetry().unwrap();
            work(&telemetry);
            assert_eq!(value(&scrape(port()), "trading_kill_switch_active"), Some(1.0));
            telemetry
        };
        let end = move |telemetry: Telemetry| {
            let begin = Instant::now();
            if drops {
                drop(telemetry);
            } else {
                assert!(telemetry.shutdown().unwrap().is_complete());
            }
            // The deadline is five seconds: it was not what ended it.
            assert!(begin.elapsed() < Duration::from_millis(4500), "{:?}", begin.elapsed());
        };
        let runtime = match flavour.as_str() {
            "current_thread" => tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            "multi_thread" => tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap(),
            _ => return end(life()),
        };
        runtime.block_on(async move {
            let telemetry = life();
            tokio::time::sleep(Duration::from_millis(1)).await;
            let other = telemetry.clone();
            tokio::spawn(async move { work(&other) }).await.unwrap();
            end(telemetry);
        });
    });
    for flavour in ["none", "current_thread", "multi_thread"] {
        for end in ["shutdown", "drop"] {
            let finished = service.run(&[("FLAVOUR", flavour), ("END", end)]);
            let panicked = finished.err.contains("panicked");
            assert!(!panicked, "{flavour} {end}: {}", finished.err);
        }
    }
    // Six lives in one file, and twice the work inside a runtime.
    assert_eq!(events(&service.log(), "order_submitted").len(), 10);
}

#[test]
fn a_runtime_that_is_torn_down_takes_the_last_handle_with_it() {
    let service = service(|| {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let (started, has_started) = std::sync::mpsc::channel();
        runtime.spawn(async move {
            let telemetry = init_telemetry().unwrap();
            work(&telemetry);
            started.send(()).unwrap();
            std::future::pending::<()>().await;
            drop(telemetry);
        });
        has_started.recv().unwrap();
        drop(runtime);
        assert!(!is_open(port()));
    });
    assert_eq!(events(&service.run(&[]).log, "order_submitted").len(), 1);
}

#[test]
fn another_subscriber_in_place_is_a_clear_error() {
    let service = service(|| {
        tracing::subscriber::set_global_default(tracing_subscriber::registry()).unwrap();
        let error = init_telemetry().unwrap_err();
        assert!(error.is_foreign_subscriber(), "{error}");
        let text = error.to_string();
        assert!(
            text.contains(".with(trading_telemetry::layer())") && text.contains("its init() call"),
            "{text}"
        );
        assert!(!is_open(port()));
    });
    service.run(&[]);
    assert!(!service.folder().join("logs").exists(), "a start that is refused leaves nothing");
}

#[test]
fn a_subscriber_that_was_in_place_for_a_while_is_no_obstacle() {
    let service = service(|| {
        tracing::subscriber::with_default(tracing_subscriber::registry(), || {
            assert!(init_telemetry().unwrap_err().is_foreign_subscriber());
        });
        let telemetry = init_telemetry().unwrap();
        work(&telemetry);
        telemetry.shutdown().unwrap();
    });
    assert_eq!(events(&service.run(&[]).log, "order_submitted").len(), 1);
}

#[test]
fn a_disabled_sdk_says_so_once_and_everything_else_goes_on() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        assert!(telemetry.metrics_addresses().is_empty());
        for _ in 0..3 {
            work(&telemetry);
        }
        assert!(!is_open(port()));
        assert!(telemetry.shutdown().unwrap().is_complete());
    })
    .variable("OTEL_SDK_DISABLED", "true");
    let log = service.run(&[]).log;
    let errors: Vec<_> = log.iter().filter(|line| line["level"] == "error").collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert_eq!(errors[0]["event"], "metrics_and_alerts_disabled");
    assert!(errors[0]["hint"].as_str().unwrap().contains("OTEL_SDK_DISABLED"));
    assert_eq!(events(&log, "order_submitted").len(), 3);
}

#[test]
fn the_end_reports_closes_the_port_and_loses_no_line() {
    const LINES: usize = 10_000;
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        assert!(is_open(port()));
        for number in 0..LINES {
            tracing::info!(number, "step");
        }
        println!("{}", telemetry.shutdown().unwrap());
        assert!(!is_open(port()));
        assert!(TcpListener::bind((Ipv4Addr::LOCALHOST, port())).is_ok());
    });
    let finished = service.run(&[]);
    let report: Vec<&str> =
        finished.out.lines().skip_while(|line| !line.ends_with("telemetry shut down")).collect();
    for signal in ["logs", "server", "alerts"] {
        let line = report.iter().find(|line| line.trim_start().starts_with(signal));
        assert!(line.is_some_and(|line| line.contains(" 0 lost, ")), "{signal} in {}", finished.out);
    }
    let steps = events(&finished.log, "step");
    assert_eq!(steps.len(), LINES);
    assert!(steps.iter().enumerate().all(|(number, line)| line["number"] == number));
}

#[test]
fn a_line_inside_an_order_carries_its_ids_whatever_the_filter_takes_away() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        work(&telemetry);
        let order = telemetry.order("def456").symbol("MSFT").span("submit_order").entered();
        tracing::error!(reason = "no route", "order_stuck");
        drop(order);
        telemetry.shutdown().unwrap();
    });
    let log = service.run(&[]).log;
    let line = events(&log, "order_submitted")[0];
    let keys = line.as_object().unwrap();
    assert_eq!(line["order_id"], "abc123");
    assert_eq!(line["symbol"], "AAPL");
    assert_eq!(line["strategy"], "SwingMomentum");
    assert_eq!((&line["quantity"], &line["price"]), (&100.into(), &150.0.into()));
    assert_eq!((&line["service"], &line["level"]), (&"desk".into(), &"info".into()));
    for (key, length) in [("trace_id", 32), ("span_id", 16)] {
        let id = keys[key].as_str().unwrap();
        assert!(id.len() == length && id.bytes().all(|digit| digit.is_ascii_hexdigit()), "{key} {id}");
        assert!(id.bytes().any(|digit| digit != b'0'), "{key} {id}");
    }

    std::fs::remove_dir_all(service.folder().join("logs")).unwrap();
    let log = service.run(&[("RUST_LOG", "error")]).log;
    assert_eq!(events(&log, "order_submitted").len(), 0);
    assert_eq!(events(&log, "pdt_day_trade_recorded").len(), 1, "no filter removes the audit trail");
    let line = events(&log, "order_stuck")[0];
    assert_eq!((&line["order_id"], &line["symbol"]), (&"def456".into(), &"MSFT".into()));
    assert!(line["trace_id"].is_string() && line["span_id"].is_string(), "{line}");
}

#[test]
fn opentelemetrys_own_news_is_not_in_the_log_unless_it_is_asked_for() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        work(&telemetry);
        telemetry.shutdown().unwrap();
    });
    let theirs = |variables: &[(&str, &str)]| {
        let _ = std::fs::remove_dir_all(service.folder().join("logs"));
        let log = service.run(variables).log;
        assert!(!events(&log, "telemetry_started").is_empty());
        log.iter().filter(|line| line["logger"].as_str().unwrap().starts_with("opentelemetry")).count()
    };
    assert_eq!(theirs(&[]), 0);
    assert_eq!(theirs(&[("RUST_LOG", "debug")]), 0);
    assert!(theirs(&[("RUST_LOG", "info,opentelemetry=debug")]) > 0);
}

#[test]
fn a_person_is_shown_the_lines_on_standard_error_where_the_format_says_so() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        work(&telemetry);
        telemetry.shutdown().unwrap();
    });
    // Standard error is no terminal here.
    for (format, shown) in [("auto", false), ("json", false), ("console", true)] {
        let finished = service.run(&[("SA_LOGGING__FORMAT", format)]);
        assert_eq!(finished.err.contains("order_submitted"), shown, "{format}: {}", finished.err);
        assert!(!finished.out.contains("order_submitted"), "{format}: {}", finished.out);
    }
    assert_eq!(events(&service.log(), "order_submitted").len(), 3, "the file has them in every case");
}
