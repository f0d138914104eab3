//! The service under soak: eight desks live through the market's two years again and again, as fast as they can, each on
//! a thread of its own, all with one telemetry.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use trading_telemetry::Telemetry;
use trading_telemetry::alerts::event::AlertSeverity;

use crate::bars::{self, Day};
use crate::desk::Desk;
use crate::latency::Latencies;
use crate::replay;
use crate::setup::builder;
use crate::side::Requests;
use crate::telemetry::{Recorder, Witness};

pub(crate) const THREADS: u64 = 8;
/// One alert in so long: more than any channel is made for.
const STORM_PACE: Duration = Duration::from_millis(5);

/// The collector hangs to the end, so the shutdown takes as long as it may.
const DEADLINE: Duration = Duration::from_secs(5);

/// What the latencies are told by.
pub(crate) const QUANTILES: [f64; 3] = [0.5, 0.99, 0.999];

/// Is the service until it is told to stop. It was given nothing, or where collector and Slack are and that there is a
/// storm.
pub(crate) fn serve(requests: &Requests) {
    let mut builder =
        builder().set("alerts.flapping.changes", "10000").set("logging.max_file_bytes", "20000000");
    let storm = requests.given().split_once(' ');
    if let Some((collector, slack)) = storm {
        builder = builder
            .set("otlp.endpoint", collector)
            // Often enough that what a lost connection leaves behind would be seen.
            .set("otlp.timeout_seconds", "1")
            .set("otlp.trace_batch.timeout_seconds", "1")
            .set("otlp.log_batch.timeout_seconds", "1")
            .set("alerts.slack.webhook_url", slack)
            .set("alerts.slack.pace_per_second", "1000")
            .set("alerts.slack.burst", "1000")
            .set("alerts.evaluation_interval_seconds", "0.05");
    }
    let telemetry = builder.init().unwrap();
    let days = bars::parse(crate::BARS).unwrap();
    requests.say(telemetry.metrics_addresses()[0]);

    let stop = AtomicBool::new(false);
    let witness = thread::scope(|scope| {
        let desks: Vec<_> = (0..THREADS)
            .map(|number| {
                let (telemetry, days, stop) = (&telemetry, &days, &stop);
                scope.spawn(move || trade(telemetry, days, number * 1_000_000_000 + 1, stop))
            })
            .collect();
        if storm.is_some() {
            scope.spawn(|| send_alerts(&telemetry, &stop));
        }
        requests.heard();
        stop.store(true, Relaxed);
        let mut all = Witness::new();
        for desk in desks {
            all.merge(desk.join().unwrap());
        }
        all
    });

    requests.say(witness.lines);
    for (call, times) in &witness.times {
        let [p50, p99, p999] = QUANTILES.map(|share| Latencies::quantile(times, share));
        requests.say(format_args!("{} {} {p50} {p99} {p999}", call.as_str(), times.calls()));
    }
    for (series, count) in &witness.counts {
        requests.say(format_args!("{series} {count}"));
    }
    requests.say("");

    // The last scrape is taken before this comes.
    requests.heard();
    let report = telemetry.shutdown_within(DEADLINE).unwrap_or_else(|error| error.report().clone());
    for signal in report.signals() {
        let delivered = signal.delivered.unwrap_or(0);
        requests.say(format_args!("{}: {delivered} {}", signal.signal, signal.lost));
    }
    requests.say("");
}

fn trade(telemetry: &Telemetry, days: &[Day], first_id: u64, stop: &AtomicBool) -> Witness {
    let recorder = Recorder::new(replay::Recorder::new(telemetry.clone()));
    let mut next_id = first_id;
    while !stop.load(Relaxed) {
        let mut desk = Desk::open(&recorder, next_id);
        for day in days {
            desk.live_through(day);
            if stop.load(Relaxed) {
                break;
            }
        }
        next_id = desk.close();
    }
    recorder.into_witness()
}

fn send_alerts(telemetry: &Telemetry, stop: &AtomicBool) {
    let severities = [AlertSeverity::Critical, AlertSeverity::Warning, AlertSeverity::Info];
    let mut number = 0_u32;
    while !stop.load(Relaxed) {
        let severity = severities[number as usize % severities.len()];
        let metadata = [("number", number.into())];
        telemetry.alerts().send_alert(severity, "Storm", format!("alert {number}"), metadata);
        number += 1;
        thread::sleep(STORM_PACE);
    }
}
