use std::collections::BTreeMap;

use opentelemetry::metrics::{Meter, MeterProvider as _};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_sdk::metrics::{Aggregation, Instrument as Selector, Stream};

use super::parser::{Parsed, family, parse};
use super::{Bench, catalogue_of, foreign_of, render, single};
use crate::exposition::Format;
use crate::metrics::{Catalogue, Collected};

fn plain() -> Bench {
    Bench::new(|builder| builder)
}

fn exponential() -> Bench {
    Bench::new(|builder| {
        builder.with_view(|selected: &Selector| {
            let aggregation =
                Aggregation::Base2ExponentialHistogram { max_size: 160, max_scale: 20, record_min_max: true };
            let stream = Stream::builder().with_aggregation(aggregation);
            selected.name().starts_with("exponential").then(|| stream.build().ok()).flatten()
        })
    })
}

/// Both formats are valid; the text's families.
fn scrape(bench: &Bench) -> Vec<Parsed> {
    let collected = foreign_of(bench);
    parse(&render(&collected, Format::OpenMetrics), Format::OpenMetrics).unwrap();
    parse(&render(&collected, Format::Text), Format::Text).unwrap()
}

#[test]
fn opentelemetry_prometheus_agrees_where_it_follows_the_rules() {
    let registry = prometheus::Registry::new();
    let judge = opentelemetry_prometheus::exporter()
        .with_registry(registry.clone())
        .without_target_info()
        .scope_info_enabled(false);
    let bench = Bench::new(|builder| builder.with_reader(judge.build().unwrap()));
    let meter = bench.provider.meter("orders");
    let labels = [KeyValue::new("http.request.method", "GET"), KeyValue::new("code", 200)];
    meter.u64_counter("http.requests").with_description("Requests \"served\"").build().add(3, &labels);
    meter.f64_counter("cpu.time").with_unit("s").with_description("CPU").build().add(1.25, &[]);
    meter.i64_up_down_counter("jobs.active").with_description("Jobs").build().add(-2, &labels);
    meter.f64_gauge("disk.used").with_unit("1").with_description("Disk").build().record(0.25, &[]);
    meter.u64_gauge("big").with_description("Big").build().record(1 << 40, &[]);
    let histogram = meter.f64_histogram("request.duration").with_unit("ms").with_description("Time").build();
    for value in [0.0, 3.0, 80.0, 20_000.0] {
        histogram.record(value, &labels);
    }
    let theirs = series(&prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap());
    let ours = series(&render(&foreign_of(&bench), Format::Text));
    assert!(ours.len() > 20);
    assert_eq!(ours, theirs);
}

/// Names, types, helps, labels and values, without the differences in how a number is written.
fn series(text: &str) -> BTreeMap<String, String> {
    let number =
        |text: &str| text.parse::<f64>().map_or_else(|_| text.to_owned(), |value| format!("{value:?}"));
    text.lines()
        .map(|line| {
            let (key, value) = line.rsplit_once(' ').unwrap();
            let mut labels: Vec<String> = Vec::new();
            let name = match key.split_once('{') {
                Some((name, rest)) if !line.starts_with('#') => {
                    for pair in rest.trim_end_matches('}').split(',') {
                        let (label, value) = pair.split_once('=').unwrap();
                        let value = value.trim_matches('"');
                        let value = if label == "le" { number(value) } else { value.to_owned() };
                        labels.push(format!("{label}={value}"));
                    }
                    name
                }
                _ => key,
            };
            labels.sort();
            (
                format!("{name} {labels:?}"),
                if line.starts_with('#') { value.to_owned() } else { number(value) },
            )
        })
        .collect()
}

#[test]
fn names_that_have_their_suffixes_keep_them() {
    let bench = plain();
    let meter = bench.provider.meter("m");
    meter.u64_counter("http.requests_total").build().add(1, &[]);
    meter.f64_counter("cpu_seconds_total").with_unit("s").build().add(1.0, &[]);
    meter.f64_gauge("lag_seconds").with_unit("s").build().record(1.0, &[]);
    meter.u64_counter("sent").with_unit("{message}").build().add(1, &[]);
    let names: Vec<String> = scrape(&bench).into_iter().map(|family| family.name).collect();
    assert_eq!(names, ["cpu_seconds_total", "http_requests_total", "lag_seconds", "sent_total"]);

    let openmetrics = render(&foreign_of(&bench), Format::OpenMetrics);
    assert!(
        openmetrics
            .contains("# TYPE cpu_seconds counter\n# UNIT cpu_seconds seconds\ncpu_seconds_total 1.0\n")
    );
    assert!(!openmetrics.contains("# UNIT sent"));
    assert!(!openmetrics.contains("# HELP"), "there are no descriptions");
}

fn counter(meter: &Meter, value: u64) {
    meter.u64_counter("jobs").with_description("Jobs").build().add(value, &[KeyValue::new("kind", "a")]);
}

