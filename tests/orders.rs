//! What a person on call and an auditor rely on, in services as they run.
#![expect(clippy::unwrap_used, reason = "a service of a test that cannot go on fails, and the test with it")]

#[path = "support/http.rs"]
mod http;
#[path = "support/otlp_receiver.rs"]
#[allow(dead_code, reason = "each test binary uses a part of it")]
mod otlp_receiver;
#[path = "support/process.rs"]
mod process;

use std::cell::RefCell;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use http::{request, scrape, send, value};
use otlp_receiver::{Behaviour, Receiver};
use process::{events, eventually, port, service, until_told};
use serde_json::Value;
use trading_telemetry::{Side, Telemetry, init_telemetry};

#[test]
fn a_panic_is_one_line_with_its_order_counted_and_on_disk_without_a_shutdown() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        let worker = std::thread::Builder::new().name("executor".into());
        let order = telemetry.order("abc123").symbol("AAPL").span("submit_order");
        let panicked = worker.spawn(move || order.in_scope(|| panic!("no route to {}", "ARCA"))).unwrap();
        assert!(panicked.join().is_err());
        assert_eq!(value(&scrape(port()), "trading_telemetry_panics_total"), Some(1.0));
        until_told();
    });
    let running = service.start(&[]);
    let line = eventually("the line", || events(&service.log(), "service_panicked").pop().cloned());
    assert_eq!((&line["panic_message"], &line["thread"]), (&"no route to ARCA".into(), &"executor".into()));
    assert!(line["location"].as_str().unwrap().starts_with("tests/orders.rs:"), "{line}");
    assert_eq!([&line["order_id"], &line["symbol"], &line["level"]], ["abc123", "AAPL", "error"]);
    assert!(line["trace_id"].is_string() && line["span_id"].is_string(), "{line}");
    running.kill();
    assert_eq!(events(&service.log(), "service_panicked").len(), 1);
}

#[test]
fn the_panic_that_ends_a_process_is_on_disk_although_nobody_drops_the_handle() {
    static TELEMETRY: OnceLock<Telemetry> = OnceLock::new();
    let service = service(|| {
        let telemetry = TELEMETRY.get_or_init(|| init_telemetry().unwrap());
        (0..1000).for_each(|number| tracing::info!(number, "before"));
        // What `main` does, but for the exit code; the tests' own thread has another name.
        let main = std::thread::Builder::new().name("main".into());
        let _order = telemetry.order("abc123").span("submit_order").entered();
        let panicked = main.spawn(|| panic!("at last")).unwrap();
        while !panicked.is_finished() {
            std::hint::spin_loop();
        }
        std::process::exit(0);
    });
    let log = service.run(&[]).log;
    assert_eq!((events(&log, "before").len(), events(&log, "service_panicked").len()), (1000, 1));
}

/// Works on an order while its thread is torn down.
struct LastWord(Telemetry);

impl Drop for LastWord {
    fn drop(&mut self) {
        let _order = self.0.order("abc123").span("cancel_order").entered();
        self.0.metrics().strategy("SwingMomentum").trade(Side::Sell);
        tracing::info!("last_word");
    }
}

#[test]
fn an_order_in_the_destructor_of_a_threads_local_does_not_end_the_process() {
    thread_local! {
        static LAST: RefCell<Option<LastWord>> = const { RefCell::new(None) };
    }
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        let worker = telemetry.clone();
        let thread = std::thread::spawn(move || {
            // Destroyed last: its destructor is registered first.
            LAST.with(|last| last.replace(Some(LastWord(worker.clone()))));
            worker.order("abc122").span("submit_order").in_scope(|| tracing::info!("order_submitted"));
        });
        thread.join().unwrap();
        let sold = r#"trading_trades_total{side="SELL",strategy="SwingMomentum"}"#;
        assert_eq!(value(&scrape(port()), sold), Some(1.0));
        telemetry.shutdown().unwrap();
    });
    let log = service.run(&[]).log;
    assert_eq!(events(&log, "order_submitted")[0]["order_id"], "abc122");
    assert_eq!(events(&log, "last_word").len(), 1);
}

