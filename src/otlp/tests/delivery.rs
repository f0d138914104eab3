//! What arrives.

use std::fmt;

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry_proto::tonic::logs::v1::SeverityNumber;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::{Metric, number_data_point};
use opentelemetry_sdk::metrics::data::ResourceMetrics;

use super::receiver::{Got, Payload};
use super::*;
use crate::logs::{CUT_MARK, FAILED_MARK, MAX_VALUE};
use crate::metrics::{ForeignProvider, Registry};
use crate::orders::Order;
use crate::otlp::config::Collect;

#[test]
fn an_orders_spans_and_lines_arrive_with_every_id() {
    for protocol in BOTH {
        let collector = Receiver::start(Behaviour::Take);
        let base = format!("http://{}", collector.address);
        let config = OtlpConfig { logs: Some(logs(protocol, &base)), ..only_traces(traces(protocol, &base)) };
        let process = Process::start(config);
        process.work(|| {
            let _order = Order::new("abc123").symbol("AAPL").strategy("Swing").span("submit_order").entered();
            tracing::info!(quantity = 100, price = 150.5, paper = true, symbol = "MSFT", "order_submitted");
            tracing::info_span!("risk_check").in_scope(|| tracing::error!(limit = f64::NAN, "risk_refused"));
        });
        process.work(|| tracing::debug!(target: "hyper::proto", big = u64::MAX, "outside"));
        let report = process.otlp.flush(PATIENCE);
        assert_eq!((report.of(Signal::Traces).exported, report.of(Signal::Logs).exported), (2, 3));
        let lost: u64 = Signal::ALL.iter().map(|signal| report.of(*signal).lost).sum();
        assert_eq!((lost, report.of(Signal::Traces).waiting), (0, 0));

        let spans = collector.spans();
        let find = |name: &str| spans.iter().find(|span| span.name == name).unwrap();
        let (submit, check) = (find("submit_order"), find("risk_check"));
        assert_eq!((&check.trace_id, &check.parent_span_id), (&submit.trace_id, &submit.span_id));
        assert_eq!(check.status.as_ref().unwrap().code, 2);
        for span in [submit, check] {
            assert_eq!(text(&span.attributes, "order_id").as_deref(), Some("abc123"));
        }

        let records = collector.logs();
        let find = |event: &str| {
            let body = Some(Value::StringValue(event.to_owned()));
            records.iter().find(|record| record.body.as_ref().unwrap().value == body).unwrap()
        };
        let (submitted, refused, outside) = (find("order_submitted"), find("risk_refused"), find("outside"));
        assert_eq!((&submitted.trace_id, &submitted.span_id), (&submit.trace_id, &submit.span_id));
        assert_eq!((&refused.trace_id, &refused.span_id), (&check.trace_id, &check.span_id));
        assert_eq!((&outside.trace_id, &outside.span_id), (&vec![], &vec![]));
        for (key, value) in [
            ("order_id", "abc123"),
            ("strategy", "Swing"),
            ("symbol", "MSFT"),
            ("quantity", "IntValue(100)"),
            ("price", "DoubleValue(150.5)"),
            ("paper", "BoolValue(true)"),
        ] {
            assert_eq!(text(&submitted.attributes, key).as_deref(), Some(value), "{key}");
        }
        assert_eq!(submitted.attributes.iter().filter(|own| own.key == "symbol").count(), 1);
        assert_eq!(text(&refused.attributes, "symbol").as_deref(), Some("AAPL"));
        assert_eq!(text(&outside.attributes, "big"), Some(u64::MAX.to_string()));
        assert_eq!(submitted.severity_number(), SeverityNumber::Info);
        assert_eq!(
            (refused.severity_number(), refused.severity_text.as_str()),
            (SeverityNumber::Error, "ERROR")
        );
        assert!(submitted.time_unix_nano > 0);

        for got in collector.got() {
            assert_eq!(got.headers["x-api-key"], "s3cret-key");
            let resource = match got.payload {
                Payload::Traces(request) => request.resource_spans[0].resource.clone(),
                Payload::Logs(request) => request.resource_logs[0].resource.clone(),
                Payload::Metrics(_) => panic!("nobody asked for metrics"),
            };
            let attributes = resource.unwrap().attributes;
            assert_eq!(text(&attributes, "service.name").as_deref(), Some("execution"));
            assert!(text(&attributes, "service.instance.id").is_some());
        }
        assert_eq!(process.lines.about("otlp_"), [""; 0]);
    }
}