#[test]
fn one_name_in_two_scopes_is_told_apart_by_the_scope() {
    let bench = plain();
    counter(&bench.provider.meter("one"), 1);
    counter(
        &bench.provider.meter_with_scope(InstrumentationScope::builder("two").with_version("2.0").build()),
        2,
    );
    bench.provider.meter("one").u64_counter("other").build().add(1, &[]);
    let families = scrape(&bench);
    let jobs = family(&families, "jobs_total").unwrap();
    assert_eq!(jobs.value("jobs_total", &[("kind", "a"), ("otel_scope_name", "one")]), Some(1.0));
    let two = [("kind", "a"), ("otel_scope_name", "two"), ("otel_scope_version", "2.0")];
    assert_eq!(jobs.value("jobs_total", &two), Some(2.0));
    assert_eq!(family(&families, "other_total").unwrap().value("other_total", &[]), Some(1.0));
}

#[test]
fn scopes_that_differ_in_version_or_attributes_alone_are_told_apart_too() {
    let bench = plain();
    let scope = |version: &'static str, tenant: &'static str| {
        InstrumentationScope::builder("s")
            .with_version(version)
            .with_attributes([KeyValue::new("tenant.id", tenant)])
            .build()
    };
    for (index, scope) in [scope("1", "x"), scope("2", "x"), scope("1", "y")].into_iter().enumerate() {
        counter(&bench.provider.meter_with_scope(scope), index as u64 + 1);
    }
    let families = scrape(&bench);
    let values: Vec<f64> =
        family(&families, "jobs_total").unwrap().samples.iter().map(|one| one.value).collect();
    assert_eq!(values.len(), 3);
    assert_eq!(values.iter().sum::<f64>(), 6.0);
    assert!(families[0].samples.iter().all(|one| one.labels.contains_key("otel_scope_tenant_id")));
}

#[test]
fn a_conflict_of_types_or_helps_leaves_a_valid_scrape() {
    let bench = plain();
    let (one, two) = (bench.provider.meter("a"), bench.provider.meter("b"));
    one.f64_gauge("load").with_description("first").build().record(1.0, &[]);
    two.f64_gauge("load").with_description("second").build().record(2.0, &[]);
    one.f64_gauge("mixed").build().record(1.0, &[]);
    two.f64_histogram("mixed").build().record(2.0, &[]);
    // A sample's name is taken as well as a family's.
    one.f64_histogram("time").build().record(1.0, &[]);
    two.f64_gauge("time_count").build().record(5.0, &[]);
    // And a counter's name without `_total`, which is its family's in OpenMetrics.
    one.f64_gauge("jobs").build().record(7.0, &[]);
    counter(&two, 1);
    let families = scrape(&bench);
    let load = family(&families, "load").unwrap();
    assert_eq!(load.help.as_deref(), Some("first"));
    assert_eq!(load.samples.len(), 2);
    assert_eq!(family(&families, "mixed").unwrap().kind, "gauge");
    assert!(family(&families, "time").is_some() && family(&families, "time_count").is_none());
    assert!(family(&families, "jobs").is_some() && family(&families, "jobs_total").is_none());
}

#[test]
fn a_name_of_the_catalogue_is_the_catalogues() {
    let foreign = plain();
    let meter = foreign.provider.meter("m");
    meter.f64_gauge("trading.kill_switch.active").build().record(1.0, &[]);
    meter.u64_counter("trading_orders_total").build().add(9, &[]);
    meter.f64_gauge("trading_fill_latency_ms_count").build().record(9.0, &[]);
    meter.f64_gauge("target_info").build().record(9.0, &[]);
    meter.f64_gauge("mine").build().record(9.0, &[]);
    let mut catalogue = Catalogue::default();
    single(&mut catalogue, "trading_kill_switch_active", &[], 0.0);
    let collected = Collected { foreign: foreign_of(&foreign).foreign, ..catalogue_of(catalogue) };
    for format in [Format::Text, Format::OpenMetrics] {
        let families = parse(&render(&collected, format), format).unwrap();
        let switch = family(&families, "trading_kill_switch_active").unwrap();
        assert_eq!(switch.value("trading_kill_switch_active", &[]), Some(0.0));
        assert_eq!(family(&families, "mine").unwrap().value("mine", &[]), Some(9.0));
        let nines = families.iter().flat_map(|family| &family.samples).filter(|sample| sample.value == 9.0);
        assert_eq!(nines.count(), 1);
    }
}

