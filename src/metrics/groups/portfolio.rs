//! The portfolio's figures, recorded as one snapshot.

use std::sync::{Arc, Mutex};

use crate::clock::Clock;
use crate::lock::lock;
use crate::metrics::catalog::{self, Instrument};
use crate::metrics::registry::Registry;
use crate::metrics::series::Series;
use crate::metrics::snapshot::Latest;
use crate::told::Told;

const FIGURES: [&Instrument; 6] = [
    catalog::named("trading_portfolio_equity_dollars"),
    catalog::named("trading_portfolio_cash_dollars"),
    catalog::named("trading_portfolio_positions_count"),
    catalog::named("trading_portfolio_daily_pnl_dollars"),
    catalog::named("trading_portfolio_daily_pnl_pct"),
    catalog::named("trading_portfolio_drawdown_pct"),
];
const TIMESTAMP: &Instrument = catalog::named("trading_portfolio_snapshot_timestamp_seconds");

/// What the portfolio monitor knows at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PortfolioSnapshot {
    /// Total equity in dollars.
    pub equity_dollars: f64,
    /// Available cash in dollars.
    pub cash_dollars: f64,
    /// Number of open positions.
    pub positions: u32,
    /// P&L since the day's start in dollars; a loss is negative.
    pub daily_pnl_dollars: f64,
    /// The same in percent: 0.52 is 0.52 %, not 52 %.
    pub daily_pnl_pct: f64,
    /// Distance from the highest equity in percent, positive: 3.2 is 3.2 % below.
    pub drawdown_pct: f64,
}

/// Equity, cash, positions, daily P&L and drawdown.
#[derive(Debug)]
pub struct Portfolio {
    state: Arc<State>,
    series: [Arc<Series>; 6],
    timestamp: Arc<Series>,
    clock: Arc<dyn Clock>,
    negative_drawdown: Told,
}

#[derive(Debug)]
struct State {
    /// The six figures, then the time in seconds since the Unix epoch.
    latest: Latest<7>,
    /// What the collection under way shows, so that its figures are of one snapshot.
    shown: Mutex<Option<[f64; 7]>>,
}

impl State {
    fn shown(&self, refresh: bool) -> Option<[f64; 7]> {
        let mut shown = lock(&self.shown);
        if refresh && let Some(latest) = self.latest.read() {
            *shown = Some(latest);
        }
        *shown
    }
}

impl Portfolio {
    pub(crate) fn new(registry: &Registry, clock: Arc<dyn Clock>) -> Self {
        let state = Arc::new(State { latest: Latest::new(), shown: Mutex::new(None) });
        for (index, row) in FIGURES.into_iter().enumerate() {
            let state = Arc::clone(&state);
            // Callbacks run in the order in which they were registered: the first takes the snapshot.
            registry.observe(row, move |observer| {
                observer(&[], state.shown(index == 0).map_or(0.0, |figures| figures[index]));
            });
        }
        let shown = Arc::clone(&state);
        registry.observe(TIMESTAMP, move |observer| {
            if let Some([.., at]) = shown.shown(false) {
                observer(&[], at);
            }
        });
        Self {
            state,
            series: FIGURES.map(|row| registry.series(row, &[])),
            timestamp: registry.series(TIMESTAMP, &[]),
            clock,
            negative_drawdown: Told::default(),
        }
    }

    /// Records all figures as one: a scrape sees all of them or none. A figure that is NaN or infinite keeps its last
    /// value and is counted as refused.
    ///
    /// Costs a handful of atomics and one reading of the clock; takes no lock, also among several threads.
    pub fn record(&self, snapshot: &PortfolioSnapshot) {
        let at = self.clock.wall().as_millisecond();
        #[expect(clippy::cast_precision_loss, reason = "milliseconds fit 53 bits for 285,000 years")]
        let mut figures = [
            snapshot.equity_dollars,
            snapshot.cash_dollars,
            f64::from(snapshot.positions),
            snapshot.daily_pnl_dollars,
            snapshot.daily_pnl_pct,
            snapshot.drawdown_pct,
            at as f64 / 1e3,
        ];
        let mut admitted = [true; FIGURES.len()];
        for (index, series) in self.series.iter().enumerate() {
            admitted[index] = series.admits(figures[index]);
            if !admitted[index] {
                figures[index] = self.state.latest.read().map_or(0.0, |last| last[index]);
            }
        }
        self.state.latest.write(&figures);
        // Once the figures are there: what counts as recorded is never a start-up 0.
        for (series, _) in self.series.iter().zip(admitted).filter(|(_, admitted)| *admitted) {
            series.touch();
        }
        self.timestamp.touch();
        if snapshot.drawdown_pct < 0.0 {
            self.negative_drawdown.once(|| {
                tracing::warn!(
                    target: "trading_telemetry",
                    drawdown_pct = snapshot.drawdown_pct,
                    hint = "drawdown is positive: 3.2 is 3.2 % below the highest equity; recorded as given",
                    "metric_value_implausible"
                );
            });
        }
    }
}
