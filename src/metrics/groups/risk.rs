//! Risk checks, day trades, circuit breakers and the kill switch.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use crate::metrics::bound::{Count, Level};
use crate::metrics::caps::{Capped, MAX_FREE_VALUES};
use crate::metrics::catalog::{self, Instrument};
use crate::metrics::labels::RiskResult;
use crate::metrics::latch::{Latch, Latched, Waker, Worse};
use crate::metrics::registry::Registry;

const CHECKS: &Instrument = catalog::named("trading_risk_checks_total");
const PDT: &Instrument = catalog::named("trading_pdt_trades_used");
const TRIPPED: &Instrument = catalog::named("trading_circuit_breakers_tripped");
const KILL_SWITCH: &Instrument = catalog::named("trading_kill_switch_active");
const BREAKER: &Instrument = catalog::named("trading_circuit_breaker_tripped");

/// A gauge whose changes wake the alerts.
#[derive(Debug)]
struct Watched {
    level: Level,
    latch: Latch,
    waker: Arc<Waker>,
}

impl Watched {
    fn new(level: Level, waker: &Arc<Waker>) -> Self {
        Self { level, latch: Latch::new(Worse::Higher), waker: Arc::clone(waker) }
    }

    fn record(&self, value: f64) {
        if self.level.record(value) && self.latch.set(value) {
            self.waker.wake();
        }
    }
}

/// Risk checks, day trades, circuit breakers and the kill switch.
#[derive(Debug)]
pub struct Risk {
    checks: Box<[Count]>,
    pdt: Watched,
    kill_switch: Watched,
    breakers: Arc<Breakers>,
    registry: Arc<Registry>,
}

#[derive(Debug)]
struct Breakers {
    count: Watched,
    each: Capped<BreakerState>,
    /// Below 0 for a moment where a thread that resets a breaker is ahead of the one that tripped it.
    tripped: AtomicI32,
}

#[derive(Debug)]
struct BreakerState {
    level: Level,
    latch: Latch,
    tripped: AtomicBool,
}

/// One circuit breaker, by name: get it once, keep it, clone it freely.
#[derive(Clone, Debug)]
pub struct Breaker {
    state: Arc<BreakerState>,
    all: Arc<Breakers>,
}

impl Breaker {
    /// Sets the breaker, and with it the number of tripped ones. A change wakes the alerts, which costs a system call.
    /// [`Audit::breaker_tripped`](crate::audit::Audit::breaker_tripped) writes an audit line as well.
    pub fn set(&self, tripped: bool) {
        self.state.latch.set(f64::from(u8::from(tripped)));
        let was = self.state.tripped.swap(tripped, Ordering::AcqRel);
        if tripped && !was {
            self.all.tripped.fetch_add(1, Ordering::AcqRel);
        } else if was && !tripped {
            self.all.tripped.fetch_sub(1, Ordering::AcqRel);
        }
        // Two threads may arrive in the other order than their changes: the last one to leave has seen the last state and
        // the last number.
        loop {
            let tripped = self.state.tripped.load(Ordering::Acquire);
            let value = f64::from(u8::from(tripped));
            self.state.level.record(value);
            self.state.latch.set(value);
            let number = self.all.tripped.load(Ordering::Acquire);
            self.all.count.record(f64::from(number.max(0)));
            if self.state.tripped.load(Ordering::Acquire) == tripped
                && self.all.tripped.load(Ordering::Acquire) == number
            {
                break;
            }
        }
    }
}

impl Risk {
    pub(crate) fn new(registry: &Arc<Registry>, waker: &Arc<Waker>) -> Self {
        let over_cap = registry.over_cap("breaker");
        Self {
            checks: RiskResult::VALUES.iter().map(|result| registry.count(CHECKS, &[result])).collect(),
            pdt: Watched::new(registry.level(PDT, &[]), waker),
            kill_switch: Watched::new(registry.level(KILL_SWITCH, &[]), waker),
            breakers: Arc::new(Breakers {
                count: Watched::new(registry.level(TRIPPED, &[]), waker),
                each: Capped::new("breaker", MAX_FREE_VALUES, over_cap),
                tripped: AtomicI32::new(0),
            }),
            registry: Arc::clone(registry),
        }
    }

    /// Counts a risk check by its result, where no [`AuditedOrder`](crate::audit::AuditedOrder) does.
    #[inline]
    pub fn check(&self, result: RiskResult) {
        if let Some(count) = self.checks.get(result as usize) {
            count.increment();
        }
    }

    /// Sets the number of day trades used in the rolling window of five days (at most 3 are allowed). A change wakes
    /// the alerts, which costs a system call.
    pub fn pdt_trades_used(&self, used: u32) {
        self.pdt.record(f64::from(used));
    }

    /// Sets the kill switch. A change wakes the alerts, which costs a system call. Its alert has no reason:
    /// [`Audit::kill_switch_on`](crate::audit::Audit::kill_switch_on) gives one, and an audit line.
    pub fn kill_switch(&self, active: bool) {
        self.kill_switch.record(f64::from(u8::from(active)));
    }

    /// The circuit breaker of that name. Takes a lock and a look-up: get it once.
    pub fn breaker(&self, name: &str) -> Breaker {
        let state = self.breakers.each.get(name, |name| BreakerState {
            level: self.registry.level(BREAKER, &[name]),
            latch: Latch::new(Worse::Higher),
            tripped: AtomicBool::new(false),
        });
        Breaker { state, all: Arc::clone(&self.breakers) }
    }

    /// Sets the number of tripped circuit breakers, for a service that knows only the number and names none with
    /// [`Self::breaker`].
    pub fn circuit_breakers_tripped(&self, tripped: u32) {
        self.breakers.count.record(f64::from(tripped));
    }

    /// The last value and the worst since this was last called of each series whose changes wake the alerts, with its
    /// instrument and, for a breaker, its name.
    pub(crate) fn take_latched(&self, mut each: impl FnMut(&'static Instrument, Option<&str>, Latched)) {
        for (row, watched) in
            [(PDT, &self.pdt), (KILL_SWITCH, &self.kill_switch), (TRIPPED, &self.breakers.count)]
        {
            if let Some(latched) = watched.latch.take() {
                each(row, None, latched);
            }
        }
        self.breakers.each.for_each(|name, breaker| {
            if let Some(latched) = breaker.latch.take() {
                each(BREAKER, Some(name), latched);
            }
        });
    }
}
