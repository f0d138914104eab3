//! Collectors that misbehave: what is lost is counted, told once, and holds up nobody.

use std::net::TcpListener;

use super::*;
use crate::otlp::config::Collect;

/// An address that nobody listens at.
fn nobody() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn impatient(protocol: Protocol, base: &str) -> TracesConfig {
    let mut traces = traces(protocol, base);
    traces.target.timeout = Duration::from_millis(300);
    traces.batch.timeout = Duration::from_millis(300);
    traces
}

#[test]
fn a_collector_that_fails_is_told_once_and_once_when_it_is_back() {
    for protocol in BOTH {
        let collector = Receiver::start(Behaviour::Fail);
        let process =
            Process::start(only_traces(impatient(protocol, &format!("http://{}", collector.address))));
        for lost in 1..=3 {
            process.spans(1);
            assert_eq!(process.otlp.flush(PATIENCE).of(Signal::Traces).lost, lost);
        }
        let told = process.lines.about("otlp_export_failing");
        assert_eq!(told.len(), 1, "{told:?}");
        let reason = if protocol == Protocol::Grpc { "Internal" } else { "status 500" };
        let endpoint = collector.address.to_string();
        for part in [reason, &endpoint, "signal=\"traces\"", "lost=1"] {
            assert!(told[0].contains(part), "no {part} in {told:?}");
        }
        collector.behave(Behaviour::Take);
        process.spans(2);
        let report = process.otlp.flush(PATIENCE).of(Signal::Traces);
        assert_eq!((report.exported, report.lost), (2, 3));
        let told = process.lines.about("otlp_");
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[1].starts_with("otlp_export_recovered") && told[1].contains("lost=3"), "{told:?}");
        let secret = process.lines.said().iter().any(|line| line.contains("s3cret"));
        assert!(!secret, "{:?}", process.lines.said());
    }
}

#[test]
fn a_collector_that_is_down_may_come_later() {
    for protocol in BOTH {
        let address = nobody();
        let process = Process::start(only_traces(impatient(protocol, &format!("http://{address}"))));
        process.spans(5);
        let report = process.otlp.flush(PATIENCE).of(Signal::Traces);
        assert_eq!((report.exported, report.lost), (0, 5));
        let told = process.lines.about("otlp_");
        assert!(told.len() == 1 && told[0].starts_with("otlp_export_failing"), "{told:?}");
        let collector = Receiver::start_at(address, Behaviour::Take);
        process.wait("recovery", |process| {
            process.spans(1);
            process.otlp.flush(PATIENCE);
            !process.lines.about("otlp_export_recovered").is_empty()
        });
        assert!(!collector.spans().is_empty());
        assert_eq!(process.lines.about("otlp_").len(), 2);
    }
}

#[test]
fn a_connection_that_fails_for_a_moment_loses_nothing() {
    for protocol in BOTH {
        let address = nobody();
        let process = Process::start(only_traces(traces(protocol, &format!("http://{address}"))));
        process.spans(5);
        std::thread::sleep(Duration::from_millis(300));
        let collector = Receiver::start_at(address, Behaviour::Take);
        let report = process.otlp.flush(PATIENCE).of(Signal::Traces);
        assert_eq!((report.exported, report.lost), (5, 0));
        assert_eq!(collector.spans().len(), 5);
        assert_eq!(process.lines.about("otlp_"), [""; 0]);
    }
}

#[test]
fn a_throttled_batch_is_sent_again_when_the_collector_wants_it() {
    for protocol in BOTH {
        let collector = Receiver::start(Behaviour::Throttle(1));
        let process = Process::start(only_traces(traces(protocol, &format!("http://{}", collector.address))));
        process.spans(4);
        collector.wait(|got| !got.is_empty());
        collector.behave(Behaviour::Take);
        let report = process.otlp.flush(PATIENCE).of(Signal::Traces);
        assert_eq!((report.exported, report.lost), (4, 0));
        let got = collector.got();
        assert!(got.len() >= 2 && got[1].at - got[0].at >= Duration::from_millis(900), "{got:?}");
        assert_eq!(process.lines.about("otlp_"), [""; 0]);
    }
}

#[test]
fn a_long_retry_after_is_a_pause_for_all() {
    let collector = Receiver::start(Behaviour::Throttle(3600));
    let base = format!("http://{}", collector.address);
    let process = Process::start(only_traces(impatient(Protocol::HttpProtobuf, &base)));
    process.spans(1);
    process.wait("the first batch", |process| process.traces().lost == 1);
    process.spans(1);
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(collector.got().len(), 1);
    assert_eq!(process.traces().waiting, 1);
    collector.behave(Behaviour::Take);
    let report = process.otlp.shutdown(PATIENCE).of(Signal::Traces);
    assert_eq!((report.exported, report.lost), (1, 1));
}

#[test]
fn an_answer_that_is_no_collectors_is_no_success() {
    for protocol in BOTH {
        for behaviour in [Behaviour::Garbage, Behaviour::WebPage] {
            let collector = Receiver::start(behaviour);
            let base = format!("http://{}", collector.address);
            let process = Process::start(only_traces(impatient(protocol, &base)));
            process.spans(2);
            let report = process.otlp.flush(PATIENCE).of(Signal::Traces);
            assert_eq!((report.exported, report.lost), (0, 2), "{protocol:?} {behaviour:?}");
            assert_eq!(process.lines.about("otlp_export_failing").len(), 1);
        }
    }
}

