//! The whole replay as one test: what a stranger is promised to see does happen.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::bars;
use crate::desk::{DayReport, Desk};
use crate::telemetry::Recorder;

/// Every event as its name and `key=value` pairs.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::default();
        event.record(&mut line);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(line.0);
    }
}

#[derive(Default)]
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let _ = write!(self.0, "{}={value:?} ", field.name());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = write!(self.0, "{}={value} ", field.name());
    }
}

struct Story {
    days: Vec<DayReport>,
    lines: Vec<String>,
}

fn live_through_everything() -> Story {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::registry().with(lines.clone());
    let days = tracing::subscriber::with_default(subscriber, || {
        let recorder = Recorder::start().unwrap();
        let mut desk = Desk::open(&recorder, 1);
        let market = bars::parse(crate::BARS).unwrap();
        let days = market.iter().map(|day| desk.live_through(day)).collect();
        desk.close();
        days
    });
    let lines = std::mem::take(&mut *lines.0.lock().unwrap());
    Story { days, lines }
}

#[test]
fn dump() {
    let story = live_through_everything();
    let mut counts: BTreeMap<String, u32> = BTreeMap::new();
    let mut days = story.days.iter();
    for line in &story.lines {
        for word in line.split(' ') {
            for key in ["status=", "result=", "reason=", "used=", "day_trades_used="] {
                if word.starts_with(key) {
                    *counts.entry(word.to_string()).or_default() += 1;
                }
            }
        }
        if line.contains("message=model ") {
            let d = days.next().unwrap();
            println!("{} eq {:.0} dd {:.1} day {:.2} pos {} {}", d.date, d.portfolio.equity_dollars, d.portfolio.drawdown_pct, d.portfolio.daily_pnl_pct, d.portfolio.positions, line);
            for n in &d.notes { println!("   {n}"); }
        }
    }
    println!("{counts:#?}");
}
