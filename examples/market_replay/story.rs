//! The whole replay as one test: what a stranger is promised to see does happen.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::civil::date;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use trading_telemetry::testing::TestTelemetry;

use crate::account::DayTrades;
use crate::bars;
use crate::desk::{DayReport, Desk};
use crate::risk::RiskManager;
use crate::telemetry::{Recorder, RiskResult};

/// Every event as `key=value` pairs, those of its order span first.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut line = Line::default();
        attributes.record(&mut line);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(line);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let span = context.event_span(event);
        let mut line = span.and_then(|span| span.extensions().get::<Line>().cloned()).unwrap_or_default();
        event.record(&mut line);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line.0);
    }
}

#[derive(Clone, Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.0, "{}={value} ", field.name());
    }
}

/// How an order can end.
const FINAL: [&str; 5] =
    ["order_filled", "order_partially_filled", "order_cancelled", "order_rejected", "order_expired"];

struct Story {
    days: Vec<DayReport>,
    lines: Vec<String>,
    /// At the end of each day.
    scrapes: Vec<String>,
}

fn live_through_everything() -> Story {
    let lines = Lines::default();
    let mut scrapes = Vec::new();
    let subscriber = tracing_subscriber::registry().with(lines.clone());
    let days = tracing::subscriber::with_default(subscriber, || {
        let telemetry = TestTelemetry::new();
        let recorder = Recorder::new(telemetry.clone());
        let mut desk = Desk::open(&recorder, 1);
        let market = bars::parse(crate::BARS).unwrap();
        let mut days = Vec::new();
        for day in &market {
            days.push(desk.live_through(day));
            scrapes.push(telemetry.scrape());
        }
        desk.close();
        days
    });
    let lines = std::mem::take(&mut *lines.0.lock().unwrap());
    Story { days, lines, scrapes }
}

impl Story {
    /// Every value of a field, in order.
    fn values<'a>(&'a self, field: &'a str) -> impl Iterator<Item = &'a str> {
        let words = self.lines.iter().flat_map(|line| line.split(' '));
        words.filter_map(move |word| word.strip_prefix(field)?.strip_prefix('='))
    }

    /// A series at the end of each day.
    fn series(&self, name: &str) -> Vec<f64> {
        let value = |scrape: &String| {
            scrape.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
        };
        self.scrapes.iter().filter_map(value).collect()
    }

    /// Each order's events, in order.
    fn orders(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut orders = BTreeMap::<_, Vec<_>>::new();
        for line in &self.lines {
            let value = |field: &str| line.split(' ').find_map(|word| word.strip_prefix(field));
            if let (Some(id), Some(event)) = (value("order_id="), value("message=")) {
                orders.entry(id).or_default().push(event);
            }
        }
        orders
    }

    fn notes(&self, part: &str) -> usize {
        self.days.iter().flat_map(|day| &day.notes).filter(|note| note.contains(part)).count()
    }
}

#[test]
fn in_autumn_2008_the_drawdown_warns_turns_critical_and_recovers() {
    let story = live_through_everything();
    let autumn = date(2008, 9, 1)..=date(2008, 10, 31);
    let mut drawdowns =
        story.days.iter().filter(|day| autumn.contains(&day.date)).map(|day| day.portfolio.drawdown_pct);
    assert!(drawdowns.any(|drawdown| drawdown <= 4.5), "calm before");
    assert!(drawdowns.any(|drawdown| drawdown > 5.0 && drawdown <= 8.0), "warning");
    assert!(drawdowns.any(|drawdown| drawdown > 8.0), "critical");
    assert!(drawdowns.any(|drawdown| drawdown <= 4.5), "resolved");
    let worst = story.days.iter().map(|day| day.portfolio.drawdown_pct).fold(0.0, f64::max);
    assert!((10.0..20.0).contains(&worst), "{worst}");
}

#[test]
fn breakers_and_kill_switch_trip_and_arm_again() {
    let story = live_through_everything();
    for breaker in RiskManager::BREAKERS {
        assert!(story.notes(&format!("{breaker} tripped")) > 0, "{breaker}");
        assert!(story.notes(&format!("{breaker} armed again")) > 0, "{breaker}");
    }
    assert!(story.notes("KILL SWITCH ON") > 0);
    assert!(story.notes("kill switch off and armed again") > 0);
}

#[test]
fn every_status_and_every_risk_result_appears() {
    let story = live_through_everything();
    for event in FINAL {
        assert!(story.values("message").any(|value| value == event), "{event}");
    }
    for result in RiskResult::ALL {
        assert!(story.values("result").any(|value| value == result.as_str()), "{result}");
    }
    assert!(story.values("reason").any(|reason| reason == "insufficient_buying_power"));
}

#[test]
fn each_order_is_submitted_first_and_has_one_final_status() {
    let story = live_through_everything();
    let orders = story.orders();
    assert!(orders.len() > 500, "{}", orders.len());
    for (id, events) in orders {
        assert_eq!(events.first(), Some(&"order_submitted"), "{id}: {events:?}");
        assert_eq!(events.iter().filter(|event| **event == "order_submitted").count(), 1, "{id}: {events:?}");
        assert_eq!(events.iter().filter(|event| FINAL.contains(event)).count(), 1, "{id}: {events:?}");
    }
}

#[test]
fn day_trades_come_to_the_limit_and_never_beyond_it() {
    let story = live_through_everything();
    let used = story.series("trading_pdt_trades_used");
    assert_eq!(used.iter().copied().fold(0.0, f64::max), f64::from(DayTrades::LIMIT));
    assert!(used.iter().filter(|used| **used >= 2.0).count() >= 5);
}

#[test]
fn accuracy_and_drift_move_as_those_of_a_real_model_do() {
    let story = live_through_everything();
    let accuracy = story.series("trading_ml_model_accuracy");
    let accuracy: Vec<f64> = accuracy.into_iter().skip_while(|share| *share == 0.0).collect();
    assert!(accuracy.len() > 200);
    assert!(
        accuracy.iter().all(|share| (0.3..0.7).contains(share)),
        "nobody predicts a market well, or badly"
    );
    let psi = story.series("trading_ml_psi_drift");
    assert!(psi.iter().any(|psi| *psi < 0.1) && psi.iter().any(|psi| *psi > 0.2));
    assert!(story.notes("model retrained") > 0);
}

#[test]
fn two_replays_are_equal() {
    assert_eq!(live_through_everything().lines, live_through_everything().lines);
}
