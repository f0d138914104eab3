//! Which spans are exported.

use opentelemetry::Context as OtelContext;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::*;
use crate::orders::Order;

fn sampled(sampling: Sampling, work: impl FnOnce()) -> (Vec<String>, SignalReport) {
    let collector = Receiver::start(Behaviour::Take);
    let traces = traces(Protocol::HttpProtobuf, &format!("http://{}", collector.address));
    let process = Process::start(only_traces(TracesConfig { sampling, ..traces }));
    process.work(work);
    let report = process.otlp.shutdown(PATIENCE).of(Signal::Traces);
    let mut names: Vec<_> = collector.spans().into_iter().map(|span| span.name).collect();
    names.sort_unstable();
    assert_eq!((names.len() as u64, 0), (report.exported, report.lost));
    (names, report)
}

fn nothing() -> Sampling {
    Sampling { ratio: 0.0, keep_orders: false, ..Sampling::default() }
}

fn request(fails: bool) {
    tracing::info_span!("request").in_scope(|| {
        tracing::info_span!("before").in_scope(|| {});
        tracing::info_span!("step").in_scope(|| {
            if fails {
                tracing::error!("broker_gone");
            }
        });
        tracing::info_span!("after").in_scope(|| {});
    });
}

#[test]
fn a_trace_that_failed_is_exported_whole_whatever_the_ratio() {
    let (names, _) = sampled(nothing(), || {
        request(false);
        request(true);
        request(false);
    });
    assert_eq!(names, ["after", "before", "request", "step"]);
}

#[test]
fn nothing_is_kept_unless_it_is_asked_for() {
    let sampling = Sampling { keep_errors: false, ..nothing() };
    let (names, _) = sampled(sampling, || {
        request(true);
        Order::new("abc").span("submit").in_scope(|| tracing::error!("refused"));
    });
    assert_eq!(names, [""; 0]);
}

#[test]
fn an_order_is_exported_whole_with_what_led_to_it() {
    let order = || {
        tracing::info_span!("request").in_scope(|| {
            tracing::info_span!("parse").in_scope(|| {});
            Order::new("abc").span("submit").in_scope(|| tracing::info_span!("check").in_scope(|| {}));
            tracing::info_span!("reply").in_scope(|| {});
        });
        request(false);
    };
    let (names, _) = sampled(Sampling { keep_orders: true, ..nothing() }, order);
    assert_eq!(names, ["check", "parse", "reply", "request", "submit"]);
    assert_eq!(sampled(nothing(), order).0, [""; 0]);
}

#[test]
fn the_next_service_is_told_that_an_order_is_kept() {
    sampled(Sampling { keep_orders: true, ..nothing() }, || {
        let flag = || OtelContext::map_current(|context| context.span().span_context().is_sampled());
        Order::new("abc").span("submit").in_scope(|| assert!(flag()));
        tracing::info_span!("other").in_scope(|| assert!(!flag()));
    });
}

fn child_of_another_service(sampled: bool, work: impl FnOnce()) {
    let flags = TraceFlags::default().with_sampled(sampled);
    let parent = SpanContext::new(TraceId::from(7), SpanId::from(7), flags, true, TraceState::NONE);
    let span = tracing::info_span!(parent: None, "served");
    span.set_parent(OtelContext::new().with_remote_span_context(parent)).unwrap();
    span.in_scope(work);
}

#[test]
fn the_callers_decision_is_followed_if_set() {
    let follow = |ratio, follow_parent, caller_samples| {
        let sampling = Sampling { ratio, follow_parent, ..nothing() };
        sampled(sampling, || child_of_another_service(caller_samples, || {})).0.len()
    };
    assert_eq!(follow(0.0, true, true), 1);
    assert_eq!(follow(1.0, true, false), 0);
    assert_eq!(follow(1.0, false, false), 1);
    assert_eq!(follow(0.0, false, true), 0);
    let failing = || sampled(nothing(), || child_of_another_service(false, || tracing::error!("gone")));
    assert_eq!(failing().0, ["served"]);
}

#[test]
fn a_ratio_is_about_kept() {
    let sampling = Sampling { ratio: 0.25, ..nothing() };
    let (names, _) = sampled(sampling, || (0..2000).for_each(|_| tracing::info_span!("one").in_scope(|| {})));
    assert!((300..700).contains(&names.len()), "{}", names.len());
}

#[test]
fn spans_are_held_in_a_bounded_room_and_failures_exported_all_the_same() {
    let sampling = Sampling { held_spans: 10, ..nothing() };
    let (names, report) = sampled(sampling, || {
        tracing::info_span!("long").in_scope(|| {
            (0..100).for_each(|_| tracing::info_span!("step").in_scope(|| {}));
            tracing::error!("gone");
        });
    });
    assert_eq!(names, ["long"]);
    assert!(report.let_go >= 10, "{report:?}");
}

#[test]
fn spans_that_never_end_do_not_fill_the_memory() {
    let mut held = super::super::held::Held::new(100);
    for trace in 1..10_000_u128 {
        held.start(TraceId::from(trace));
    }
    assert_eq!(held.traces(), 100);
}

#[test]
fn traces_that_were_let_go_are_told_once() {
    let collector = Receiver::start(Behaviour::Take);
    let traces = traces(Protocol::Grpc, &format!("http://{}", collector.address));
    let sampling = Sampling { held_spans: 2, ..nothing() };
    let process = Process::start(only_traces(TracesConfig { sampling, ..traces }));
    process.work(|| {
        tracing::info_span!("long").in_scope(|| {
            (0..10).for_each(|_| tracing::info_span!("step").in_scope(|| {}));
        });
    });
    process.wait("the line", |process| !process.lines.about("otlp_unsampled_spans_let_go").is_empty());
    process.otlp.shutdown(PATIENCE);
    assert_eq!(process.lines.about("otlp_").len(), 1);
}