/// Where a service asks for none it is no obstacle.
const TOKEN: (&str, &str) = ("authorization", "Bearer operators-only");

/// An error and a record inside an order: the trace id of its exemplar.
fn work(telemetry: &Telemetry, id: &str) -> String {
    let order = telemetry.order(id).symbol("AAPL").span("submit_order").entered();
    tracing::info!("order_submitted");
    tracing::error!(reason = "no route", "order_stuck");
    telemetry.metrics().execution().fill_latency_ms(1250.0);
    drop(order);
    let accept = ("accept", "application/openmetrics-text");
    let scrape = request(port(), "GET", "/metrics", &[accept, TOKEN]).unwrap();
    let exemplar = scrape.text().lines().find(|line| line.contains(&format!("order_id=\"{id}\""))).unwrap();
    exemplar.split("trace_id=\"").nth(1).unwrap()[..32].to_owned()
}

#[test]
fn rust_log_error_takes_lines_but_neither_ids_nor_exemplars() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        println!("\n{}", work(&telemetry, "abc123"));
        telemetry.shutdown().unwrap();
    });
    let finished = service.run(&[("RUST_LOG", "error")]);
    assert_eq!(finished.log.len(), 1, "{:?}", finished.log);
    let line = &finished.log[0];
    assert_eq!([&line["event"], &line["order_id"], &line["symbol"]], ["order_stuck", "abc123", "AAPL"]);
    let trace = line["trace_id"].as_str().unwrap();
    assert!(finished.out.lines().any(|exemplar| exemplar == trace), "{trace} and {}", finished.out);
}

#[test]
fn the_filter_changes_while_the_service_runs_and_goes_back_by_itself() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        let filter = telemetry.log_filter().unwrap();
        work(&telemetry, "first");
        filter.set_for("error,orders=debug", Duration::from_millis(200)).unwrap();
        tracing::debug!("detail");
        eventually("the filter before", || (filter.spec() == "info").then_some(()));
        tracing::debug!("no_detail");
        work(&telemetry, "second");
        println!("\nfiltered");
        until_told();
        work(&telemetry, "third");
        telemetry.shutdown().unwrap();
    })
    .variable("SA_MONITORING__BEARER_TOKEN", "operators-only");
    let running = service.start(&[]);
    eventually("the first filters", || running.output().contains("\nfiltered").then_some(()));
    let put = |target: &str, body: &str| send(service.port(), "PUT", target, &[TOKEN], body).unwrap().status;
    assert_eq!(put("/log-filter?minutes=18446744073709551615", "debug"), 400);
    assert_eq!(put("/log-filter?minute=10", "debug"), 400);
    assert_eq!(put("/log-filter?minutes=4294967295", "info,[span]=debug"), 400);
    assert_eq!(put("/log-filter?minutes=4294967295", "error"), 200);
    let log = running.finish().log;
    assert_eq!((events(&log, "detail").len(), events(&log, "no_detail").len()), (1, 0));
    assert_eq!(events(&log, "log_filter_reverted").len(), 1);
    let changed = &events(&log, "log_filter_changed")[0];
    assert_eq!((&changed["filter"], &changed["minutes"]), (&"error".into(), &4_294_967_295_u64.into()));
    let ids = |event: &str| -> Vec<_> {
        events(&log, event).iter().map(|line| line["order_id"].as_str().unwrap()).collect()
    };
    assert_eq!(ids("order_submitted"), ["first", "second"]);
    assert_eq!(ids("order_stuck"), ["first", "second", "third"]);
}