#[test]
fn what_a_collector_rejects_is_lost() {
    for protocol in BOTH {
        let collector = Receiver::start(Behaviour::Reject(2));
        let process = Process::start(only_traces(traces(protocol, &format!("http://{}", collector.address))));
        process.spans(5);
        // One request for all: what is rejected is said of each.
        let report = process.otlp.flush(PATIENCE).of(Signal::Traces);
        assert_eq!((report.exported + report.lost, report.waiting), (5, 0), "{protocol:?}");
        assert_eq!(report.lost, (2 * collector.got().len() as u64).min(5), "{protocol:?}");
        let told = process.lines.about("otlp_export_failing");
        assert!(told.len() == 1 && told[0].contains("rejected"), "{told:?}");
        let noise = process.lines.said().into_iter().filter(|line| line.contains("PartialSuccess")).count();
        assert_eq!(noise, 0);
    }
}

#[test]
fn a_hung_collector_costs_a_bounded_queue_and_holds_up_nobody() {
    for protocol in BOTH {
        let collector = Receiver::start(Behaviour::Hang);
        let mut traces = traces(protocol, &format!("http://{}", collector.address));
        traces.batch.queue_items = 50;
        traces.batch.batch_items = 20;
        let process = Process::start(only_traces(traces));
        process.spans(20);
        collector.wait(|got| !got.is_empty());
        process.spans(1000);
        let held = process.traces();
        assert!(held.waiting <= 50 + 20, "{held:?}");
        assert_eq!((held.exported, held.lost + held.waiting), (0, 1020));
        let begun = Instant::now();
        process.otlp.flush(Duration::from_millis(100));
        let report = process.otlp.shutdown(Duration::from_millis(200)).of(Signal::Traces);
        assert!(begun.elapsed() < Duration::from_secs(8), "{:?}", begun.elapsed());
        assert_eq!((report.exported, report.lost, report.waiting), (0, 1020, 0));
        process.spans(1);
        assert_eq!(process.traces().lost, 1021);
    }
}

#[test]
fn a_request_without_an_answer_is_given_up_in_time() {
    for protocol in BOTH {
        let collector = Receiver::start(Behaviour::Hang);
        let process =
            Process::start(only_traces(impatient(protocol, &format!("http://{}", collector.address))));
        process.spans(3);
        process.wait("the loss", |process| process.traces().lost == 3);
        assert_eq!(process.lines.about("otlp_export_failing").len(), 1);
        collector.behave(Behaviour::Take);
        process.wait("recovery", |process| {
            process.spans(1);
            process.otlp.flush(PATIENCE);
            process.traces().exported > 0
        });
    }
}

#[test]
fn waiting_items_are_bounded_in_bytes_too() {
    let collector = Receiver::start(Behaviour::Hang);
    let mut logs = logs(Protocol::HttpProtobuf, &format!("http://{}", collector.address));
    logs.batch.queue_bytes = 3 << 20;
    let process =
        Process::start(OtlpConfig { resource: service(), traces: None, logs: Some(logs), metrics: None });
    let large = "x".repeat(1 << 20);
    process.work(|| (0..50).for_each(|_| tracing::info!(large, "line")));
    let report = process.otlp.stats().of(Signal::Logs).report();
    // In the queue, and as many again in the batch under way.
    assert!(report.waiting <= 5 && report.lost >= 45, "{report:?}");
}

#[test]
fn a_queue_that_overflows_is_told_once() {
    let collector = Receiver::start(Behaviour::Take);
    let mut traces = traces(Protocol::Grpc, &format!("http://{}", collector.address));
    traces.batch = BatchConfig { delay: Duration::from_hours(1), queue_items: 10, ..traces.batch };
    traces.batch.batch_items = 10;
    let process = Process::start(only_traces(traces));
    process.wait("an overflow", |process| {
        process.spans(100);
        process.traces().lost > 0
    });
    process.otlp.flush(PATIENCE);
    let told = process.lines.about("otlp_");
    assert!(told.len() == 1 && told[0].contains("the queue was full"), "{told:?}");
}

#[test]
fn a_metrics_callback_that_hangs_does_not_hold_the_shutdown() {
    let (release, held) = std::sync::mpsc::channel::<()>();
    let held = Mutex::new(held);
    let collect: Collect = Arc::new(move || {
        _ = held.lock().unwrap().recv();
        vec![]
    });
    let target = target(Protocol::Grpc, "http://127.0.0.1:1", Signal::Metrics);
    let metrics = MetricsConfig { target, interval: Duration::from_millis(5), timeout: PATIENCE, collect };
    let config = OtlpConfig { resource: service(), traces: None, logs: None, metrics: Some(metrics) };
    let process = Process::start(config);
    let begun = Instant::now();
    process.otlp.shutdown(Duration::from_millis(100));
    assert!(begun.elapsed() < Duration::from_secs(8));
    drop(release);
}