#[test]
fn a_value_that_fails_panics_or_has_no_end_costs_itself_alone() {
    struct Hostile(u8);
    impl fmt::Display for Hostile {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("begun")?;
            match self.0 {
                0 => Err(fmt::Error),
                1 => panic!("a value's own panic"),
                _ => loop {
                    out.write_str("é")?;
                },
            }
        }
    }
    #[derive(Debug)]
    struct Circular;
    impl fmt::Display for Circular {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            out.write_str("again")
        }
    }
    impl std::error::Error for Circular {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(self)
        }
    }

    let collector = Receiver::start(Behaviour::Take);
    let base = format!("http://{}", collector.address);
    let config =
        OtlpConfig { logs: Some(logs(Protocol::Grpc, &base)), ..only_traces(traces(Protocol::Grpc, &base)) };
    let process = Process::start(config);
    // `Lines` would format the values by itself.
    let lines = tracing_subscriber::registry().with(process.otlp.log_layer());
    tracing::subscriber::with_default(lines, || {
        let circular: &dyn std::error::Error = &Circular;
        tracing::info!(a = %Hostile(0), b = %Hostile(1), c = %Hostile(2), circular, d = 3, "still_here");
    });
    process.otlp.flush(PATIENCE);
    let records = collector.logs();
    let value = |key: &str| text(&records[0].attributes, key).unwrap();
    assert_eq!([value("a"), value("b")], [format!("begun{FAILED_MARK}"), format!("begun{FAILED_MARK}")]);
    assert!(value("c").ends_with(CUT_MARK) && value("c").len() <= MAX_VALUE + CUT_MARK.len());
    assert!(value("circular").starts_with("again: again"));
    assert_eq!(value("d"), "IntValue(3)");
}

fn points(got: &[Got]) -> Vec<(String, i64)> {
    let metrics = got.iter().filter_map(|got| match &got.payload {
        Payload::Metrics(request) => Some(request.resource_metrics.clone()),
        _ => None,
    });
    let metrics =
        metrics.flatten().flat_map(|resource| resource.scope_metrics).flat_map(|scope| scope.metrics);
    let point = |metric: Metric| {
        let Some(Data::Sum(sum)) = metric.data else { panic!("{} is no counter", metric.name) };
        assert_eq!(sum.aggregation_temporality, 2, "cumulative");
        let Some(number_data_point::Value::AsInt(value)) = sum.data_points[0].value else {
            panic!("{sum:?}")
        };
        (metric.name, value)
    };
    metrics.map(point).collect()
}

#[test]
fn metrics_are_collected_each_interval_and_at_the_end() {
    for protocol in BOTH {
        let collector = Receiver::start(Behaviour::Take);
        let registry = Arc::new(Registry::new(service(), &[], 1).unwrap());
        let provider = ForeignProvider::new(service(), registry).unwrap();
        let counter = provider.meter("test").u64_counter("fills").build();
        counter.add(3, &[]);
        let target = target(protocol, &format!("http://{}", collector.address), Signal::Metrics);
        let collect: Collect = Arc::new(move || {
            let mut metrics = ResourceMetrics::default();
            provider.collect(&mut metrics).unwrap();
            vec![metrics]
        });
        let metrics =
            MetricsConfig { target, interval: Duration::from_millis(30), timeout: PATIENCE, collect };
        let process = Process::start(OtlpConfig {
            resource: service(),
            traces: None,
            logs: None,
            metrics: Some(metrics),
        });
        let fills =
            |got: &[Got]| points(got).into_iter().filter(|(name, _)| name == "fills").collect::<Vec<_>>();
        let got = collector.wait(|got| fills(got).len() >= 2);
        assert_eq!(fills(&got)[0].1, 3);
        counter.add(4, &[]);
        let report = process.otlp.shutdown(PATIENCE).of(Signal::Metrics);
        assert_eq!(fills(&collector.got()).last().unwrap().1, 7);
        assert_eq!((report.exported, report.lost), (points(&collector.got()).len() as u64, 0));
    }
}