#[test]
fn what_neither_a_hung_collector_nor_a_disk_takes_is_reported_to_the_last_item_in_time() {
    const LINES: u64 = 500;
    const SPANS: u64 = 200;
    const DEADLINE: Duration = Duration::from_secs(2);
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        (0..SPANS).for_each(|_| telemetry.order("abc123").span("submit_order").in_scope(|| {}));
        (0..LINES).for_each(|number| tracing::info!(number, "line"));
        let start = Instant::now();
        let ended = telemetry.shutdown_within(DEADLINE);
        let took = start.elapsed();
        // A busy machine may take its time; a collector that hangs would take for ever.
        assert!(took < DEADLINE + Duration::from_secs(10), "{took:?}");
        let report = ended.unwrap_err().report().clone();
        for signal in report.signals() {
            println!("\n{} {} {}", signal.signal, signal.delivered.unwrap_or(0), signal.lost);
        }
    });
    let collector = Receiver::start(Behaviour::Hang);
    let endpoint = format!("http://{}", collector.address);
    let run = |directory: &str| {
        let finished =
            service.run(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint), ("SA_LOGGING__DIRECTORY", directory)]);
        let of = |signal: &str| -> Vec<u64> {
            let line = finished.out.lines().find_map(|line| line.strip_prefix(signal)).unwrap();
            line.split_whitespace().map(|number| number.parse().unwrap()).collect()
        };
        assert_eq!(of("otlp traces "), [0, SPANS]);
        let (exported, log) = (of("otlp logs "), of("logs "));
        assert!(exported[0] == 0 && exported[1] >= LINES, "{exported:?}");
        (log[0], log[1], finished.log)
    };
    let (written, lost, log) = run("logs");
    assert_eq!((written, lost), (log.len() as u64, 0));
    assert_eq!(events(&log, "line").iter().filter(|line| line["number"].is_u64()).count() as u64, LINES);
    let (written, lost, _) = run("/proc/nobody-writes-here");
    assert!(written == 0 && lost >= LINES, "{written} {lost}");
}

#[test]
fn who_drops_the_handle_finds_the_loss_in_the_log_and_on_standard_error() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        telemetry.order("abc123").span("submit_order").in_scope(|| {});
        drop(telemetry);
    })
    .variable("SA_SYSTEM__SHUTDOWN_TIMEOUT_SECONDS", "1");
    let collector = Receiver::start(Behaviour::Hang);
    let finished = service.run(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", collector.address))]);
    let told = events(&finished.log, "telemetry_lost_at_shutdown");
    assert_eq!((told.len(), &told[0]["level"]), (1, &"error".into()));
    for text in [&told[0].to_string(), &finished.err] {
        assert!(
            text.contains("telemetry was lost at shutdown: ") && text.contains("1 otlp traces"),
            "{text}"
        );
    }
}

/// A field's name or value cannot break the line.
#[test]
fn hostile_fields_leave_whole_lines_in_the_file_and_in_the_export() {
    let service = service(|| {
        let telemetry = init_telemetry().unwrap();
        let order = telemetry.order("abc\n\"123").symbol("\u{0}").span("submit_order").entered();
        tracing::info!(
            event = 1,
            timestamp = "never",
            level = f64::NAN,
            big = "x".repeat(1_000_000),
            "first"
        );
        tracing::error!(trace_id = 1, order_id = "own", infinite = f64::INFINITY, "second");
        drop(order);
        telemetry.shutdown().unwrap();
    });
    let collector = Receiver::start(Behaviour::Take);
    let log = service.run(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{}", collector.address))]).log;
    let (first, second) = (events(&log, "first")[0], events(&log, "second")[0]);
    assert_eq!(
        (&first["event_"], &first["timestamp_"], &first["level_"]),
        (&1.into(), &"never".into(), &Value::Null)
    );
    assert_eq!(
        (&first["level"], &first["order_id"], &first["symbol"]),
        (&"info".into(), &"abc\n\"123".into(), &"\u{0}".into())
    );
    assert_eq!(first["big"].as_str().unwrap().len(), 1_000_000);
    assert_eq!(
        (&second["trace_id_"], &second["order_id"], &second["infinite"]),
        (&1.into(), &"own".into(), &Value::Null)
    );
    assert_eq!(second["trace_id"], first["trace_id"]);
    let sizes: Vec<_> = collector.logs().iter().map(|record| record.attributes.len()).collect();
    assert!(sizes.contains(&6), "{sizes:?}");
    assert_eq!(collector.spans().len(), 1);
}
