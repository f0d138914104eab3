use std::sync::{Arc, Mutex};

use opentelemetry::KeyValue;
use opentelemetry::metrics::MeterProvider as _;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::parser::parse;
use super::{Bench, foreign_of, render};
use crate::exposition::{Format, Renderer, Selection};

const FORMATS: [Format; 2] = [Format::Text, Format::OpenMetrics];

/// Whatever breaks a line, a quote, a parser or an alphabet.
fn hostile() -> impl Strategy<Value = String> {
    prop_oneof![
        "\\PC{0,40}",
        vec(
            prop::sample::select(vec![
                "\\", "\"", "\n", "\r", "{", "}", ",", "=", " # ", "\0", "🦀", "# EOF\n", "\u{2028}"
            ]),
            0..12
        )
        .prop_map(|pieces| pieces.concat()),
        Just("x".repeat(10_000)),
    ]
}

fn finite() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>().prop_filter("finite", |value| value.is_finite()),
        (-1_000_000..1_000_000).prop_map(f64::from)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn label_values_and_numbers_survive_a_round_trip(
        series in btree_map((hostile(), hostile()), finite(), 1..8),
        help in hostile(),
    ) {
        let bench = Bench::new(|builder| builder);
        let gauge = bench.provider.meter("m").f64_gauge("g").with_description(help.clone()).build();
        for ((one, two), value) in &series {
            gauge.record(*value, &[KeyValue::new("one", one.clone()), KeyValue::new("two", two.clone())]);
        }
        for format in FORMATS {
            let families = parse(&render(&foreign_of(&bench), format), format).map_err(TestCaseError::fail)?;
            prop_assert_eq!(families.len(), 1);
            prop_assert_eq!(families[0].help.as_deref().unwrap_or_default(), help.as_str());
            prop_assert_eq!(families[0].samples.len(), series.len());
            for ((one, two), value) in &series {
                let read = families[0].value("g", &[("one", one.as_str()), ("two", two.as_str())]);
                prop_assert_eq!(read, Some(*value));
            }
        }
    }

    #[test]
    fn whatever_the_names_the_scrape_is_valid(
        instruments in vec(("[a-zA-Z][a-zA-Z0-9_./-]{0,12}(_total|_seconds|_count)?", "[a-z1%{}/ ]{0,5}", 0..5_u8, "[ab]"), 1..12),
        keys in vec("[a-z_.:0-9é]{0,4}", 0..4),
    ) {
        let bench = Bench::new(|builder| builder);
        for (name, unit, kind, scope) in instruments {
            let meter = bench.provider.meter(if scope == "a" { "a" } else { "b" });
            let labels: Vec<KeyValue> = keys.iter().map(|key| KeyValue::new(key.clone(), "v")).collect();
            match kind {
                0 => meter.u64_counter(name).with_unit(unit).build().add(1, &labels),
                1 => meter.f64_gauge(name).with_unit(unit).build().record(1.5, &labels),
                2 => meter.f64_histogram(name).with_unit(unit).build().record(1.5, &labels),
                3 => meter.i64_up_down_counter(name).with_unit(unit).build().add(-1, &labels),
                _ => meter.f64_counter(name).with_unit(unit).build().add(0.5, &[]),
            }
        }
        for format in FORMATS {
            parse(&render(&foreign_of(&bench), format), format).map_err(TestCaseError::fail)?;
        }
    }

    #[test]
    fn what_is_kept_between_scrapes_is_never_seen(rounds in vec(vec((0..30_u8, 0..4_u8, 0..1000_u32), 0..20), 1..12)) {
        // What each round reports is all there is: series come, go, and change places.
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (gauges, histograms) = (Arc::clone(&seen), Bench::new(|builder| builder));
        let bench = Bench::new(|builder| builder);
        let labels = |strategy: u8, kind: u8| match kind {
            0 => vec![],
            1 => vec![KeyValue::new("strategy", format!("s{strategy}"))],
            2 => vec![KeyValue::new("strategy", format!("s{strategy}")), KeyValue::new("side", "BUY")],
            _ => vec![KeyValue::new("strategy", i64::from(strategy))],
        };
        let _gauge = bench.provider.meter("m").f64_observable_gauge("g").with_callback(move |observer| {
            for (strategy, kind, value) in gauges.lock().unwrap().iter() {
                observer.observe(f64::from(*value), &labels(*strategy, *kind));
            }
        }).build();
        let histogram = histograms.provider.meter("m").f64_histogram("h").build();
        let (mut one, mut other) = (Renderer::default(), Renderer::default());
        for round in rounds {
            for (strategy, kind, value) in &round {
                histogram.record(f64::from(*value), &labels(*strategy, *kind));
            }
            *seen.lock().unwrap() = round;
            for collected in [foreign_of(&bench), foreign_of(&histograms)] {
                for format in FORMATS {
                    let fresh = Renderer::default().render(&collected, &Selection::all(), format);
                    // One has seen both families in turn under one number, the other each format by itself.
                    prop_assert_eq!(&one.render(&collected, &Selection::all(), format), &fresh);
                    if format == Format::Text {
                        prop_assert_eq!(&other.render(&collected, &Selection::all(), format), &fresh);
                    }
                }
            }
        }
    }

    #[test]
    fn a_histogram_keeps_every_observation(values in vec(finite(), 1..60)) {
        let bench = Bench::new(|builder| builder);
        let histogram = bench.provider.meter("m").f64_histogram("h").with_boundaries(vec![-10.0, 0.0, 0.5, 1e6]).build();
        for value in &values {
            histogram.record(*value, &[]);
        }
        for format in FORMATS {
            let families = parse(&render(&foreign_of(&bench), format), format).map_err(TestCaseError::fail)?;
            for (text, bound) in [("-10.0", -10.0), ("0.0", 0.0), ("0.5", 0.5), ("1e+06", 1e6), ("+Inf", f64::INFINITY)] {
                let expected = u32::try_from(values.iter().filter(|value| **value <= bound).count()).unwrap();
                prop_assert_eq!(families[0].value("h_bucket", &[("le", text)]), Some(f64::from(expected)));
            }
        }
    }
}