#[test]
fn requests_are_compressed_if_asked() {
    for protocol in BOTH {
        let collector = Receiver::start(Behaviour::Take);
        let mut traces = traces(protocol, &format!("http://{}", collector.address));
        traces.target.gzip = true;
        let process = Process::start(only_traces(traces));
        process.spans(3);
        assert_eq!(process.otlp.shutdown(PATIENCE).of(Signal::Traces).exported, 3);
        assert!(collector.got().iter().all(|got| got.gzip));
        assert_eq!(collector.spans().len(), 3);
    }
}

#[test]
fn a_full_batch_does_not_wait_for_its_time() {
    let collector = Receiver::start(Behaviour::Take);
    let mut traces = traces(Protocol::Grpc, &format!("http://{}", collector.address));
    traces.batch = BatchConfig { delay: Duration::from_hours(1), batch_items: 10, ..BatchConfig::default() };
    let process = Process::start(only_traces(traces));
    process.spans(10);
    let got = collector.wait(|got| receiver::spans(got).len() == 10);
    assert!(got.iter().all(|got| receiver::spans(std::slice::from_ref(got)).len() <= 10));
}

#[test]
fn a_batch_is_bounded_in_bytes_too() {
    let collector = Receiver::start(Behaviour::Take);
    let logs = logs(Protocol::HttpProtobuf, &format!("http://{}", collector.address));
    let process =
        Process::start(OtlpConfig { resource: service(), traces: None, logs: Some(logs), metrics: None });
    let large = "x".repeat(1 << 20);
    process.work(|| (0..6).for_each(|_| tracing::info!(large, "line")));
    assert_eq!(process.otlp.flush(PATIENCE).of(Signal::Logs).exported, 6);
    assert_eq!(collector.logs().len(), 6);
    assert!(collector.got().len() >= 3);
}

#[test]
fn nothing_of_the_export_is_exported() {
    for protocol in BOTH {
        let collector = Receiver::start(Behaviour::Take);
        let base = format!("http://{}", collector.address);
        let config = OtlpConfig { logs: Some(logs(protocol, &base)), ..only_traces(traces(protocol, &base)) };
        let process = Process::start(config);
        for _ in 0..3 {
            process.spans(1);
            process.work(|| tracing::info!("mine"));
            process.otlp.flush(PATIENCE);
        }
        let said = process.lines.said();
        let chatter = said.iter().filter(|line| !line.starts_with("mine")).count();
        assert!(chatter > 0, "the transport says nothing, so nothing was shown: {said:?}");
        assert_eq!((collector.spans().len(), collector.logs().len()), (3, 3));
    }
}

#[tokio::test]
async fn a_runtime_of_the_service_is_no_obstacle() {
    for protocol in BOTH {
        let collector = Receiver::start(Behaviour::Take);
        let process = Process::start(only_traces(traces(protocol, &format!("http://{}", collector.address))));
        process.spans(2);
        assert_eq!(process.otlp.flush(PATIENCE).of(Signal::Traces).exported, 2);
        process.spans(1);
        assert_eq!(process.otlp.shutdown(PATIENCE).of(Signal::Traces).exported, 3);
        process.spans(1);
        let again = process.otlp.shutdown(PATIENCE).of(Signal::Traces);
        assert_eq!((again.exported, again.lost), (3, 1));
    }
    drop(Process::start(only_traces(traces(Protocol::Grpc, "http://127.0.0.1:1"))));
}