#[test]
fn series_that_become_equal_are_written_once_and_always_the_same() {
    let bench = plain();
    let gauge = bench.provider.meter("m").f64_gauge("g").build();
    gauge.record(1.0, &[KeyValue::new("a.b", "x")]);
    gauge.record(2.0, &[KeyValue::new("a_b", "x")]);
    gauge.record(3.0, &[KeyValue::new("a.b", "y")]);
    for extra in 0..20 {
        gauge.record(4.0, &[KeyValue::new("a.b", format!("z{extra}"))]);
        let families = scrape(&bench);
        assert_eq!(families[0].value("g", &[("a_b", "x")]), Some(1.0));
        assert_eq!(families[0].value("g", &[("a_b", "y")]), Some(3.0));
    }
}

#[test]
fn labels_are_sanitized_and_joined() {
    let bench = plain();
    let histogram = bench.provider.meter("m").f64_histogram("h").build();
    let labels = [KeyValue::new("le", "mine"), KeyValue::new("b/c", 2), KeyValue::new("b.c", true)];
    histogram.record(1.0, &labels);
    let families = scrape(&bench);
    let labels = [("exported_le", "mine"), ("b_c", "true;2")];
    assert_eq!(families[0].value("h_sum", &labels), Some(1.0));
}

#[test]
fn a_sum_that_may_fall_is_left_out() {
    let bench = plain();
    let meter = bench.provider.meter("m");
    let histogram = |name, bounds: Vec<f64>| meter.f64_histogram(name).with_boundaries(bounds).build();
    histogram("signed", vec![-1.0, 0.0, 1.0]).record(-0.5, &[]);
    histogram("unsigned", vec![0.0, 1.0]).record(0.5, &[]);
    histogram("unbounded", vec![]).record(2.0, &[]);
    let families = scrape(&bench);
    let sum = |name: &str| family(&families, name).unwrap().value(&format!("{name}_sum"), &[]);
    assert_eq!((sum("signed"), sum("unsigned"), sum("unbounded")), (None, Some(0.5), Some(2.0)));
    let unbounded = family(&families, "unbounded").unwrap();
    assert_eq!(unbounded.value("unbounded_bucket", &[("le", "+Inf")]), Some(1.0));
    assert_eq!(unbounded.samples.len(), 3);
}

#[test]
fn an_exponential_histogram_becomes_a_classic_one() {
    let bench = exponential();
    let meter = bench.provider.meter("m");
    let histogram = meter.f64_histogram("exponential").build();
    for value in [0.3, 0.5, 1.0, 3.0, 4.0, 5.0, 1000.0] {
        histogram.record(value, &[]);
    }
    meter.f64_histogram("exponential_signed").build().record(-3.0, &[]);
    meter.f64_histogram("exponential_signed").build().record(0.0, &[]);
    let families = scrape(&bench);
    let one = family(&families, "exponential").unwrap();
    assert_eq!(one.kind, "histogram");
    let below = |bound| one.value("exponential_bucket", &[("le", bound)]);
    assert_eq!(below("0.0"), Some(0.0));
    assert_eq!(below("0.5"), Some(2.0));
    assert_eq!(below("1.0"), Some(3.0));
    assert_eq!(below("2.0"), Some(3.0));
    assert_eq!(below("4.0"), Some(5.0));
    assert_eq!(below("8.0"), Some(6.0));
    assert_eq!(below("1024.0"), Some(7.0));
    assert_eq!(below("+Inf"), Some(7.0));
    assert_eq!(one.value("exponential_sum", &[]), Some(1013.8));

    let signed = family(&families, "exponential_signed").unwrap();
    let below = |bound| signed.value("exponential_signed_bucket", &[("le", bound)]);
    assert_eq!((below("-2.0"), below("0.0"), below("+Inf")), (Some(1.0), Some(2.0), Some(2.0)));
    assert_eq!(signed.value("exponential_signed_sum", &[]), None);
}

#[test]
fn a_wide_exponential_histogram_keeps_the_bounds_that_it_has() {
    let bench = exponential();
    let histogram = bench.provider.meter("m").f64_histogram("exponential").build();
    for value in [1.5, 3.0, 1e-300, 1e300, f64::MAX, f64::MIN_POSITIVE] {
        histogram.record(value, &[]);
        let families = scrape(&bench);
        assert!(families[0].samples.len() < 200);
    }
    let families = scrape(&bench);
    assert_eq!(families[0].value("exponential_count", &[]), Some(6.0));
}

#[test]
fn delta_is_left_out_rather_than_shown_as_a_total() {
    let bench = Bench::delta();
    let meter = bench.provider.meter("m");
    meter.u64_counter("c").build().add(1, &[]);
    meter.f64_gauge("g").build().record(1.0, &[]);
    let names: Vec<String> = scrape(&bench).into_iter().map(|family| family.name).collect();
    assert_eq!(names, ["g"]);
}

#[test]
fn nothing_collected_is_a_valid_scrape() {
    let bench = plain();
    assert_eq!(render(&foreign_of(&bench), Format::Text), "");
    assert_eq!(render(&foreign_of(&bench), Format::OpenMetrics), "# EOF\n");
}
